"""Fields that some choices of `name` or `weighting` alone read: with another choice they have no effect."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from coterie_api.errors import FieldError
from coterie_api.fields import show
from coterie_api.shape import camel
from coterie_api.v1alpha1.training import Optimizer, OptimizerName, Schedule, ScheduleName, Strategy, StrategyName, Weighting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coterie_api.v1alpha1.job import FederatedJobSpec

ADAPTIVE: Final = (StrategyName.FED_ADAGRAD, StrategyName.FED_ADAM, StrategyName.FED_YOGI)
ADAMS: Final = (OptimizerName.ADAM, OptimizerName.ADAMW)


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads a field: the choices, of the field beside it, with which it means something."""

    cls: type
    field: str
    chooser: str
    choices: tuple[StrEnum, ...]


READERS: Final = (
    Reader(Optimizer, "momentum", "name", (OptimizerName.SGD,)),
    Reader(Optimizer, "nesterov", "name", (OptimizerName.SGD,)),
    Reader(Optimizer, "beta1", "name", ADAMS),
    Reader(Optimizer, "beta2", "name", ADAMS),
    Reader(Optimizer, "epsilon", "name", ADAMS),
    Reader(Schedule, "final_factor", "name", (ScheduleName.COSINE, ScheduleName.LINEAR)),
    Reader(Schedule, "step_rounds", "name", (ScheduleName.STEP,)),
    Reader(Schedule, "step_factor", "name", (ScheduleName.STEP,)),
    Reader(Strategy, "weight_cap", "weighting", (Weighting.EXAMPLES,)),
    Reader(Strategy, "proximal_mu", "name", (StrategyName.FED_PROX,)),
    Reader(Strategy, "momentum", "name", (StrategyName.FED_AVG_M,)),
    Reader(Strategy, "beta1", "name", ADAPTIVE),
    Reader(Strategy, "beta2", "name", (StrategyName.FED_ADAM, StrategyName.FED_YOGI)),
    Reader(Strategy, "tau", "name", ADAPTIVE),
)


def unread(spec: FederatedJobSpec) -> Iterator[FieldError]:
    """Yield the fields of a job that were given another value than the default and that its own choices don't read."""
    yield from _unread(spec.training.optimizer, "spec.training.optimizer")
    yield from _unread(spec.training.schedule, "spec.training.schedule")
    yield from _unread(spec.strategy, "spec.strategy")


def _unread(value: Any, where: str) -> Iterator[FieldError]:
    defaults = {field.name: field.default for field in dataclasses.fields(value)}
    for reader in READERS:
        if not isinstance(value, reader.cls) or getattr(value, reader.chooser) in reader.choices:
            continue
        found = getattr(value, reader.field)
        if found != defaults[reader.field]:
            names = " or ".join(reader.choices)
            allowed = f"nothing with {reader.chooser} {getattr(value, reader.chooser)}, where it has no effect; it is for {names}"
            yield FieldError(f"{where}.{camel(reader.field)}", show(found), allowed)
