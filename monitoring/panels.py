"""What a dashboard shows, as data: panels in rows, each with its queries."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final


class Shape(Enum):
    """How numbers are drawn."""

    LINES = "over time"
    NUMBER = "the newest one"
    BARS = "the newest ones beside each other, against their maximum"
    STATES = "0 and 1 over time"


@dataclass(frozen=True, slots=True)
class Query:
    """One expression, and the name of what comes out, with labels in double braces."""

    expr: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture. `unit` is one of Grafana's; `width` is of 24."""

    title: str
    text: str
    queries: tuple[Query, ...]
    unit: str = "short"
    shape: Shape = Shape.LINES
    width: int = 12


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice that people make at the top: the values of `label` on `metric`."""

    name: str
    title: str
    metric: str
    label: str


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard; `uid` stays, since links name it."""

    uid: str
    title: str
    text: str
    variables: tuple[Variable, ...]
    rows: tuple[Row, ...]

    @property
    def panels(self) -> tuple[Panel, ...]:
        """All panels in their order."""
        return tuple(panel for row in self.rows for panel in row.panels)


NAMESPACE: Final = Variable("namespace", "Namespace", "coterie_job_rounds", "job_namespace")
JOB: Final = Variable("job", "Job", 'coterie_job_rounds{job_namespace=~"$namespace"}', "job_name")
DOMAIN: Final = Variable("domain", "Domain", "coterie_privacy_epsilon_budget", "domain")
