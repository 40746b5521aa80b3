"""What `coterie run PATH` finds in PATH: one job, its data sets with keys, their claims, and where the claims' folders lie."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from coterie_api.fields import dump
from coterie_api.v1alpha1.load import Report, lines, validate_files
from coterie_api.v1alpha1.types import FederatedDataset, FederatedJob, Source
from coterie_operator.cluster import CLAIM, CONFIG_MAP, NAMESPACE, SECRET, Kind, Object
from coterie_operator.local.identity import KeyPair

PREPARE: Final = "prepare.py"
VOLUMES: Final = "volumes"
OUTPUT_CLAIM: Final = "coterie-output"  # of a job that names no output: embedded mode always keeps the model
WAY_OUT: Final = f"give a data set a folder with --data NAMESPACE/NAME=FOLDER, or name a claim and fill {VOLUMES}/NAMESPACE/CLAIM"
SECRET_NAME: Final = "coterie-identity"  # noqa: S105 - the default name of a Secret
KNOWN: Final[Mapping[tuple[str, str], Kind]] = {(kind.api_version, kind.kind): kind for kind in (NAMESPACE, CLAIM, CONFIG_MAP, SECRET)}

ClaimKey = tuple[str, str]  # namespace, claim


class BadInput(Exception):
    """What was given can't be run; `lines` say why, one fault each, for the person who gave it."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


@dataclass(frozen=True, slots=True)
class Workspace:
    """A job that can be run here."""

    folder: Path
    job: FederatedJob
    datasets: tuple[FederatedDataset, ...]
    others: tuple[Object, ...]  # namespaces, claims, ConfigMaps, Secrets, in the order in which to create them
    given: Mapping[ClaimKey, Path] = field(default_factory=dict)  # by --data
    notes: tuple[str, ...] = ()

    def claim_folder(self, namespace: str, claim: str) -> Path | None:
        """Return the folder of a claim that exists before the run, None for one that the run fills."""
        folder = self.given.get((namespace, claim)) or self.folder / VOLUMES / namespace / claim
        return folder if folder.is_dir() else None

    def sources(self) -> Iterator[tuple[str, Source, str]]:
        """Yield what must hold data before the run: its namespace, where it comes from, and what it is for."""
        for dataset in self.datasets:
            name = f"{dataset.metadata.namespace}/{dataset.metadata.name}"
            yield dataset.metadata.namespace, dataset.spec.source, f"the data of {name}"
        namespace, spec = self.job.metadata.namespace, self.job.spec
        if spec.evaluation.public is not None:
            yield namespace, spec.evaluation.public.source, "the public test data"
        if spec.initial_model is not None and spec.initial_model.source is not None:
            yield namespace, spec.initial_model.source, "the initial model"

    def inputs(self) -> Iterator[tuple[ClaimKey, str]]:
        """Yield the claims among the sources, each with what it is for."""
        for namespace, source, purpose in self.sources():
            if source.persistent_volume_claim is not None:
                yield (namespace, source.persistent_volume_claim.claim_name), purpose

    def missing(self) -> list[tuple[ClaimKey, str]]:
        """Return the inputs that have no folder."""
        return [(key, purpose) for key, purpose in self.inputs() if self.claim_folder(*key) is None]


def open_workspace(path: Path, data: Mapping[str, Path]) -> Workspace:
    """Read the manifests in a folder and make what is missing: keys, namespaces, claims, and the data by its `prepare.py`.

    Args:
      path: a folder of manifests with exactly one FederatedJob.
      data: folders of data sets by `namespace/name`, in place of their sources.

    Raises:
      BadInput: with every fault that was found.
    """
    if not path.is_dir():
        raise BadInput(f"{path}: no such folder; give one that holds the manifests of a job")
    pairs: dict[ClaimKey, KeyPair] = {}
    report = validate_files([path], lambda obj: _complete(obj, data, pairs))
    _refuse_faults(path, report, data)
    workspace = _workspace(path, report, data, pairs)
    if workspace.missing() and (path / PREPARE).is_file():
        _prepare(path)
    if faults := [_no_data(key, purpose, workspace) for key, purpose in workspace.missing()]:
        raise BadInput(*faults)
    return workspace


def _complete(obj: Any, data: Mapping[str, Path], pairs: dict[ClaimKey, KeyPair]) -> Any:
    """Return a document with what embedded mode adds: a data set's key pair and `--data`, a job's output."""
    if not isinstance(obj, dict) or not isinstance(obj.get("spec"), dict) or not isinstance(obj.get("metadata"), dict):
        return obj
    obj = copy.deepcopy(obj)
    namespace, name = str(obj["metadata"].get("namespace", "default")), str(obj["metadata"].get("name", ""))
    if obj.get("kind") == "FederatedDataset":
        identity = obj["spec"].setdefault("identity", {})
        if isinstance(identity, dict) and not identity.get("publicKey"):
            pairs[namespace, name] = KeyPair.generate()
            identity["publicKey"] = pairs[namespace, name].public_key
            identity.setdefault("secretName", f"{SECRET_NAME}-{name}")
        if f"{namespace}/{name}" in data:
            obj["spec"]["source"] = {"persistentVolumeClaim": {"claimName": name}}
    elif obj.get("kind") == "FederatedJob" and not obj["spec"].get("output"):
        obj["spec"]["output"] = {"persistentVolumeClaim": {"claimName": OUTPUT_CLAIM}, "path": name}
    return obj


def _refuse_faults(path: Path, report: Report, data: Mapping[str, Path]) -> None:
    faults = [str(finding) for finding in report.errors]
    if not faults and len(report.jobs) != 1:
        found = ", ".join(f"{job.metadata.namespace}/{job.metadata.name}" for job in report.jobs) or "none"
        faults.append(f"{path}: found {len(report.jobs)} FederatedJobs ({found}), allowed: exactly one")
    if not faults and report.jobs[0].spec.suspend:
        faults.append(f"{path}: spec.suspend: found true, allowed: false, since nobody would resume the job")
    names = {f"{dataset.metadata.namespace}/{dataset.metadata.name}" for dataset in report.datasets}
    for name, folder in data.items():
        if not faults and name not in names:
            faults.append(f"--data {name}: no such data set in {path}; there are: {', '.join(sorted(names)) or 'none'}")
        if not folder.is_dir():
            faults.append(f"--data {name}: {folder} is no folder")
    if faults:
        raise BadInput(*faults)


def _workspace(path: Path, report: Report, data: Mapping[str, Path], pairs: Mapping[ClaimKey, KeyPair]) -> Workspace:
    given = {tuple(name.split("/", 1)): folder.resolve() for name, folder in data.items()}
    known = [obj for obj in report.others if (obj.get("apiVersion"), obj.get("kind")) in KNOWN]
    passed = sorted({str(obj.get("kind")) for obj in report.others} - {str(obj.get("kind")) for obj in known})
    notes = [f"passed over: {kind} (the embedded cluster has no such kind)" for kind in passed]
    notes += lines(finding for finding in report.warnings if not finding.error.field.endswith(".images"))  # none is run here
    draft = Workspace(
        path.resolve(), report.jobs[0], report.datasets, (), {(key[0], key[1]): folder for key, folder in given.items()}, tuple(notes)
    )
    objects = {_key(obj): dict(obj) for obj in [*_needed(draft, pairs), *known]}
    _refuse_missing_secrets(draft, objects)
    _refuse_unmountable_sources(draft, objects)
    order = [kind.kind for kind in (NAMESPACE, CLAIM, CONFIG_MAP, SECRET)]
    others = tuple(sorted(objects.values(), key=lambda obj: order.index(obj["kind"])))
    return Workspace(draft.folder, draft.job, draft.datasets, others, draft.given, draft.notes)


def _key(obj: Mapping[str, Any]) -> tuple[str, str, str]:
    metadata = obj.get("metadata", {})
    namespace = "" if obj["kind"] == NAMESPACE.kind else str(metadata.get("namespace") or "default")
    return (str(obj["kind"]), namespace, str(metadata.get("name")))


def _needed(draft: Workspace, pairs: Mapping[ClaimKey, KeyPair]) -> Iterator[Object]:
    """Yield the objects that a run needs even where no manifest has them; those of the manifests take their place."""
    spaces = {draft.job.metadata.namespace, *(dataset.metadata.namespace for dataset in draft.datasets)}
    for name in sorted(spaces):
        yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    claims = [key for key, _ in draft.inputs()]
    output = draft.job.spec.output
    if output is not None:
        claims.append((draft.job.metadata.namespace, output.persistent_volume_claim.claim_name))
    claims += [
        (dataset.metadata.namespace, dataset.spec.state.persistent_volume_claim.claim_name)
        for dataset in draft.datasets
        if dataset.spec.state is not None
    ]
    for namespace, name in claims:
        yield {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": namespace}, "spec": {}}
    for dataset in draft.datasets:
        namespace = dataset.metadata.namespace
        if (namespace, dataset.metadata.name) in pairs:
            yield pairs[namespace, dataset.metadata.name].secret(namespace, dataset.spec.identity.secret_name)


def _refuse_missing_secrets(draft: Workspace, objects: Mapping[tuple[str, str, str], Object]) -> None:
    faults = []
    for dataset in draft.datasets:
        namespace, secret = dataset.metadata.namespace, dataset.spec.identity.secret_name
        if ("Secret", namespace, secret) not in objects:
            where = f"FederatedDataset {namespace}/{dataset.metadata.name}: spec.identity.secretName"
            faults.append(f"{where}: found {secret}, allowed: a Secret among the manifests; without spec.identity a key pair is made")
    if faults:
        raise BadInput(*faults)


def _refuse_unmountable_sources(draft: Workspace, objects: Mapping[tuple[str, str, str], Object]) -> None:
    """A pod would wait for such a volume for as long as the job may run."""
    faults = []
    for namespace, source, purpose in draft.sources():
        found = ""
        if source.image is not None:
            found = f"source.image {source.image.reference}, and no image is pulled here"
        elif source.config_map is not None and ("ConfigMap", namespace, source.config_map.name) not in objects:
            found = f"source.configMap {source.config_map.name}, and no manifest has such a ConfigMap of namespace {namespace}"
        if found:
            faults.append(f"{purpose}: found {found}; {WAY_OUT}")
    if faults:
        raise BadInput(*faults)


def _prepare(path: Path) -> None:
    """Run the folder's own `prepare.py`, which makes the volumes."""
    done = subprocess.run([sys.executable, PREPARE], cwd=path, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)  # noqa: S603
    if done.returncode != 0:
        tail = (done.stderr or done.stdout).strip().splitlines()[-12:]
        raise BadInput(f"{path / PREPARE} failed with exit status {done.returncode}:", *(f"  {line}" for line in tail))


def _no_data(key: ClaimKey, purpose: str, workspace: Workspace) -> str:
    folder = workspace.folder / VOLUMES / key[0] / key[1]
    made = f"and {PREPARE} did not make it" if (workspace.folder / PREPARE).is_file() else f"and there is no {PREPARE} to make it"
    return f"{folder}: no such folder, {made}; it should hold {purpose} (or give one with --data NAMESPACE/NAME=FOLDER)"


def objects_of(workspace: Workspace) -> list[tuple[Kind, Object]]:
    """Return what a person would apply, besides the job and the data sets, each with its kind."""
    return [(KNOWN[obj["apiVersion"], obj["kind"]], _in_namespace(obj)) for obj in workspace.others]


def _in_namespace(obj: Object) -> Object:
    if obj["kind"] == NAMESPACE.kind:
        return obj
    return {**obj, "metadata": {"namespace": "default", **obj["metadata"]}}


def manifest(value: FederatedJob | FederatedDataset) -> Object:
    """Return the object that a person would apply, without a status."""
    dumped = dump(value)
    metadata = {name: part for name, part in dumped["metadata"].items() if name in {"name", "namespace", "labels", "annotations"}}
    return {"apiVersion": dumped.get("apiVersion"), "kind": dumped.get("kind"), "metadata": metadata, "spec": dumped["spec"]}
