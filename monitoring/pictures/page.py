"""A whole dashboard as one picture, laid out as Grafana lays it out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from monitoring.panels import Panel
from monitoring.pictures.answers import answers
from monitoring.pictures.marks import draw
from monitoring.pictures.scales import clock
from monitoring.pictures.svg import BORDER, FAINT, FONT, GROUND, INK, PAPER, Box, element, rectangle, text, text_parts, width_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from monitoring.live.prometheus import Prometheus
    from monitoring.panels import Board
    from monitoring.pictures.answers import Line, Span

WIDTH: Final = 1240
MARGIN: Final = 14
GAP: Final = 8
COLUMNS: Final = 24
UNIT: Final = 33  # height of one of Grafana's units, its gap included
HEAD: Final = 74
ROW: Final = 34


@dataclass(frozen=True, slots=True)
class Place:
    """A panel and its box, or the heading of a row."""

    box: Box
    panel: Panel | None = None
    heading: str = ""


def picture(board: Board, prometheus: Prometheus, span: Span, chosen: Mapping[str, str], note: str = "") -> str:
    """Return a dashboard's SVG with what a Prometheus answers to its queries."""
    shown = {id(panel): answers(prometheus, panel, span, chosen) for panel in board.panels}
    return drawn(board, shown, span, chosen, note)


def drawn(board: Board, shown: Mapping[int, list[Line]], span: Span, chosen: Mapping[str, str], note: str = "") -> str:
    """Return a dashboard's SVG; `shown` has the lines of each panel by its id."""
    placed = list(places(board))
    height = max(place.box.bottom for place in placed) + MARGIN
    parts = [rectangle(Box(0, 0, WIDTH, height), GROUND), _head(board, span, chosen, note)]
    for place in placed:
        if place.panel is None:
            parts.append(text((place.box.x + 2, place.box.y + 22), place.heading, 14, font_weight="600"))
        else:
            parts.append(_card(place.panel, place.box) + draw(place.panel, shown[id(place.panel)], _inside(place.box), span))
    title = element("title", f"{board.title}: {board.text}")
    return element(
        "svg", "\n".join([title, *parts, ""]), xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {WIDTH} {round(height)}", font_family=FONT
    )


def places(board: Board) -> Iterator[Place]:
    """Yield where headings and panels go: from left to right, then below the tallest of them."""
    column = (WIDTH - 2 * MARGIN + GAP) / COLUMNS
    y = float(HEAD)
    for row in board.rows:
        yield Place(Box(MARGIN, y, WIDTH - 2 * MARGIN, ROW), heading=row.title)
        y += ROW
        used, tallest = 0, 0
        for panel in row.panels:
            if used + panel.width > COLUMNS:
                y, used, tallest = y + tallest * UNIT, 0, 0
            yield Place(Box(MARGIN + used * column, y, panel.width * column - GAP, panel.height * UNIT - GAP), panel)
            used, tallest = used + panel.width, max(tallest, panel.height)
        y += tallest * UNIT


def _head(board: Board, span: Span, chosen: Mapping[str, str], note: str) -> str:
    parts = [text((MARGIN + 2, 28), board.title, 18, font_weight="600"), text((MARGIN + 2, 52), board.text, 12.5, fill=FAINT)]
    x = float(WIDTH - MARGIN)
    for name, value in reversed(
        [*((variable.title, chosen.get(variable.name, "All")) for variable in board.variables), ("", _hours(span))]
    ):
        label = f"{name}  " if name else ""
        width = width_of(label + value, 12) + 24
        x -= width
        parts.append(rectangle(Box(x, 12, width, 26), PAPER, stroke=BORDER, rx=3))
        words = text_parts(*([(name, FAINT, None)] if name else []), (f"\u2002{value}" if name else value, INK, None))
        parts.append(element("text", words, x=x + 12, y=29, font_size=12))
        x -= GAP
    if note:
        parts.append(text((WIDTH - MARGIN, 58), note, 12, fill=FAINT, text_anchor="end", font_style="italic"))
    return "".join(parts)


def _hours(span: Span) -> str:
    return f"{clock(span.start)} to {clock(span.end)} UTC"


def _card(panel: Panel, box: Box) -> str:
    return rectangle(box, PAPER, stroke=BORDER, rx=3) + text((box.x + 10, box.y + 19), panel.title, 13, font_weight="600")


def _inside(box: Box) -> Box:
    return box.inside(left=12, top=30, right=12, bottom=10)
