"""One line per measurement, and the verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured, what it is compared with, and the target: `at_most` bounds the ratio from above, else from below."""

    what: str
    measured: float
    reference: float
    unit: str
    target: float
    at_most: bool = True

    @property
    def ratio(self) -> float:
        return self.measured / self.reference

    @property
    def ok(self) -> bool:
        return self.ratio <= self.target if self.at_most else self.ratio >= self.target

    def cells(self) -> tuple[str, ...]:
        sign = "≤" if self.at_most else "≥"
        return (
            self.what,
            f"{self.measured:.4g} {self.unit}",
            f"{self.reference:.4g} {self.unit}",
            f"{self.ratio:.3f}",
            f"{sign} {self.target:g}",
            "ok" if self.ok else "MISS",
        )


HEAD = ("what", "measured", "reference", "ratio", "target", "")


def render(rows: Iterable[Row]) -> str:
    """Return a Markdown table, aligned for a terminal."""
    table = [HEAD, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(HEAD))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in table]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])
