"""What is shown of a run while it goes on: the job's status and the lines of its history."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from coterie_api.history import RoundLine, UnreadableLine, decode, fold
from coterie_operator.cluster import Object

if TYPE_CHECKING:
    from collections.abc import Sequence

RECENT = 5  # rounds that the time left is judged by


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One moment of a run."""

    job: Object
    lines: tuple[RoundLine, ...] = ()
    seconds: float = 0.0  # since the run began

    @property
    def name(self) -> str:
        return f"{self.job['metadata']['namespace']}/{self.job['metadata']['name']}"

    @property
    def rounds(self) -> int:
        return int(self.job["spec"]["rounds"])

    @property
    def rounds_done(self) -> int:
        return self.lines[-1].round if self.lines else 0

    @property
    def state(self) -> str:
        return str(self.status.get("state") or "Pending")

    @property
    def status(self) -> Object:
        found: Object = self.job.get("status") or {}
        return found

    @property
    def message(self) -> str:
        return str(self.status.get("message") or "")

    @property
    def tenants(self) -> Sequence[Object]:
        found: Sequence[Object] = self.status.get("tenants") or ()
        return found

    def seconds_left(self) -> float | None:
        """Return how long the rest will take if rounds go on as the last few did."""
        return seconds_left(self.lines, self.rounds)

    def ended(self) -> str | None:
        """Return Succeeded or Failed once the job has ended."""
        for condition in self.status.get("conditions") or ():
            if condition["type"] in {"Succeeded", "Failed"} and condition["status"] == "True":
                return str(condition["type"])
        return None


def seconds_left(lines: Sequence[RoundLine], rounds: int) -> float | None:
    """Return the mean seconds of the last rounds times those that are left; None before the first."""
    recent = lines[-RECENT:]
    if not recent:
        return None
    return sum(line.seconds for line in recent) / len(recent) * max(0, rounds - lines[-1].round)


@dataclass(slots=True)
class HistoryTail:
    """Reads a history file while the aggregator appends to it; what is read once is not read again."""

    path: Path
    _offset: int = 0
    _lines: dict[int, RoundLine] = field(default_factory=dict)

    def read(self) -> tuple[RoundLine, ...]:
        """Return one line for each round that has ended so far."""
        try:
            with self.path.open("rb") as file:
                if file.seek(0, 2) < self._offset:  # an aggregator that resumed has written it anew
                    self._offset = 0
                    self._lines.clear()
                file.seek(self._offset)
                content = file.read()
        except FileNotFoundError:
            return self._sorted()
        whole = content[: content.rfind(b"\n") + 1]
        self._offset += len(whole)
        for raw in whole.splitlines(keepends=True):
            try:
                line = decode(raw)
            except UnreadableLine:  # the tear of a crash: the aggregator cuts it off when it resumes
                continue
            self._lines[line.round] = line
        return self._sorted()

    def _sorted(self) -> tuple[RoundLine, ...]:
        return tuple(self._lines[number] for number in sorted(self._lines))


def read_history(path: Path) -> tuple[RoundLine, ...]:
    """Return one line for each round of a history file; empty if there is none."""
    return fold(HistoryTail(path).read())
