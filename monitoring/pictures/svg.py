"""Elements of SVG, and where on the picture they go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from xml.sax.saxutils import escape, quoteattr

from monitoring.panels import Level

INK: Final = "#24292e"
FAINT: Final = "#6e7681"
GRID: Final = "#e9ebee"
BORDER: Final = "#dfe2e7"
PAPER: Final = "#ffffff"
GROUND: Final = "#f4f5f5"
COLORS: Final = {Level.NEUTRAL: "#3274d9", Level.GOOD: "#37872d", Level.WORTH_A_LOOK: "#ff780a", Level.BAD: "#e02f44"}
PALETTE: Final = ("#56a64b", "#e0b400", "#3274d9", "#ff780a", "#a352cc", "#1f9e9e", "#8f3bb8", "#806eb7", "#96a31d", "#0a437c")
FONT: Final = "Inter, Roboto, Helvetica, Arial, sans-serif"


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle, in pixels."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def bottom(self) -> float:
        return self.y + self.height

    def inside(self, left: float = 0, top: float = 0, right: float = 0, bottom: float = 0) -> Box:
        """Return the box without these margins."""
        return Box(self.x + left, self.y + top, self.width - left - right, self.height - top - bottom)


def element(name: str, content: str = "", **attributes: object) -> str:
    """Return one element; underscores in names of attributes are hyphens."""
    words = "".join(f" {key.replace('_', '-')}={quoteattr(_plain(value))}" for key, value in attributes.items() if value is not None)
    return f"<{name}{words}>{content}</{name}>" if content else f"<{name}{words}/>"


def text(at: tuple[float, float], words: str, size: float = 12, *, fill: str = INK, **more: Any) -> str:
    """Return a text that begins, ends or is centered there, by its `text_anchor`."""
    return element("text", escape(words), x=at[0], y=at[1], font_size=size, fill=fill, **more)


def text_parts(*parts: tuple[str, str, str | None]) -> str:
    """Return pieces of one text, each with its color and weight."""
    return "".join(element("tspan", escape(words), fill=fill, font_weight=weight) for words, fill, weight in parts)


def rectangle(box: Box, fill: str, **more: Any) -> str:
    """Return a filled rectangle."""
    return element("rect", x=box.x, y=box.y, width=max(box.width, 0), height=max(box.height, 0), fill=fill, **more)


def path(points: list[tuple[float, float]], **more: Any) -> str:
    """Return a line through points."""
    words = "L".join(f"{_plain(x)} {_plain(y)}" for x, y in points)
    return element("path", d=f"M{words}", **more)


def width_of(words: str, size: float) -> float:
    """Return about how wide a text is."""
    return sum(0.32 if letter in "ijlt.,:;|!' 1" else 0.62 for letter in words) * size


def shortened(words: str, size: float, width: float) -> str:
    """Return as much of a text as fits."""
    while words and width_of(words, size) > width:
        words = words[:-2].rstrip() + "…" if len(words) > 2 else ""
    return words


def _plain(value: object) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
