"""What is told of a running job: counted as it goes, put together when somebody asks."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from coterie_api.history import RoundLine
from coterie_api.podconfig import JobConfig
from coterie_api.progress import Drop, DropReason, Progress
from coterie_worker.aggregator.evaluations import Evaluation
from coterie_worker.metrics import AggregatorMetrics
from coterie_worker.rounds.commands import Record
from coterie_worker.transport import Dropped
from coterie_worker.transport.server import Traffic

if TYPE_CHECKING:
    from collections.abc import Iterable

    from coterie_worker.rounds import State
    from coterie_worker.rounds.commands import Absence


@dataclass(slots=True)
class Tally:
    """Counters of one aggregator process."""

    job: JobConfig
    traffic: Traffic
    said: dict[int, Dropped] = field(default_factory=dict)  # client -> what it said last of its failure
    gone: dict[int, Drop] = field(default_factory=dict)  # clients that take no part any more
    last: Record | None = None
    last_drops: tuple[Drop, ...] = ()
    clamped: int = 0
    update_norm: float | None = None
    evaluation: Evaluation | None = None
    best_round: int | None = None
    round_seconds: float = 0.0
    round_start: float = field(default_factory=time.monotonic)
    bytes_before: tuple[int, int] = (0, 0)
    metrics: AggregatorMetrics = field(default_factory=AggregatorMetrics)

    def failed(self, client: int, dropped: Dropped) -> Drop:
        """Remember what a client said."""
        drop = self.drop(client, dropped.reason, dropped)
        self.said[client] = dropped
        if dropped.is_final:
            self.gone[client] = drop
        return drop

    def drop(self, client: int, reason: DropReason, said: Dropped | None = None) -> Drop:
        """A client's absence, with its own words where it had any."""
        name = self.job.roster[client].client
        if said is None:
            return Drop(name, reason)
        return Drop(name, said.reason, said.error_class, said.where, said.incident)

    def drops(self, absences: Iterable[Absence]) -> tuple[Drop, ...]:
        """Absences for people."""
        return tuple(self.drop(each.client, each.reason, self._said_of(each)) for each in absences)

    def _said_of(self, absence: Absence) -> Dropped | None:
        said = self.said.get(absence.client)
        return said if said is not None and said.slot == absence.slot else None

    def round_line(self, record: Record, update_norm: float) -> RoundLine:
        """The line of a round that has just been done, and a fresh start for the next."""
        now, (sent, received) = time.monotonic(), self.bytes_before
        self.round_seconds, self.round_start = now - self.round_start, now
        self.bytes_before = self.traffic.sent, self.traffic.received
        self.last, self.last_drops = record, self.drops(record.absences)
        self.said.clear()
        self.update_norm = update_norm
        line = RoundLine(
            round=record.round_index + 1,
            slot=record.slot,
            attempts=record.attempts,
            cohort=len(record.cohort),
            survivors=len(record.survivors),
            drops=dict(Counter(absence.reason.value for absence in record.absences)),
            update_norm=update_norm,
            clamped=self.clamped,
            bytes_sent=self.traffic.sent - sent,
            bytes_received=self.traffic.received - received,
            seconds=self.round_seconds,
        )
        self.metrics.round_done(line)
        return line

    def progress(self, state: State, phase: str = "") -> Progress:
        """The numbers now."""
        drops = self.drops((*state.absences, *state.failed)) or self.last_drops
        latest = {drop.client: drop for drop in (*drops, *self.gone.values())}
        return Progress(
            rounds_done=state.rounds_done,
            rounds=self.job.rounds,
            slot=state.slot,
            phase=phase or state.phase.shown,
            connected=len(state.live),
            cohort=len(state.cohort),
            survivors=len(self.last.survivors) if self.last else 0,
            accuracy=self.evaluation.accuracy if self.evaluation else None,
            loss=self.evaluation.loss if self.evaluation else None,
            best_round=state.selection.best_version,
            bytes_sent=self.traffic.sent,
            bytes_received=self.traffic.received,
            round_seconds=self.round_seconds,
            clamped=self.clamped,
            update_norm=self.update_norm,
            drops=tuple(latest.values()),
            evaluation_failure=self.evaluation.failure if self.evaluation else None,
        )
