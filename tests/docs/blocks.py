"""Fenced blocks of Markdown documents: what stands in them, and what kind of thing each one is."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from enum import Enum
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY: Final = Path(__file__).parents[2]
DOCUMENTS: Final = ("README.md", "docs/**/*.md", "examples/*/README.md", "charts/*/README.md")
_FENCE: Final = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,}|~{3,})(?P<info>[^`]*)$")
_NAMED: Final = re.compile(r"^# (?P<path>[\w./-]+\.\w+|[\w./-]*Dockerfile)$")
_CLUSTER: Final = re.compile(r"(^|[;&|(]|\$\()\s*(kubectl|helm|docker)\b", re.MULTILINE)


class Kind(Enum):
    """What a block is, and so what is done with it."""

    MANIFESTS = "yaml: whole objects, judged as `coterie validate` does"
    FRAGMENT = "yaml fragment KIND: part of an object, judged within a whole one"
    VALUES = "yaml values: values of the chart, judged by its schema"
    POLICY = "yaml policy: a tenant's policy to pin"
    PYTHON = "python: run"
    PYTHON_FILE = "python whose first line names a file: written"
    DOCKERFILE = "dockerfile whose first line names a file: written"
    SHELL = "sh: run"
    SLOW = "sh slow: its commands are parsed, since they take minutes or much data"
    CLUSTER = "sh with kubectl, helm or docker: its commands are parsed here and run against an API server elsewhere"
    NODE = "sh node: as that, but it needs pods that run on a node: its commands are parsed here, and done by tests/e2e"
    JSON = "json: one value, or one on each line"
    SHOWN = "text, mermaid: for eyes alone"


class UnknownBlockError(Exception):
    """A block is of no kind that is checked."""


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block."""

    document: Path
    line: int  # of the opening fence, from 1
    info: str
    text: str

    @property
    def place(self) -> str:
        path = self.document.relative_to(REPOSITORY) if self.document.is_relative_to(REPOSITORY) else self.document
        return f"{path}:{self.line}"

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(self.info.split())

    @property
    def file(self) -> PurePosixPath | None:
        """The file that the block's first line names, None if it names none."""
        named = _NAMED.fullmatch(self.text.partition("\n")[0])
        return PurePosixPath(named["path"]) if named else None


def documents() -> list[Path]:
    """Return every document whose blocks are checked."""
    return sorted({path for pattern in DOCUMENTS for path in REPOSITORY.glob(pattern)})


def blocks(document: Path) -> list[Block]:
    """Return a document's fenced blocks in order. Raises UnknownBlockError for a fence that is never closed."""
    return list(_blocks(document))


def _blocks(document: Path) -> Iterator[Block]:
    lines = iter(enumerate(document.read_text(encoding="utf-8").splitlines(), 1))
    for number, line in lines:
        fence = _FENCE.match(line)
        if fence is None:
            continue
        inside: list[str] = []
        for _, text in lines:
            if text.strip() == fence["ticks"]:
                break
            inside.append(text)
        else:
            raise UnknownBlockError(f"{document}:{number}: the fence is never closed")
        yield Block(document, number, fence["info"].strip(), textwrap.dedent("\n".join(inside)) + "\n")


def kind_of(block: Block) -> Kind:
    """Return what a block is. Raises UnknownBlockError for one that no check would see."""
    found = _kind(block)
    if found is None:
        raise UnknownBlockError(f"{block.place}: {block.info or 'a block without a language'}: is none of {[kind.value for kind in Kind]}")
    return found


_BY_INFO: Final = {
    "yaml": Kind.MANIFESTS,
    "yaml fragment FederatedJob": Kind.FRAGMENT,
    "yaml fragment FederatedDataset": Kind.FRAGMENT,
    "yaml values": Kind.VALUES,
    "yaml policy": Kind.POLICY,
    "python": Kind.PYTHON,
    "dockerfile": Kind.DOCKERFILE,
    "sh": Kind.SHELL,
    "sh slow": Kind.SLOW,
    "sh node": Kind.NODE,
    "json": Kind.JSON,
    "text": Kind.SHOWN,
    "mermaid": Kind.SHOWN,
}


def _kind(block: Block) -> Kind | None:
    found = _BY_INFO.get(" ".join(block.words))
    touches_cluster = _CLUSTER.search(block.text) is not None
    if found is Kind.PYTHON and block.file is not None:
        return Kind.PYTHON_FILE
    if found is Kind.SHELL and touches_cluster:
        return Kind.CLUSTER
    if (
        (found is Kind.NODE and not touches_cluster)
        or (found is Kind.SLOW and touches_cluster)
        or (found is Kind.DOCKERFILE and block.file is None)
    ):
        return None
    return found
