"""The numbers of a whole run, from its history and the job's last status."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coterie_api.history import RoundLine
    from coterie_operator.cluster import Object


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over all rounds.

    Attributes:
      seconds: of the run, from the command to its end, start-up included.
      round_seconds: of the rounds alone.
      survivors_least: fewest updates in one sum.
      accuracy: of the newest evaluated model; `best_accuracy` of the best, made in `best_round`.
      drops: clients that were asked and are not in a sum, by reason.
    """

    rounds: int = 0
    slots: int = 0
    seconds: float = 0.0
    round_seconds: float = 0.0
    bytes_sent: int = 0
    bytes_received: int = 0
    survivors_least: int | None = None
    accuracy: float | None = None
    loss: float | None = None
    best_accuracy: float | None = None
    best_round: int | None = None
    clamped: int = 0
    drops: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the totals as `result.json` holds them."""
        return asdict(self)


def totals(job: Object, lines: Sequence[RoundLine], seconds: float) -> Totals:
    """Add up a run."""
    drops: Counter[str] = Counter()
    for line in lines:
        drops.update(line.drops)
    judged = [line for line in lines if line.accuracy is not None]
    best = max(judged, key=lambda line: line.accuracy or 0.0, default=None)
    return Totals(
        rounds=len(lines),
        slots=(job.get("status") or {}).get("slots", 0),
        seconds=round(seconds, 3),
        round_seconds=round(sum(line.seconds for line in lines), 3),
        bytes_sent=sum(line.bytes_sent for line in lines),
        bytes_received=sum(line.bytes_received for line in lines),
        survivors_least=min((line.survivors for line in lines), default=None),
        accuracy=judged[-1].accuracy if judged else None,
        loss=judged[-1].loss if judged else None,
        best_accuracy=best.accuracy if best else None,
        best_round=best.round if best else None,
        clamped=sum(line.clamped for line in lines),
        drops=dict(drops),
    )
