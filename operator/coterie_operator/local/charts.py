"""Plots as inline SVG: one series over rounds, as a line or as bars. Pure; colors come from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

WIDTH: Final = 400
HEIGHT: Final = 210
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 14, 34
TICKS: Final = 4
SMALLEST: Final = 1e-300  # a range below this has no step that a float can hold
DOTS: Final = 60  # more points than this are drawn as a line alone

Point = tuple[float, float | None]  # round, value


@dataclass(frozen=True, slots=True)
class Chart:
    """What to plot. `ceiling` and `floor` widen the vertical axis, and never cut a value off."""

    title: str
    points: Sequence[Point]
    text: Callable[[float], str]
    is_bars: bool = False
    floor: float | None = None
    ceiling: float | None = None

    @property
    def known(self) -> list[tuple[float, float]]:
        """Return the points that have a value."""
        return [(x, y) for x, y in self.points if y is not None and math.isfinite(y)]


@dataclass(frozen=True, slots=True)
class Frame:
    """Where values lie on the paper."""

    first: float
    last: float
    low: float
    high: float

    def x(self, value: float) -> float:
        """Return the horizontal place of a round."""
        span = self.last - self.first or 1.0
        return LEFT + (value - self.first) / span * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Return the vertical place of a value."""
        return HEIGHT - BOTTOM - (value - self.low) / (self.high - self.low) * (HEIGHT - TOP - BOTTOM)


def svg(chart: Chart) -> str:
    """Return the chart as an `svg` element; without any value it says so."""
    known = chart.known
    label = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(chart.title)} by round">'
    if not known:
        return f'{label}<text class="none" x="{WIDTH / 2}" y="{HEIGHT / 2}" text-anchor="middle">no values</text></svg>'
    steps = ticks(*_range(chart, known))
    pad = 0.5 if chart.is_bars else 0.0
    frame = Frame(chart.points[0][0] - pad, chart.points[-1][0] + pad, steps[0], steps[-1])
    draw = _bars if chart.is_bars else _line
    return label + _grid(chart, frame, steps) + draw(chart, frame, known) + "</svg>"


def ticks(low: float, high: float) -> list[float]:
    """Return about TICKS + 1 round numbers, the first at most `low` and the last at least `high`."""
    if high - low < SMALLEST:
        high = low + (abs(low) if abs(low) > SMALLEST else 1.0)
    raw = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if factor * power >= raw * 0.999)
    start = math.floor(low / step + 1e-9)
    count = math.ceil(high / step - 1e-9) - start
    return [(start + index) * step for index in range(count + 1)]


def _range(chart: Chart, known: list[tuple[float, float]]) -> tuple[float, float]:
    values = [y for _, y in known] + [edge for edge in (chart.floor, chart.ceiling) if edge is not None]
    return min(values), max(values)


def _grid(chart: Chart, frame: Frame, steps: list[float]) -> str:
    parts = []
    for step in steps:
        y = frame.y(step)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{escape(chart.text(step))}</text>')
    first, last = chart.points[0][0], chart.points[-1][0]
    every = max(1, math.ceil((last - first + 1) / 10))
    shown = [number for number in range(round(first), round(last) + 1) if (number - round(first)) % every == 0]
    parts += [f'<text class="tick" x="{frame.x(number):.1f}" y="{HEIGHT - 12}" text-anchor="middle">{number}</text>' for number in shown]
    return "".join(parts)


def _line(chart: Chart, frame: Frame, known: list[tuple[float, float]]) -> str:
    places = [(frame.x(x), frame.y(y)) for x, y in known]
    path = " ".join(f"{'L' if index else 'M'}{x:.1f},{y:.1f}" for index, (x, y) in enumerate(places))
    base = HEIGHT - BOTTOM
    area = f"{path} L{places[-1][0]:.1f},{base} L{places[0][0]:.1f},{base} Z"
    dots = _dots(chart, frame, known) if len(known) <= DOTS else ""
    return f'<path class="area" d="{area}"/><path class="line" d="{path}"/>{dots}'


def _dots(chart: Chart, frame: Frame, known: list[tuple[float, float]]) -> str:
    return "".join(
        f'<circle class="dot" cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="3">{_title(chart, x, y)}</circle>' for x, y in known
    )


def _bars(chart: Chart, frame: Frame, known: list[tuple[float, float]]) -> str:
    width = max(1.0, (frame.x(1.0) - frame.x(0.0)) * 0.72)
    base = frame.y(max(0.0, frame.low))
    return "".join(
        f'<rect class="bar" x="{frame.x(x) - width / 2:.1f}" y="{frame.y(y):.1f}" width="{width:.1f}" '
        f'height="{max(0.0, base - frame.y(y)):.1f}" rx="1.5">{_title(chart, x, y)}</rect>'
        for x, y in known
    )


def _title(chart: Chart, x: float, y: float) -> str:
    return f"<title>round {x:.0f}: {escape(chart.text(y))}</title>"
