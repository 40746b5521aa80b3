"""Reads manifests from files into typed objects; every fault is told with file, line, object, field, found and allowed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import yaml

from coterie_api.errors import FieldError, InvalidObject
from coterie_api.fields import parse, show
from coterie_api.names import API_VERSION, GROUP
from coterie_api.shape import rules
from coterie_api.v1alpha1.types import FederatedDataset, FederatedJob
from coterie_api.v1alpha1.validate import missing_identity, validate_dataset, validate_job, warn_dataset, warn_job

KINDS: Final[dict[str, type[FederatedJob | FederatedDataset]]] = {"FederatedJob": FederatedJob, "FederatedDataset": FederatedDataset}
SUFFIXES: Final = (".yaml", ".yml", ".json")
DEFAULT_NAMESPACE: Final = "default"


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault or doubt, with the place to mend it."""

    file: str
    line: int  # from 1; 0 if the file can't be read
    object: str  # `FederatedJob research/digits`; empty if the fault is not in one
    error: FieldError

    def __str__(self) -> str:
        """`digits.yaml:7: FederatedJob research/digits: spec.rounds: found 0, allowed: …`."""
        place = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join(part for part in (place, self.object, str(self.error)) if part)


def lines(findings: Iterable[Finding]) -> tuple[str, ...]:
    """Return one line for each finding; what is found alike in several objects of one kind and file is one line that counts them."""
    alike: dict[tuple[str, str, FieldError], list[Finding]] = {}
    for finding in findings:
        alike.setdefault((finding.file, finding.object.partition(" ")[0], finding.error), []).append(finding)
    return tuple(str(_counted(found)) for found in alike.values())


def _counted(found: list[Finding]) -> Finding:
    first, rest = found[0], len({finding.object for finding in found}) - 1
    return replace(first, object=f"{first.object} and {rest} more like it") if rest else first


@dataclass(frozen=True, slots=True)
class Report:
    """What a set of files holds and what is wrong with it."""

    jobs: tuple[FederatedJob, ...] = ()
    datasets: tuple[FederatedDataset, ...] = ()
    others: tuple[Mapping[str, Any], ...] = ()  # objects of other groups, as they stand: namespaces, claims, Secrets
    errors: tuple[Finding, ...] = ()
    warnings: tuple[Finding, ...] = ()

    @property
    def is_valid(self) -> bool:
        return not self.errors


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document and where it stands."""

    file: str
    root: yaml.Node
    obj: Any

    @property
    def line(self) -> int:
        return self.root.start_mark.line + 1

    @property
    def title(self) -> str:
        obj = self.obj if isinstance(self.obj, Mapping) else {}
        metadata = obj.get("metadata")
        metadata = metadata if isinstance(metadata, Mapping) else {}
        name = f"{metadata.get('namespace') or DEFAULT_NAMESPACE}/{metadata.get('name', '?')}"
        return f"{obj.get('kind', 'object')} {name}"

    def finding(self, error: FieldError) -> Finding:
        return Finding(self.file, line_of(self.root, error.field), self.title, error)


def validate_files(paths: Iterable[str | Path], complete: Callable[[Any], Any] = lambda obj: obj) -> Report:
    """Return the objects in files, and in the YAML files of folders, with all that is wrong or doubtful about them.

    `complete` may add to each document before it is judged, as embedded mode does with keys of its own. Objects of other API
    groups are passed over: they are the API server's to judge. Never raises for what a file holds.
    """
    report = Report()
    documents: list[Document] = []
    for path in _files(paths):
        try:
            documents += [replace(document, obj=complete(document.obj)) for document in read_documents(path)]
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
            report = replace(report, errors=(*report.errors, _unreadable(path, error)))
    for document in documents:
        report = _add(report, document)
    return replace(report, errors=(*report.errors, *_repeats(documents)), warnings=(*report.warnings, *_ungranted(report, documents)))


def refuse_nothing(report: Report, paths: Iterable[str | Path]) -> Report:
    """Return the report, with an error for each path if no object of ours is in any: a check that saw nothing is no success."""
    if report.jobs or report.datasets or report.errors:
        return report
    error = FieldError(
        "object", "none of this API", f"a FederatedJob or a FederatedDataset, in a file that ends in {' or '.join(SUFFIXES)}"
    )
    return replace(report, errors=tuple(Finding(str(path), 0, "", error) for path in paths))


def read_documents(path: Path) -> list[Document]:
    """Return the YAML documents of a file.

    Raises OSError, ValueError (not text), RecursionError or yaml.YAMLError (also for a repeated key).
    """
    loader = _Loader(path.read_text(encoding="utf-8"))
    documents = []
    while loader.check_node():
        root = loader.get_node()
        obj = loader.construct_document(root) if root is not None else None
        if root is not None and obj is not None:
            documents.append(Document(str(path), root, obj))
    return documents


def line_of(root: yaml.Node, field: str) -> int:
    """Return the line, from 1, of the deepest part of a field's path that the document has."""
    node, line = root, root.start_mark.line + 1
    for key, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", field):
        step = _item(node, int(index)) if index else _value(node, key)
        if step is None:
            break
        node, line = step
    return line


def _item(node: yaml.Node, index: int) -> tuple[yaml.Node, int] | None:
    if not isinstance(node, yaml.SequenceNode) or index >= len(node.value):
        return None
    return node.value[index], node.value[index].start_mark.line + 1


def _value(node: yaml.Node, key: str) -> tuple[yaml.Node, int] | None:
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return next(((value, name.start_mark.line + 1) for name, value in pairs if name.value == key), None)


def _files(paths: Iterable[str | Path]) -> Iterator[Path]:
    for path in map(Path, paths):
        if path.is_dir():
            yield from sorted(child for child in path.iterdir() if child.suffix in SUFFIXES)
        else:
            yield path


def _unreadable(path: Path, error: Exception) -> Finding:
    mark = getattr(error, "problem_mark", None)
    text = str(getattr(error, "problem", None) or getattr(error, "strerror", None) or error)
    # YAML's own words are often "found character …", and a finding says "found" itself.
    return Finding(
        str(path), mark.line + 1 if mark else 0, "", FieldError("file", text.removeprefix("found "), "a readable file of YAML documents")
    )


def _add(report: Report, document: Document) -> Report:
    """Return the report with one more document in it."""
    obj = document.obj
    if isinstance(obj, Mapping) and isinstance(obj.get("items"), Sequence) and str(obj.get("kind", "")).endswith("List"):
        error = FieldError("kind", show(obj["kind"]), "objects in documents of their own, divided by ---")
        return replace(report, errors=(*report.errors, document.finding(error)))
    error_or_kind = _kind_of(obj)
    if isinstance(error_or_kind, FieldError):
        return replace(report, errors=(*report.errors, document.finding(error_or_kind)))
    if error_or_kind is None:
        return replace(report, others=(*report.others, obj))
    return _add_ours(report, document, error_or_kind)


def _kind_of(obj: Any) -> type[FederatedJob | FederatedDataset] | FieldError | None:
    """Return the kind of a document, None if it is somebody else's, an error if it is none."""
    if not isinstance(obj, Mapping):
        return FieldError("object", show(obj), "an object with apiVersion and kind")
    version, kind = obj.get("apiVersion"), obj.get("kind")
    if not isinstance(version, str) or not isinstance(kind, str):
        return FieldError("kind" if isinstance(version, str) else "apiVersion", "nothing", f"for example {API_VERSION} and FederatedJob")
    if kind not in KINDS and not version.startswith(f"{GROUP}/"):
        return None
    if version != API_VERSION:
        return FieldError("apiVersion", show(version), API_VERSION)
    near = difflib.get_close_matches(kind, KINDS, n=1)
    return KINDS.get(kind) or FieldError("kind", show(kind), f"did you mean {near[0]}?" if near else "one of " + ", ".join(KINDS))


def _add_ours(report: Report, document: Document, cls: type[FederatedJob | FederatedDataset]) -> Report:
    try:
        value = parse(cls, _with_namespace(document.obj), "")
    except InvalidObject as invalid:
        errors = tuple(_in_words_of(cls, error) for error in invalid.errors)
        return replace(report, errors=(*report.errors, *map(document.finding, errors)))
    if isinstance(value, FederatedJob):
        report = replace(report, jobs=(*report.jobs, value))
        return _with_findings(report, document, validate_job(value), warn_job(value))
    report = replace(report, datasets=(*report.datasets, value))
    # A manifest without a key is no mistake: `coterie run` makes one, and on a cluster the owner adds it.
    keyless = missing_identity(value)
    errors = tuple(error for error in validate_dataset(value) if error not in keyless)
    return _with_findings(report, document, errors, (*keyless, *warn_dataset(value)))


def _in_words_of(cls: type, error: FieldError) -> FieldError:
    """A name that no object may have breaks a kind's own, narrower rule too: only that one helps to mend it."""
    own = next((rule.message for rule in rules(cls) if rule.field == error.field), error.allowed)
    return replace(error, allowed=own)


def _with_findings(report: Report, document: Document, errors: tuple[FieldError, ...], warnings: tuple[FieldError, ...]) -> Report:
    return replace(
        report,
        errors=(*report.errors, *map(document.finding, errors)),
        warnings=(*report.warnings, *map(document.finding, warnings)),
    )


def _with_namespace(obj: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the object in the namespace that `kubectl apply` would put it in."""
    metadata = obj.get("metadata")
    if not isinstance(metadata, Mapping) or metadata.get("namespace"):
        return obj
    return {**obj, "metadata": {**metadata, "namespace": DEFAULT_NAMESPACE}}


def _repeats(documents: list[Document]) -> Iterator[Finding]:
    """Two objects of one kind, namespace and name: the later would overwrite the earlier."""
    first: dict[str, Document] = {}
    for document in documents:
        if not isinstance(document.obj, Mapping) or document.obj.get("kind") not in KINDS:
            continue
        if document.title in first:
            allowed = f"a name that {first[document.title].file}:{first[document.title].line} does not have already"
            yield document.finding(FieldError("metadata.name", show(document.title), allowed))
        first.setdefault(document.title, document)


def _ungranted(report: Report, documents: list[Document]) -> Iterator[Finding]:
    """A data set in the same files that does not grant a job in them: the job would go on without it."""
    granted = {(data.metadata.namespace, data.metadata.name): data for data in report.datasets}
    titles = {document.title: document for document in documents}
    for job in report.jobs:
        for index, ref in enumerate(job.spec.participants.datasets):
            data = granted.get((ref.namespace, ref.name))
            if data is not None and not any(job.metadata.namespace in grant.jobs.namespaces for grant in data.spec.grants):
                error = FieldError(
                    f"spec.participants.datasets[{index}]",
                    f"{ref.namespace}/{ref.name}, which does not grant the namespace {job.metadata.namespace}",
                    "a data set whose grants name the job's namespace",
                )
                yield titles[f"FederatedJob {job.metadata.namespace}/{job.metadata.name}"].finding(error)


class _Loader(yaml.SafeLoader):
    """YAML as kubectl reads it: `1e-5` is a number, a time stays text, and a repeated key is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == "tag:yaml.org,2002:merge":
                continue
            if key_node.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key_node.value!r} stands twice", key_node.start_mark)
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789"))
