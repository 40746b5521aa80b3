"""The learning rate over a whole job, as a factor on its peak.

A function of where the job stands, never of what a client did before: a client that joins late, or starts again, uses the
same rate as the others. Position is counted in rounds: round 3, step 5 of 10 stands at 3.5.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from coterie_api.v1alpha1.types import Schedule, ScheduleName

if TYPE_CHECKING:
    from collections.abc import Callable


def factor(schedule: Schedule, position: float, rounds: int) -> float:
    """The factor at `position`, in rounds from the job's start, of a job of `rounds`."""
    warmup = schedule.warmup_rounds
    if position < warmup:
        return position / warmup
    progress = (position - warmup) / (rounds - warmup) if rounds > warmup else 1.0
    match schedule.name:
        case ScheduleName.CONSTANT:
            return 1.0
        case ScheduleName.COSINE:
            return schedule.final_factor + (1 - schedule.final_factor) * (1 + math.cos(math.pi * progress)) / 2
        case ScheduleName.LINEAR:
            return schedule.final_factor + (1 - schedule.final_factor) * (1 - progress)
        case ScheduleName.STEP:
            return float(schedule.step_factor ** math.floor((position - warmup) / schedule.step_rounds))


def in_round(schedule: Schedule, round_index: int, rounds: int, steps: int) -> Callable[[int], float] | None:
    """The factor of each step of a round of `steps` steps; None if it is 1 throughout.

    Warm-up is read at the end of a step, lest the first step of a job have rate zero; the rest at its beginning, lest the
    last one have.
    """
    if schedule.name is ScheduleName.CONSTANT and round_index >= schedule.warmup_rounds:
        return None

    def at(step: int) -> float:
        position = round_index + step / steps
        if position < schedule.warmup_rounds:
            return min(1.0, (position + 1 / steps) / schedule.warmup_rounds)
        return factor(schedule, position, rounds)

    return at
