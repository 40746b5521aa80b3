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
    TABLE = "the newest ones, a column for each query and a row for each set of labels"


class Level(Enum):
    """How good a number is, as one of Grafana's colors."""

    NEUTRAL = "blue"
    GOOD = "green"
    WORTH_A_LOOK = "orange"
    BAD = "red"


@dataclass(frozen=True, slots=True)
class Query:
    """One expression, and the name of what comes out, with labels in double braces; in a table, a column with its own unit."""

    expr: str
    legend: str
    unit: str = "short"


@dataclass(frozen=True, slots=True)
class Limit:
    """From this value on, a number is of that level."""

    value: float
    level: Level


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture.

    Attributes:
      unit: one of Grafana's.
      width: of 24.
      height: in Grafana's units, of which a row has one.
      base: the level of numbers below every limit.
      limits: by rising values.
      bad: names of lines that are bad where they aren't 0, whatever the limits say.
      quiet: what stands there while there is no series. Only a panel of what goes wrong, or isn't asked for, may have none.
      is_from_zero: whether the axis begins at 0; without, small changes of large numbers show.
      link: uid of the dashboard on which one row of a table is told in full.
    """

    title: str
    text: str
    queries: tuple[Query, ...]
    unit: str = "short"
    shape: Shape = Shape.LINES
    width: int = 12
    height: int = 8
    base: Level = Level.NEUTRAL
    limits: tuple[Limit, ...] = ()
    bad: tuple[str, ...] = ()
    quiet: str = ""
    link: str = ""
    is_from_zero: bool = True

    @property
    def has_names(self) -> bool:
        """Whether there may be several lines, which need names to be told apart."""
        return len(self.queries) > 1 or "{{" in self.queries[0].legend


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice that people make at the top: the values of `label` on `metric`; of many, all are chosen at first."""

    name: str
    title: str
    metric: str
    label: str
    is_many: bool = True


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
ONE_NAMESPACE: Final = Variable("namespace", "Namespace", "coterie_job_rounds", "job_namespace", is_many=False)
ONE_JOB: Final = Variable("job", "Job", 'coterie_job_rounds{job_namespace="$namespace"}', "job_name", is_many=False)
DOMAIN: Final = Variable("domain", "Domain", "coterie_privacy_epsilon_budget", "domain")
