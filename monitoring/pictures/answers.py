"""What a Prometheus answers to a panel's queries, named as Grafana names it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from monitoring.grafana import NEWEST, as_sent
from monitoring.live.prometheus import WINDOW

if TYPE_CHECKING:
    from monitoring.live.prometheus import Prometheus, Sample
    from monitoring.panels import Panel, Query

POINTS: Final = 150  # of a line


@dataclass(frozen=True, slots=True)
class Span:
    """From when until when, in seconds of the epoch."""

    start: float
    end: float

    @property
    def step(self) -> float:
        """Seconds between two points."""
        return max(1.0, (self.end - self.start) / POINTS)


@dataclass(frozen=True, slots=True)
class Line:
    """One series. `query` is the position of its query; a point is a moment and a value."""

    name: str
    query: int
    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]

    @property
    def newest(self) -> float:
        """The last value."""
        return self.points[-1][1]


def answers(prometheus: Prometheus, panel: Panel, span: Span, chosen: Mapping[str, str]) -> list[Line]:
    """Return what a panel shows."""
    found = []
    for position, query in enumerate(panel.queries):
        expr = as_sent(query.expr, WINDOW, **chosen)
        is_newest = panel.shape in NEWEST
        samples = prometheus.now(expr, span.end) if is_newest else prometheus.over(expr, span.start, span.end, span.step)
        found += [line for sample in samples if (line := _line(sample, query, position)).points]
    return found


def _line(sample: Sample, query: Query, position: int) -> Line:
    labels = {name: value for name, value in sample["metric"].items() if name != "__name__"}
    name = re.sub(r"{{(\w+)}}", lambda found: labels.get(found[1], ""), query.legend)
    points = ((float(moment), float(value)) for moment, value in sample.get("values") or [sample["value"]])
    return Line(name, position, labels, tuple(point for point in points if math.isfinite(point[1])))
