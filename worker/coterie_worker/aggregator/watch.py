"""Turns the round machine's transitions into metrics: how long phases take, who drops in which, which tries fail."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from coterie_api.progress import DropReason
from coterie_worker.metrics import TOO_FEW_SURVIVORS, AggregatorMetrics
from coterie_worker.rounds import commands as do
from coterie_worker.rounds import events as on
from coterie_worker.rounds.state import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from coterie_worker.rounds import State


# A counter that is born with its first drop would hide it from every rate: those of rounds are there from the start.
IN_A_ROUND: Final = (Phase.KEYING, Phase.TRAINING, Phase.UNMASKING)


class Watch:
    """Looks on at one process's transitions."""

    def __init__(self, metrics: AggregatorMetrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics = metrics
        self._clock = clock
        self._since = clock()
        for phase in IN_A_ROUND:
            for reason in DropReason:
                metrics.drops.labels(phase.value, reason.value)

    def moved(self, before: State, event: on.Event, after: State, commands: Iterable[do.Command]) -> None:
        """Hear of one transition."""
        if after.phase is not before.phase:
            now = self._clock()
            self._metrics.phase_seconds.labels(before.phase.value).observe(now - self._since)
            self._since = now
        if after.attempt > before.attempt:
            self._metrics.attempts.labels(TOO_FEW_SURVIVORS).inc()
        if (reason := dropped(before, event)) is not None:
            self._metrics.drops.labels(before.phase.value, reason.value).inc()
        if isinstance(event, on.TooFew) and event.cheaters:
            cheated = len(event.cheaters & before.live)
            self._metrics.drops.labels(before.phase.value, DropReason.PROTOCOL_VIOLATION.value).inc(cheated)
        for command in commands:
            if isinstance(command, do.Record):
                self._late(before.slot, command)

    def _late(self, slot: int, record: do.Record) -> None:
        """Count who was asked and sent nothing: that shows only when the sum is open, but it was in training."""
        late = [each for each in record.absences if each.slot == slot and each.reason is DropReason.LATE]
        if late:
            self._metrics.drops.labels(Phase.TRAINING.value, DropReason.LATE.value).inc(len(late))


def dropped(before: State, event: on.Event) -> DropReason | None:
    """Return why a client drops by this event, None if none does: who has left or failed before doesn't drop again."""
    match event:
        case on.ClientLeft(client, reason) | on.ClientWithdrew(client, reason):
            return reason if client in before.live else None
        case on.ClientFailed(client, slot, reason):
            return reason if slot == before.slot and client in before.cohort - before.failed_clients else None
    return None
