"""How each shape of panel is drawn into its box."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from monitoring.panels import Level, Panel, Shape
from monitoring.pictures.scales import clock, ticks, written
from monitoring.pictures.svg import COLORS, FAINT, GRID, INK, PALETTE, Box, element, path, rectangle, shortened, text, text_parts, width_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitoring.pictures.answers import Line, Span

LEGEND: Final = 18
MOMENTS: Final = 4  # on the axis of time
OFF: Final = "#eceef1"


def draw(panel: Panel, lines: Sequence[Line], box: Box, span: Span) -> str:
    """Return the inside of a panel."""
    if not lines:
        return text((box.x + box.width / 2, box.y + box.height / 2 + 4), panel.quiet, 13, fill=FAINT, text_anchor="middle")
    match panel.shape:
        case Shape.LINES:
            return _lines(panel, lines, box, span)
        case Shape.NUMBER:
            return _numbers(panel, lines, box)
        case Shape.BARS:
            return _bars(panel, lines, box)
        case Shape.STATES:
            return _states(panel, lines, box, span)
        case Shape.TABLE:
            return _table(panel, lines, box)


def level(panel: Panel, line: Line, value: float) -> Level:
    """Return how good a value is."""
    if line.name in panel.bad:
        return Level.BAD if value > 0 else Level.NEUTRAL
    return next((limit.level for limit in reversed(panel.limits) if value >= limit.value), panel.base)


def color(panel: Panel, line: Line, position: int) -> str:
    """Return the color of a line."""
    return COLORS[Level.BAD] if line.name in panel.bad else PALETTE[position % len(PALETTE)]


def _lines(panel: Panel, lines: Sequence[Line], box: Box, span: Span) -> str:
    values = [value for line in lines for _, value in line.points]
    low = min(0.0, *values) if panel.is_from_zero else min(values)
    marks = ticks(low, max([*values, *(limit.value for limit in panel.limits)]), panel.unit)
    labels = [written(mark, panel.unit) for mark in marks]
    names, rows = _legend(panel, lines, box)
    plot = box.inside(left=max(width_of(label, 11) for label in labels) + 8, top=6, right=6, bottom=20 + rows * LEGEND)

    def at(moment: float, value: float) -> tuple[float, float]:
        across = (moment - span.start) / (span.end - span.start)
        return plot.x + across * plot.width, plot.bottom - (value - marks[0]) / (marks[-1] - marks[0]) * plot.height

    drawn = [names, _time_axis(plot, span)]
    for mark, label in zip(marks, labels, strict=True):
        y = at(span.start, mark)[1]
        drawn.append(path([(plot.x, y), (plot.right, y)], stroke=GRID))
        drawn.append(text((plot.x - 6, y + 4), label, 11, fill=FAINT, text_anchor="end"))
    for limit in panel.limits:
        y = at(span.start, limit.value)[1]
        drawn.append(path([(plot.x, y), (plot.right, y)], stroke=COLORS[limit.level], stroke_dasharray="6 4"))
    for position, line in enumerate(lines):
        drawn.append(_line(color(panel, line, position), [at(*point) for point in line.points], None if panel.has_names else plot))
    return "".join(drawn)


def _line(paint: str, points: list[tuple[float, float]], plot: Box | None) -> str:
    """Return a line, filled down to the bottom of the plot if that is given."""
    if len(points) == 1:
        return element("circle", cx=points[0][0], cy=points[0][1], r=2.5, fill=paint)
    area = [] if plot is None else [(points[0][0], plot.bottom), *points, (points[-1][0], plot.bottom)]
    filled = path(area, fill=paint, fill_opacity="0.08", stroke="none") if area else ""
    return filled + path(points, fill="none", stroke=paint, stroke_width="1.6", stroke_linejoin="round")


def _time_axis(plot: Box, span: Span) -> str:
    drawn = []
    for number in range(MOMENTS + 1):
        x = plot.x + plot.width * number / MOMENTS
        anchor = "start" if number == 0 else "end" if number == MOMENTS else "middle"
        if plot.width > 330 or number % 2 == 0:
            label = clock(span.start + (span.end - span.start) * number / MOMENTS)
            drawn.append(text((x, plot.bottom + 15), label, 11, fill=FAINT, text_anchor=anchor))
        drawn.append(path([(x, plot.y), (x, plot.bottom)], stroke=GRID))
    return "".join(drawn)


def _legend(panel: Panel, lines: Sequence[Line], box: Box) -> tuple[str, int]:
    """Return the names below a plot with their newest values, and how many rows they take."""
    placed: list[tuple[float, int, str, str]] = []
    x, row = 0.0, 0
    for position, line in enumerate(lines):
        value = written(line.newest, panel.unit)
        name = shortened(line.name, 11.5, box.width - 30 - width_of(value, 11.5))
        width = width_of(name, 11.5) + width_of(value, 11.5) + 46
        if placed and x + width - 14 > box.width:
            x, row = 0.0, row + 1
        words = text_parts((name, INK, None), (f"\u2002{value}", FAINT, "600"))
        placed.append((x, row, words, color(panel, line, position)))
        x += width
    rows = row + 1
    drawn = []
    for x, row, words, paint in placed:
        y = box.bottom - (rows - 1 - row) * LEGEND - 3
        drawn.append(rectangle(Box(box.x + x, y - 5, 14, 3), paint, rx=1.5))
        drawn.append(element("text", words, x=box.x + x + 19, y=y, font_size=11.5))
    return "".join(drawn), rows


def _numbers(panel: Panel, lines: Sequence[Line], box: Box) -> str:
    cell = box.width / len(lines)
    size = min(38.0, box.height * 0.5, *(cell / (width_of(written(line.newest, panel.unit), 1) + 0.6) for line in lines))
    has_names = len(lines) > 1 or "{{" in panel.queries[0].legend
    drawn = []
    for position, line in enumerate(lines):
        x, y = box.x + cell * (position + 0.5), box.y + box.height / 2 + size * 0.36
        if has_names:
            name = shortened(line.name, 12, cell - 4)
            drawn.append(text((x, box.bottom - 4), name, 12, fill=FAINT, text_anchor="middle"))
            y -= 8
        paint = COLORS[level(panel, line, line.newest)]
        drawn.append(text((x, y), written(line.newest, panel.unit), size, fill=paint, text_anchor="middle", font_weight="600"))
    return "".join(drawn)


def _bars(panel: Panel, lines: Sequence[Line], box: Box) -> str:
    cell = min(54.0, box.height / len(lines))
    top = box.y + (box.height - cell * len(lines)) / 2
    drawn = []
    for position, line in enumerate(lines):
        y = top + position * cell
        bar = Box(box.x, y + 20, box.width - 64, cell - 30)
        paint = COLORS[level(panel, line, line.newest)]
        drawn.append(text((bar.x, y + 14), line.name, 12))
        drawn.append(rectangle(bar, OFF, rx=3))
        drawn.append(rectangle(Box(bar.x, bar.y, bar.width * min(max(line.newest, 0), 1), bar.height), paint, rx=3, fill_opacity="0.85"))
        at = (box.right, bar.y + bar.height / 2 + 5)
        drawn.append(text(at, written(line.newest, panel.unit), 15, fill=paint, text_anchor="end", font_weight="600"))
    return "".join(drawn)


def _states(panel: Panel, lines: Sequence[Line], box: Box, span: Span) -> str:
    left = min(max(width_of(line.name, 12) for line in lines) + 12, box.width / 2)
    plot = box.inside(left=left, top=4, right=6, bottom=20)
    cell = plot.height / len(lines)
    drawn = [_time_axis(plot, span)]
    for position, line in enumerate(lines):
        thick = min(cell * 0.76, 30.0)
        bar = Box(plot.x, plot.y + (position + 0.5) * cell - thick / 2, plot.width, thick)
        drawn.append(text((plot.x - 8, bar.y + bar.height / 2 + 4), shortened(line.name, 12, left - 8), 12, text_anchor="end"))
        drawn += [_state(panel, line, stretch, bar, span) for stretch in stretches(line, span)]
    return "".join(drawn)


def stretches(line: Line, span: Span) -> list[tuple[float, float, float]]:
    """Return from when until when a state had which value."""
    found: list[tuple[float, float, float]] = []
    for moment, value in line.points:
        end = min(moment + span.step, span.end)
        if found and found[-1][2] == value and moment <= found[-1][1] + span.step / 2:
            found[-1] = (found[-1][0], end, value)
        else:
            found.append((moment, end, value))
    return found


def _state(panel: Panel, line: Line, stretch: tuple[float, float, float], bar: Box, span: Span) -> str:
    start, end, value = stretch
    width = bar.width / (span.end - span.start)
    part = Box(bar.x + (start - span.start) * width, bar.y, (end - start) * width, bar.height)
    is_plain = value == 0 and panel.base is Level.NEUTRAL
    return rectangle(part, OFF if is_plain else COLORS[level(panel, line, value)], fill_opacity=None if is_plain else "0.85")


def _table(panel: Panel, lines: Sequence[Line], box: Box) -> str:
    """Return rows of jobs: what Grafana makes of the same queries by merging them."""
    heads = ["namespace", "job", "condition", *(query.legend for query in panel.queries if query.legend)]
    rows = sorted({(line.labels["job_namespace"], line.labels["job_name"]) for line in lines})
    cells = [[namespace, job, *_cells(panel, lines, (namespace, job))] for namespace, job in rows]
    width = box.width / (len(heads) + 1)
    starts = [0.0, width, width * 2.4, *(width * (3.4 + number) for number in range(len(heads) - 3))]
    drawn = [text((box.x + start, box.y + 14), head, 12, fill=COLORS[Level.NEUTRAL]) for start, head in zip(starts, heads, strict=True)]
    for position, row in enumerate(cells):
        y = box.y + 26 + position * 30
        drawn.append(path([(box.x, y), (box.right, y)], stroke=GRID))
        for column, (start, words) in enumerate(zip(starts, row, strict=True)):
            paint = COLORS[Level.BAD] if words == "Failed" else COLORS[Level.NEUTRAL] if column == 1 else INK
            drawn.append(text((box.x + start, y + 20), words, 12.5, fill=paint))
    return "".join(drawn)


def _cells(panel: Panel, lines: Sequence[Line], job: tuple[str, str]) -> list[str]:
    own = [line for line in lines if (line.labels["job_namespace"], line.labels["job_name"]) == job]
    words = [" ".join(line.labels["condition"] for line in own if "condition" in line.labels)]
    for position, query in enumerate(panel.queries):
        if query.legend:
            words.append(next((written(line.newest, query.unit) for line in own if line.query == position), ""))
    return words
