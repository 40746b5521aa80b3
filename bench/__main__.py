"""`make bench`: every target of speed, memory and accuracy, as ratios within this run. Names of measurements as arguments pick some."""

from __future__ import annotations

import signal
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench import fashion, jobs
from bench.raw_stream import against_raw
from bench.table import Row, render

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

EXAMPLES = Path(__file__).parents[1] / "examples"


def digits(scratch: Path) -> Iterable[Row]:
    """The README's first command, start-up included."""
    outcome = jobs.run(EXAMPLES / "digits", scratch / "out")
    totals = outcome.result["totals"]
    yield Row("digits: whole command, start-up included", totals["seconds"], 20, "s", 1)
    yield Row("digits: accuracy of the last round", outcome.accuracy[-1], 0.95, "", 1, at_most=False)


def secure_round(scratch: Path) -> Iterable[Row]:
    """Ten clients, a million parameters, no training."""
    ours = jobs.run(jobs.still(scratch / "still", clients=10, values=1_000_000, rounds=12), scratch / "out").seconds
    yield from against_raw("secure round, n=10, d=1e6, no training", statistics.median(ours), 2.5)


def memory(scratch: Path) -> Iterable[Row]:
    """The aggregator's high-water mark above that of the same job with a tiny model."""
    values = 10_000_000
    idle = jobs.run(jobs.still(scratch / "idle", clients=10, values=1000, rounds=2), scratch / "out-idle").aggregator_peak
    ten = jobs.run(jobs.still(scratch / "ten", clients=10, values=values, rounds=2), scratch / "out-ten").aggregator_peak
    five = jobs.run(jobs.still(scratch / "five", clients=5, values=values, rounds=2), scratch / "out-five").aggregator_peak
    mib = 1 << 20
    yield Row("aggregator memory above idle, n=10, d=1e7, vs 4 B x d", (ten - idle) / mib, 4 * values / mib, "MiB", 6)
    yield Row("the same, n=10 vs n=5", (ten - idle) / mib, (five - idle) / mib, "MiB", 1.1)


MEASUREMENTS: dict[str, Callable[[Path], Iterable[Row]]] = {
    "digits": digits,
    "secure-round": secure_round,
    "memory": memory,
    "fashion": fashion.rows,
}


def main(names: list[str]) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that blocks end what they have started, or made stand still
    rows: list[Row] = []
    for name in names or MEASUREMENTS:
        with tempfile.TemporaryDirectory(prefix="coterie-bench-") as scratch:
            rows += MEASUREMENTS[name](Path(scratch))
    print(render(rows))
    return 0 if all(row.ok for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
