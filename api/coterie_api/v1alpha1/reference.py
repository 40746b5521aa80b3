"""Writes the reference of the API: `python -m coterie_api.v1alpha1.reference docs/api.md`."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from coterie_api.fields import words_for
from coterie_api.names import EXIT_OK, EXIT_RETRY, EXIT_TERMINAL
from coterie_api.progress import SENTENCES as DROPS
from coterie_api.shape import Entry, Kind, Node, entries, rules
from coterie_api.v1alpha1.conditions import SENTENCES, ConditionType, DatasetConditionType
from coterie_api.v1alpha1.crds import DEFINITIONS, Definition
from coterie_api.v1alpha1.types import FederatedDataset, FederatedJob

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from enum import StrEnum

INTRODUCTION: Final = """\
# The API: `coterie.dev/v1alpha1`

Generated from `coterie_api.v1alpha1` by `make crds`; edit the types instead. The same texts come with `kubectl explain fjob.spec`, and
[`crds/`](../crds) has the schema. How things belong together is on the pages for [data scientists](data-scientist.md),
[data owners](data-owner.md) and [administrators](administrator.md).

- [FederatedJob](#federatedjob) · [FederatedDataset](#federateddataset)
- [Conditions](#conditions) · [Reasons](#reasons) · [Why a client is not in a sum](#why-a-client-is-not-in-a-sum)
- [Exit codes](#exit-codes)

A field that isn't required may be left out; *default* is what holds then, and empty means that nothing does. `[]` is each element of
a list, `{}` each value of a map. A value that isn't allowed is refused by the API server, by `coterie validate`, or with the
reason `InvalidSpec`; a field that this version does not offer yet, with `NotImplemented`.
"""

EXAMPLES: Final[dict[type, str]] = {
    FederatedJob: """\
apiVersion: coterie.dev/v1alpha1
kind: FederatedJob
metadata: {name: biopsies, namespace: research}
spec:
  rounds: 20
  task: {entrypoint: "biopsies_task:Biopsies", parameters: {hidden: 16}}
  training: {localEpochs: 2}
  participants:
    minClients: 3
    datasets:
    - {namespace: hospital-a, name: biopsies}
    - {namespace: hospital-b, name: biopsies}
    - {namespace: hospital-c, name: biopsies}
    - {namespace: hospital-d, name: biopsies}
  privacy: {mode: None}
""",
    FederatedDataset: """\
apiVersion: coterie.dev/v1alpha1
kind: FederatedDataset
metadata: {name: biopsies, namespace: hospital-a}
spec:
  source: {persistentVolumeClaim: {claimName: biopsies}}
  state: {persistentVolumeClaim: {claimName: biopsies-state}}
  identity: {publicKey: wjmo+O3GZGP/tXOKw98NvzLj3hVc4IPw5HDRzuPkIcg=, secretName: coterie-identity}
  requirements: {minClients: 3}
  grants:
  - jobs: {namespaces: [research]}
    images: ["registry.example/biopsies@sha256:6e1d7a1c9d0ab4f2b1f5a58c4f1b6f7a5e0a3d6c2b8e9f00112233445566778a"]
""",
}

ASKED: Final[dict[StrEnum, str]] = {
    ConditionType.SUSPENDED: "has the author stopped it for now?",
    ConditionType.CONSENT_GRANTED: "do enough data sets grant it?",
    ConditionType.BUDGET_RESERVED: "is the privacy loss that it may cause set aside?",
    ConditionType.ADMITTED: "may its pods run, and is there a quorum of clients?",
    ConditionType.RUNNING: "are rounds going on?",
    ConditionType.SUCCEEDED: "is the model published? Then that is final",
    ConditionType.FAILED: "has it ended without a model? Then that is final",
    DatasetConditionType.ACCEPTED: "may the data set take part in the jobs that it grants?",
}

ENDS: Final = {
    EXIT_OK: "done, or the job is over",
    EXIT_TERMINAL: "never to be tried again: the pod's Job fails at once, and its last word says why",
    EXIT_RETRY: "tried again, as often as `backoffLimit` (of a client, the setting `clientBackoffLimit`) allows",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One field, for people."""

    path: str
    kind: str
    is_required: bool
    default: str
    allowed: str
    text: str

    def __str__(self) -> str:
        need = "yes" if self.is_required else ""
        return f"| `{self.path}` | {self.kind} | {need} | {self.default} | {cell(self.allowed)} | {cell(self.text)} |"


def render() -> str:
    """Return the page: the same bytes for the same types."""
    parts = [INTRODUCTION, *(kind(definition) for definition in DEFINITIONS), *_shared()]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def kind(definition: Definition) -> str:
    """Return a kind's section: what it is, an example, its columns, its fields."""
    cls = definition.cls
    sentence = (cls.__doc__ or "").strip().splitlines()[0]
    columns = ((each["name"], "`-o wide`" if each.get("priority") else "always", each["description"]) for each in definition.columns)
    names = f"Short name `{definition.short}`, namespaced; `kubectl get coterie` lists both kinds."
    fields = {entry.key: entry for entry in entries(cls)}
    return "\n".join(
        [
            f"## {cls.__name__}\n\n{sentence} {names}\n",
            f"```yaml\n{EXAMPLES[cls]}```\n",
            f"### What kubectl get {definition.short} shows\n",
            *table(("column", "shown", "what it is"), columns),
            f"\n### Spec of a {cls.__name__}\n",
            *_fields(fields["spec"]),
            f"\n### Status of a {cls.__name__}\n",
            *_fields(fields["status"]),
        ]
    )


def rows(entry: Entry, path: str) -> Iterator[Row]:
    """Yield the row of a field and those below it."""
    node = entry.node
    text = " ".join([node.about.text, *(["Can't be changed."] if node.about.immutable else [])])
    allowed = "" if node.kind is Kind.OBJECT else words_for(node)
    yield Row(path, _kind(node), entry.required, _default(entry), allowed, text)
    yield from _below(node, path)


def _below(node: Node, path: str) -> Iterator[Row]:
    if node.item is not None:
        yield from _below(node.item, path + ("[]" if node.kind is Kind.LIST else "{}"))
    if node.kind is Kind.OBJECT and node.cls is not None:
        for each in entries(node.cls):
            yield from rows(each, f"{path}.{each.key}")


def _fields(entry: Entry) -> list[str]:
    found = [row for row in rows(entry, entry.key) if row.path != entry.key]
    heads = ("| field | type | required | default | allowed | what it is |", "| --- | --- | --- | --- | --- | --- |")
    laws = [f"- `{path}`: {message}" for path, message in _laws(entry.node, entry.key)]
    return [*heads, *map(str, found), *(["\nAnd over several fields:\n", *laws] if laws else [])]


def _laws(node: Node, path: str) -> Iterator[tuple[str, str]]:
    if node.item is not None:
        yield from _laws(node.item, path + ("[]" if node.kind is Kind.LIST else "{}"))
    if node.kind is Kind.OBJECT and node.cls is not None:
        yield from ((f"{path}.{rule.field}", cell(rule.message)) for rule in rules(node.cls))
        for each in entries(node.cls):
            yield from _laws(each.node, f"{path}.{each.key}")


def _kind(node: Node) -> str:
    match node.kind:
        case Kind.LIST if node.item is not None:
            return f"list of {_kind(node.item)}"
        case Kind.MAP if node.item is not None:
            return f"map to {_kind(node.item)}"
        case Kind.ENUM:
            return "string"
        case Kind.FREE:
            return "any JSON object"
        case _:
            return "quantity" if node.about.int_or_string else node.kind.value


def _default(entry: Entry) -> str:
    value = None if entry.required else entry.default
    if value in (None, "", (), {}) or entry.node.kind is Kind.OBJECT:
        return ""
    if isinstance(value, str):
        return f"`{value}`"
    if isinstance(value, float):
        return f"`{value:g}`"
    return f"`{json.dumps(list(value) if isinstance(value, tuple) else value)}`"


def _shared() -> Iterator[str]:
    yield "## Conditions\n"
    asked = ((f"`{each.value}`", _owner(each), ASKED[each]) for each in (*ConditionType, *DatasetConditionType))
    yield "\n".join(table(("condition", "of", "asks"), asked))
    advice = "[what to do](administrator.md#what-a-condition-says-and-what-to-do) about each"
    yield f"## Reasons\n\nOf conditions, and of `status.tenants[]`; {advice}.\n"
    yield "\n".join(table(("reason", "says"), ((f"`{each.value}`", said) for each, said in SENTENCES.items())))
    intro = "In `status.drops[]`, `status.tenants[]` and a client's last word; [what to do](data-scientist.md#when-something-goes-wrong)."
    yield f"## Why a client is not in a sum\n\n{intro}\n"
    yield "\n".join(table(("reason", "says"), ((f"`{each.value}`", said) for each, said in DROPS.items())))
    yield "## Exit codes\n\nOf the containers of a job; the last word of each is its termination message.\n"
    yield "\n".join(table(("code", "means"), ((f"`{code}`", said) for code, said in ENDS.items())))


def _owner(condition: StrEnum) -> str:
    return "FederatedJob" if isinstance(condition, ConditionType) else "FederatedDataset"


def table(heads: tuple[str, ...], lines: Iterable[tuple[str, ...]]) -> list[str]:
    """Return a table's lines."""
    head = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    return [*head, *(f"| {' | '.join(map(cell, line))} |" for line in lines)]


def cell(text: str) -> str:
    """Text that stays in its cell."""
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def main(paths: list[str]) -> int:
    """Write the page to each path."""
    for path in map(Path, paths):
        path.write_text(render(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
