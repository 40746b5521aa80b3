"""Writes the CustomResourceDefinitions: `python -m coterie_api.v1alpha1.crds DIR...`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from coterie_api.names import GROUP, VERSION
from coterie_api.v1alpha1.schema import kind_schema
from coterie_api.v1alpha1.types import FederatedDataset, FederatedJob

HEADER: Final = "# Generated from coterie_api.v1alpha1 by `make crds`; edit the types instead.\n"
AGE: Final = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp", "description": "Time since the object was created."}


@dataclass(frozen=True, slots=True)
class Definition:
    """A kind, its names, and what `kubectl get` shows of it."""

    cls: type
    plural: str
    short: str
    columns: tuple[dict[str, Any], ...]
    selectable: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        return f"{self.plural}.yaml"


def _column(name: str, path: str, kind: str, description: str, *, wide: bool = False) -> dict[str, Any]:
    column = {"name": name, "type": kind, "jsonPath": path, "description": description}
    return column | {"priority": 1} if wide else column


DEFINITIONS: Final = (
    Definition(
        FederatedJob,
        "federatedjobs",
        "fjob",
        (
            _column("State", ".status.state", "string", "Pending, Suspended, Assembling, Running, Succeeded or Failed."),
            _column("Round", ".status.round", "integer", "Rounds done."),
            _column("Rounds", ".spec.rounds", "integer", "Rounds asked for.", wide=True),
            _column("Survivors", ".status.survivors", "integer", "Clients in the sum of the last round."),
            _column("Accuracy", ".status.accuracy", "number", "Accuracy of the newest evaluated model."),
            _column("Epsilon", ".status.epsilonSpent", "number", "Privacy loss so far; empty if nothing bounds it."),
            _column("Privacy", ".spec.privacy.mode", "string", "Privacy mode.", wide=True),
            _column("Aggregation", ".spec.secureAggregation.protocol", "string", "How updates are added up.", wide=True),
            AGE,
        ),
        (".status.state",),
    ),
    Definition(
        FederatedDataset,
        "federateddatasets",
        "fds",
        (
            _column("Accepted", '.status.conditions[?(@.type=="Accepted")].status', "string", "Whether the data set may take part."),
            _column("Jobs", ".status.activeJobs", "integer", "Jobs that use the data now."),
            _column("Epsilon", ".spec.budget.epsilon", "number", "Limit of the privacy loss over all jobs; empty if there is none."),
            AGE,
        ),
    ),
)


def definition_object(definition: Definition) -> dict[str, Any]:
    """Return the CustomResourceDefinition as the API server takes it."""
    version: dict[str, Any] = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": list(definition.columns),
        "schema": {"openAPIV3Schema": kind_schema(definition.cls)},
    }
    if definition.selectable:
        version["selectableFields"] = [{"jsonPath": path} for path in definition.selectable]
    names = {
        "kind": definition.cls.__name__,
        "listKind": f"{definition.cls.__name__}List",
        "plural": definition.plural,
        "singular": definition.cls.__name__.lower(),
        "shortNames": [definition.short],
        "categories": ["coterie"],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{definition.plural}.{GROUP}", "labels": {"app.kubernetes.io/part-of": "coterie"}},
        "spec": {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [version]},
    }


def render(definition: Definition) -> str:
    """Return the file: the same bytes for the same types."""
    return HEADER + yaml.dump(definition_object(definition), Dumper=_Plain, sort_keys=False, width=120, allow_unicode=True)


class _Plain(yaml.SafeDumper):
    """No anchors: a reader of the file, and some tools, should see every schema where it stands."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  (the signature is PyYAML's)
        return True


def main(folders: list[str]) -> int:
    """Write every definition into every folder."""
    for folder in map(Path, folders):
        folder.mkdir(parents=True, exist_ok=True)
        for definition in DEFINITIONS:
            (folder / definition.file).write_text(render(definition), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
