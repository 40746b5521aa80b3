"""What else stands in a page besides blocks: tables, links, headings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from tests.docs.blocks import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_ROW: Final = re.compile(r"^\|(.+)\|$")
_LINK: Final = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_HEADING: Final = re.compile(r"^#+ (.+)$", re.MULTILINE)

Row = tuple[str, ...]


def prose(path: Path) -> str:
    """Return a page without its fenced blocks."""
    return re.sub(r"(?ms)^ *```.*?^ *```$", "", path.read_text(encoding="utf-8"))


def table(page: str, heading: str) -> list[Row]:
    """Return the rows of the first table whose header begins with the cells `heading`, without code ticks."""
    wanted = [cell.strip() for cell in heading.split("|")]
    lines = iter(prose(REPOSITORY / page).splitlines())
    for line in lines:
        if _cells(line)[: len(wanted)] == tuple(wanted):
            next(lines)
            return list(_rows(lines))
    raise AssertionError(f"{page}: no table with the header {heading}")


def _rows(lines: Iterator[str]) -> Iterator[Row]:
    for line in lines:
        if not (cells := _cells(line)):
            return
        yield tuple(cell.replace("`", "") for cell in cells)


def _cells(line: str) -> Row:
    row = _ROW.match(line.strip())
    return tuple(cell.strip() for cell in row[1].split("|")) if row else ()


def links(path: Path) -> list[str]:
    """Return the targets of a page's links and pictures."""
    return _LINK.findall(prose(path))


def anchors(path: Path) -> set[str]:
    """Return the names of a page's headings, as GitHub makes them."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in _HEADING.findall(prose(path))}
