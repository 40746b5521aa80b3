"""`history.jsonl`: one line of JSON for each round of a job, for people, plots and reports.

While a job runs, a round may have several lines, since its evaluation comes later than its sum: the last line of a round
holds. The copy in the output has exactly one line for each round. Fields are only ever added; readers ignore unknown ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Final, TypeVar

SCHEMA: Final = "coterie/history/v1"
FILE: Final = "history.jsonl"
MAX_METRICS: Final = 32
MAX_METRIC_NAME: Final = 64  # characters

Value = TypeVar("Value")


class UnreadableLine(ValueError):
    """A line is torn, or is no line of this schema."""


class UnknownSchema(UnreadableLine):
    """A whole line of another schema, written by another version of Coterie."""


@dataclass(frozen=True, slots=True)
class RoundLine:
    """What is told of one round: public numbers and released aggregates only.

    Attributes:
        round: rounds done after it, from 1; so it is the version of the model that it made.
        slot: the one whose sum was applied.
        attempts: tries that it took, from 1.
        cohort: clients asked in the last try.
        survivors: clients in the sum.
        drops: clients asked and not in a sum, in all tries, counted by DropReason.
        update_norm: Euclidean norm of the mean update's trainable part.
        clamped: coordinates clamped to the ring, over all clients.
        bytes_sent: by the aggregator in this round, all tries and keys included.
        bytes_received: likewise.
        seconds: from the end of the round before.
        accuracy: of this round's model by the evaluator; None if it wasn't evaluated.
        loss: likewise.
        metrics: likewise, the task's other metrics by name, as far as they are finite; see `bounded`.
    """

    round: int
    slot: int
    attempts: int
    cohort: int
    survivors: int
    drops: Mapping[str, int] = field(default_factory=dict)
    update_norm: float = 0.0
    clamped: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    seconds: float = 0.0
    accuracy: float | None = None
    loss: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Return the line, with its line feed."""
        return json.dumps({"schema": SCHEMA, **asdict(self)}, separators=(",", ":")).encode() + b"\n"


def bounded(metrics: Mapping[str, Value]) -> dict[str, Value]:
    """Return the first metrics of a task, without those of overlong names: every line is kept in memory, and read by people."""
    named = [(name, value) for name, value in metrics.items() if len(str(name)) <= MAX_METRIC_NAME]
    return dict(named[:MAX_METRICS])


_NAMES: Final = frozenset(known.name for known in fields(RoundLine))


def decode(line: bytes) -> RoundLine:
    """Return what a line says.

    Raises:
        UnreadableLine: torn, not JSON, another schema (UnknownSchema), or a field is missing.
    """
    if not line.endswith(b"\n"):
        raise UnreadableLine("line is torn: it has no line feed")
    try:
        found = json.loads(line)
        if found["schema"] != SCHEMA:
            raise UnknownSchema(f"schema is {found['schema']!r}, allowed is {SCHEMA!r}")
        return RoundLine(**{name: value for name, value in found.items() if name in _NAMES})
    except (KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UnreadableLine(f"not a line of {SCHEMA}: {type(error).__name__}") from error


def fold(lines: Iterable[RoundLine]) -> tuple[RoundLine, ...]:
    """Return the last line of each round, in the order of the rounds."""
    last = {line.round: line for line in lines}
    return tuple(last[number] for number in sorted(last))
