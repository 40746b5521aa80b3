"""Which model is the best so far, and when more rounds won't help: decided by the evaluator's numbers alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from coterie_api.v1alpha1.job import SelectBy


@dataclass(frozen=True, slots=True)
class Criterion:
    """What makes a model better than another.

    Attributes:
        select_by: the evaluator's number to compare: loss (lower is better) or accuracy (higher is better).
        patience: rounds without a better model before training stops; None: never stop early.
    """

    select_by: SelectBy = SelectBy.ACCURACY
    patience: int | None = None

    def __post_init__(self) -> None:
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"evaluation.patience is {self.patience}, must be at least 1")

    def is_better(self, value: float, than: float) -> bool:
        """Whether `value` beats `than` strictly; NaN beats nothing."""
        return value < than if self.select_by is SelectBy.LOSS else value > than


@dataclass(frozen=True, slots=True)
class Selection:
    """What the evaluations so far have shown. A version is the number of rounds done when the model was made."""

    best_version: int | None = None
    best_value: float | None = None
    last_version: int = -1  # newest model evaluated
    excused_rounds: int = 0  # since the best model, up to evaluations that failed: nothing says that training went wrong there

    def observe(self, criterion: Criterion, version: int, value: float | None) -> Selection:
        """Return the selection after an evaluation; one that is late or repeated changes nothing.

        Args:
            value: NaN is the model's fault, and counts as no better; None is the evaluator's, and counts for nothing.
        """
        if version <= self.last_version:
            return self
        if value is None:
            excused = self.excused_rounds + version - max(self.last_version, 0)
            return replace(self, last_version=version, excused_rounds=excused)
        if math.isnan(value) or (self.best_value is not None and not criterion.is_better(value, self.best_value)):
            return replace(self, last_version=version)
        return Selection(version, value, version)

    def is_exhausted(self, criterion: Criterion) -> bool:
        """Whether `patience` rounds have been evaluated past the best model, and none was better."""
        if criterion.patience is None or self.last_version < 0:
            return False
        return self.last_version - (self.best_version or 0) - self.excused_rounds >= criterion.patience


def retained(present: frozenset[int], newest: int, selection: Selection, capacity: int) -> frozenset[int]:
    """Return which of the model files `present` stay: the newest, the best, and those the evaluator may be reading.

    The evaluator takes the newest model when it has finished one, so what it reads now is among the models newer than
    the last one evaluated, and in the long run the oldest of them. So when more than `capacity` wait, the oldest stay.

    Args:
        capacity: models kept for the evaluator besides the newest and the best; 0 without an evaluator.
    """
    waiting = sorted(version for version in present if selection.last_version < version < newest)
    best = frozenset() if selection.best_version is None else frozenset({selection.best_version})
    return (frozenset(waiting[:capacity]) | {newest} | best) & present
