"""Calls to a cluster that may be out of reach for a while."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

from coterie_operator.cluster import Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

FIRST_SECONDS: Final = 0.1
LIMIT_SECONDS: Final = 5.0


async def insist(call: Callable[[], Awaitable[T]]) -> T:
    """Return what `call` returns, called again while the cluster is unavailable."""
    seconds = FIRST_SECONDS
    while True:
        try:
            return await call()
        except Unavailable:
            await asyncio.sleep(seconds)
            seconds = min(LIMIT_SECONDS, seconds * 2)
