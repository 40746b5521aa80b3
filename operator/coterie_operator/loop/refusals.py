"""What the API server refused lately, so that nothing is asked for again in each pass.

Each refused write waits for itself, longer each time, whatever else wakes the job meanwhile. This is memory only: after a restart of the
operator each write is tried once more, and nothing else depends on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from coterie_operator.core.actions import CreateCertificate
from coterie_operator.core.observed import Trouble, Write

if TYPE_CHECKING:
    from coterie_operator.act import Outcome
    from coterie_operator.core.actions import Plan
    from coterie_operator.loop.queue import Backoff, Key


@dataclass(frozen=True, slots=True)
class Refusal:
    """A write that is not to be tried again yet."""

    failures: int
    until: datetime
    trouble: Trouble | None  # None: it was no failure, but a repetition would do nothing


class Refusals:
    """Refused writes by job."""

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self._found: dict[Key, dict[Write, Refusal]] = {}

    def held(self, key: Key, now: datetime) -> frozenset[Write]:
        """Return the writes of a job that are not to be tried yet."""
        return frozenset(write for write, entry in self._found.get(key, {}).items() if now < entry.until)

    def troubles(self, key: Key) -> tuple[Trouble, ...]:
        """Return what the API server said to the writes of a job that it refused and that are still wanted."""
        found = (entry.trouble for entry in self._found.get(key, {}).values())
        return tuple(dict.fromkeys(trouble for trouble in found if trouble is not None))

    def note(self, key: Key, plan: Plan, outcome: Outcome, now: datetime) -> None:
        """Remember how the writes of a pass ended, and forget those that are not wanted any more."""
        before = self._found.pop(key, {})
        found = {write: entry for write, entry in before.items() if write in plan.held}
        for trouble in outcome.troubles:
            if trouble.write is not None:
                found[trouble.write] = self._entry(before.get(trouble.write), trouble, now)
        for action in plan.actions:
            # A certificate is made on suspicion that it is missing; nobody can look, so it must not be made in each pass.
            if isinstance(action, CreateCertificate) and action.write not in found:
                found[action.write] = self._entry(before.get(action.write), None, now)
        if found:
            self._found[key] = found

    def next(self, key: Key) -> datetime | None:
        """Return when the first of a job's refused writes is to be tried again."""
        return min((entry.until for entry in self._found.get(key, {}).values()), default=None)

    def _entry(self, before: Refusal | None, trouble: Trouble | None, now: datetime) -> Refusal:
        failures = before.failures + 1 if before is not None else 1
        return Refusal(failures, now + timedelta(seconds=self._backoff.after(failures)), trouble)
