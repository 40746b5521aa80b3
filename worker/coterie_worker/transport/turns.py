"""Turns at sending chunks: what waits in gRPC for clients to take it doesn't grow with their number."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Turns:
    """At most `count` chunks are being sent at a time, in the order of asking. Used from one event loop.

    Whoever takes longer than `seconds` gives its turn to the next while its one chunk still waits: a client that is slow,
    or takes nothing, holds nobody up for longer.
    """

    def __init__(self, count: int, seconds: float) -> None:
        self._free = asyncio.Semaphore(count)
        self._seconds = seconds

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Wait for a turn, and hold it for the block or until it has lasted too long."""
        await self._free.acquire()
        held = [self._free]

        def give_back() -> None:
            if held:
                held.pop().release()

        expiry = asyncio.get_running_loop().call_later(self._seconds, give_back)
        try:
            yield
        finally:
            expiry.cancel()
            give_back()
