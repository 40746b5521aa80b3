"""A deduplicating queue of jobs to look at, with deadlines and per-job backoff."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

Key = tuple[str, str]  # namespace, name of a FederatedJob


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential waiting, in seconds."""

    first: float
    longest: float

    def after(self, failures: int) -> float:
        """Return the wait after that many failures in a row (1 is the first)."""
        # The exponent is bounded so that a job that fails for weeks does not overflow a float.
        return min(self.longest, self.first * 2.0 ** min(failures - 1, 32))


class WorkQueue:
    """Who needs a pass, and from when on.

    Formal guarantees:

    - A key is worked on by at most one worker at a time.
    - What is added while its key is being worked on is not lost: the key comes back after `done`.
    - A key stands in the queue at most once; the earliest of its due times wins.
    """

    def __init__(self, clock: Callable[[], float], backoff: Backoff) -> None:
        self._clock = clock
        self._backoff = backoff
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, Key]] = []
        self._working: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return sum(1 for key in self._due if key not in self._working)

    def overdue(self) -> list[float]:
        """Return for how long each key has waited that is due and not being worked on, in seconds."""
        now = self._clock()
        return [now - due for key, due in list(self._due.items()) if due <= now and key not in self._working]

    def add(self, key: Key, after: float = 0.0) -> None:
        """Ask for a pass over `key` in `after` seconds, or sooner if that was asked before."""
        due = self._clock() + max(after, 0.0)
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            heapq.heappush(self._heap, (due, key))
            self._changed.set()

    def failed(self, key: Key) -> float:
        """Ask for another pass after the backoff of `key`; returns the wait in seconds."""
        self._failures[key] = self._failures.get(key, 0) + 1
        wait = self._backoff.after(self._failures[key])
        self.add(key, wait)
        return wait

    def succeeded(self, key: Key) -> None:
        """Forget former failures of `key`."""
        self._failures.pop(key, None)

    def forget(self, key: Key) -> None:
        """Drop all that is known about `key`."""
        self._due.pop(key, None)
        self._failures.pop(key, None)

    def take_now(self) -> Key | None:
        """Return a key that is due and not being worked on, or None; the caller owes a `done`."""
        held: list[tuple[float, Key]] = []
        found: Key | None = None
        while found is None and self._heap and self._heap[0][0] <= self._clock():
            due, key = heapq.heappop(self._heap)
            if self._due.get(key) != due:
                continue  # superseded or forgotten
            if key in self._working:
                held.append((due, key))
            else:
                found = key
        for entry in held:
            heapq.heappush(self._heap, entry)
        if found is not None:
            del self._due[found]
            self._working.add(found)
        return found

    def done(self, key: Key) -> None:
        """Say that the pass over `key` has ended."""
        self._working.discard(key)
        self._changed.set()

    async def take(self) -> Key:
        """Wait for a key that is due; the caller owes a `done`."""
        while (key := self.take_now()) is None:
            self._changed.clear()
            # Not wait_for: up to Python 3.11 it can swallow a cancellation that comes together with the event.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._until_next()):
                    await self._changed.wait()
        return key

    def _until_next(self) -> float | None:
        due = min((due for key, due in self._due.items() if key not in self._working), default=None)
        return None if due is None else max(due - self._clock(), 0.0)
