"""All metrics of an aggregator. No label names a job or a client: a process serves one job, and Prometheus knows which pod it reads.

Every number is public or a released aggregate.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

if TYPE_CHECKING:
    from coterie_api.history import RoundLine
    from coterie_api.progress import Progress

# Rounds take from a tenth of a second, for small models on one machine, to the hour that a deadline may allow.
SECONDS: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
DONE: Final = "Done"
TOO_FEW_SURVIVORS: Final = "TooFewSurvivors"
OUTCOMES: Final = (DONE, TOO_FEW_SURVIVORS)
DIRECTIONS: Final = ("sent", "received")
NOTHING: Final = float("nan")


class AggregatorMetrics:
    """The numbers of one aggregator process, in one registry."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = found = registry or CollectorRegistry()
        ProcessCollector(registry=found)
        self.progress = {
            "rounds_done": Gauge("coterie_rounds_done", "Rounds whose sum was applied.", registry=found),
            "rounds": Gauge("coterie_rounds", "Rounds of the job.", registry=found),
            "slot": Gauge("coterie_slot", "Last slot opened.", registry=found),
            "connected": Gauge("coterie_clients_connected", "Clients with a session.", registry=found),
            "cohort": Gauge("coterie_cohort_clients", "Clients asked in the last round.", registry=found),
            "survivors": Gauge("coterie_survivors", "Clients in the last sum.", registry=found),
            "accuracy": Gauge("coterie_accuracy_ratio", "Of the last model evaluated, on public data; NaN: none yet.", registry=found),
            "loss": Gauge("coterie_loss", "Of the last model evaluated, on public data; NaN: none yet.", registry=found),
            "epsilon_spent": Gauge(
                "coterie_epsilon_spent", "Privacy loss so far, at the job's delta; NaN: nothing bounds it.", registry=found
            ),
            "epsilon_left": Gauge("coterie_epsilon_left", "What the job's bound still allows; NaN: it has none.", registry=found),
            "clamped": Gauge("coterie_clamped_coordinates", "Coordinates clamped to the ring in the last sum.", registry=found),
        }
        self.attempts = Counter("coterie_round_attempts_total", "Tries at a round by outcome.", ["outcome"], registry=found)
        self.openings = Counter("coterie_openings_total", "Sums that were opened and applied by this process.", registry=found)
        self.round_seconds = Histogram(
            "coterie_round_duration_seconds", "From the end of one round to that of the next.", buckets=SECONDS, registry=found
        )
        self.phase_seconds = Histogram(
            "coterie_phase_duration_seconds", "Time in one phase of a round.", ["phase"], buckets=SECONDS, registry=found
        )
        self.drops = Counter(
            "coterie_drops_total",
            "Clients that dropped, by the phase in which they did and by reason.",
            ["phase", "reason"],
            registry=found,
        )
        self.bytes = Counter(
            "coterie_transferred_bytes_total", "Bytes of frames to and from clients by this process.", ["direction"], registry=found
        )
        self.update_norm = Gauge(
            "coterie_update_norm", "Euclidean norm of the last mean update, which is released; NaN: none yet.", registry=found
        )
        self.last_round = Gauge(
            "coterie_last_round_timestamp_seconds",
            "When the last round was done; before the first, when the process started.",
            registry=found,
        )
        self.evaluated = Gauge(
            "coterie_evaluated_rounds", "Rounds of the last model evaluated; NaN: the job has no evaluator.", registry=found
        )
        self.last_evaluation = Gauge(
            "coterie_last_evaluation_timestamp_seconds", "When the last evaluation came; NaN: none yet.", registry=found
        )
        self._begin()

    def _begin(self) -> None:
        for outcome in OUTCOMES:
            self.attempts.labels(outcome)
        for direction in DIRECTIONS:
            self.bytes.labels(direction)
        for gauge in (self.update_norm, self.evaluated, self.last_evaluation):
            gauge.set(NOTHING)
        self.last_round.set(time.time())
        self._traffic = dict.fromkeys(DIRECTIONS, 0)

    def expects_evaluations(self) -> None:
        """Say that the job has an evaluator: from now on its silence can be told."""
        self.evaluated.set(0)

    def evaluated_model(self, version: int) -> None:
        """Note an evaluation of the model after that many rounds."""
        self.evaluated.set(version)
        self.last_evaluation.set(time.time())

    def round_done(self, line: RoundLine) -> None:
        """Count a round whose sum was applied."""
        self.attempts.labels(DONE).inc()
        self.openings.inc()
        self.round_seconds.observe(line.seconds)
        self.update_norm.set(line.update_norm)
        self.last_round.set(time.time())

    def exposition(self, progress: Progress) -> bytes:
        """Return everything in Prometheus' text format, with the numbers of `progress`."""
        for name, gauge in self.progress.items():
            value = getattr(progress, name)
            gauge.set(NOTHING if value is None else value)
        for direction, total in zip(DIRECTIONS, (progress.bytes_sent, progress.bytes_received), strict=True):
            self.bytes.labels(direction).inc(max(total - self._traffic[direction], 0))
            self._traffic[direction] = total
        return generate_latest(self.registry)
