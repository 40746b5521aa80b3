"""The data plane without training: a real aggregator, real streams, and clients whose updates are made up (`light`)."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench import light
from bench.raw_stream import against_raw
from bench.table import Row

if TYPE_CHECKING:
    from collections.abc import Iterable

MIB = 2**20


def run(size: light.Size) -> light.Outcome:
    with tempfile.TemporaryDirectory(prefix="coterie-bench-") as scratch:
        return light.run(Path(scratch), size)


def secure_round() -> Iterable[Row]:
    """Ten client processes, a million parameters, and the same bytes raw."""
    size = light.Size(clients=10, values=1_000_000, rounds=24, slots_per_epoch=64, processes=10)
    ours = statistics.median(run(size).seconds)
    yield from against_raw("round, n=10, d=1e6, over gRPC and TLS", ours, 2.0)


def pace() -> Iterable[Row]:
    """Rounds as short as one step of training: set-up of epochs and every file included."""
    size = light.Size(clients=10, values=26_000, rounds=193, slots_per_epoch=64, processes=10)
    rate = 1 / statistics.mean(run(size).seconds)
    yield Row("rounds a second, n=10, d=26,000, epochs of 64 slots", rate, 10, "/s", 1, at_most=False)


def crowd_memory() -> Iterable[Row]:
    """The aggregator's high-water mark above that of the same job with a tiny model."""
    values = 10_000_000
    for clients in (10, 100):
        idle = run(light.Size(clients, 1000, 2, processes=2)).aggregator_peak
        peak = run(light.Size(clients, values, 2, processes=2)).aggregator_peak
        yield Row(f"aggregator memory above idle, n={clients}, d=1e7", (peak - idle) / MIB, 4 * values / MIB, "MiB", 6)


def two_hundred() -> Iterable[Row]:
    """The largest complete graph, over 200 streams; the run fails if the sum isn't exact."""
    outcome = run(light.Size(clients=200, values=26_000, rounds=3, slots_per_epoch=4, processes=2, uploads=100))
    yield Row("a round, n=200, d=26,000, 200 streams, exact sum", statistics.mean(outcome.seconds), 60, "s", 1)
