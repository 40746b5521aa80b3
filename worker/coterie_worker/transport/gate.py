"""Credit for uploads: at most so many in memory at a time, and only for the slot that is open."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True, eq=False)
class Waiter:
    """An upload that was offered."""

    slot: int
    decision: asyncio.Future[bool]


class UploadGate:
    """Lets uploads in, in the order of their offers. Used from one event loop."""

    def __init__(self, credit: int) -> None:
        self._credit = credit
        self._in_memory = 0
        self._slot: int | None = None
        self._waiting: deque[Waiter] = deque()

    @property
    def in_memory(self) -> int:
        """Uploads that hold credit now."""
        return self._in_memory

    def is_open(self, slot: int) -> bool:
        """Whether uploads of this slot are let in now."""
        return slot == self._slot

    def open(self, slot: int) -> None:
        """Let in uploads of this slot, and of no other."""
        self._slot = slot
        self._decide()

    def close(self) -> None:
        """Decline those that wait, and those that come."""
        self._slot = None
        self._decide()

    async def acquire(self, slot: int) -> bool:
        """Wait for credit; False if the slot isn't open, or closes first."""
        waiter = Waiter(slot, asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        self._decide()
        try:
            return await waiter.decision
        except asyncio.CancelledError:
            self._withdraw(waiter)
            raise

    def release(self) -> None:
        """Give one credit back."""
        self._in_memory -= 1
        self._decide()

    def releaser(self) -> Callable[[], None]:
        """A release for one upload; calling it again changes nothing."""
        held = [self]

        def release() -> None:
            if held:
                held.pop().release()

        return release

    def _decide(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        for waiter in waiting:
            if waiter.slot != self._slot:
                self._settle(waiter, is_accepted=False)
            elif self._in_memory < self._credit:
                self._in_memory += self._settle(waiter, is_accepted=True)
            else:
                self._waiting.append(waiter)

    def _settle(self, waiter: Waiter, *, is_accepted: bool) -> bool:
        if waiter.decision.done():  # cancelled: its stream is gone
            return False
        waiter.decision.set_result(is_accepted)
        return True

    def _withdraw(self, waiter: Waiter) -> None:
        if waiter in self._waiting:
            self._waiting.remove(waiter)
        elif waiter.decision.done() and not waiter.decision.cancelled() and waiter.decision.result():
            self.release()  # credit was given in the very moment in which the stream broke
