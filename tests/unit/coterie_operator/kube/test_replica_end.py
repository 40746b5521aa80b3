"""How a replica notices that it is to end."""

from __future__ import annotations

import asyncio
import signal
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest

from coterie_operator.handlers import _Replica
from coterie_operator.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator


def replica(ends: datetime) -> _Replica:
    """A replica of which nothing but the end is looked at."""
    nobody = cast("Any", None)
    return _Replica(Settings(), nobody, nobody, nobody, ends)


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("ticks", range(4))
async def test_a_cancellation_that_comes_with_the_end_is_not_swallowed(ticks: int) -> None:
    one = replica(datetime.now(UTC) + timedelta(hours=1))
    task = asyncio.create_task(one._until_end())
    for _ in range(3):
        await asyncio.sleep(0)
    one._stop.set()
    for _ in range(ticks):
        await asyncio.sleep(0)
    was_over = task.done()
    task.cancel()
    await asyncio.wait({task})

    assert task.cancelled() != was_over


async def test_a_replica_that_is_asked_to_end_does() -> None:
    one = replica(datetime.now(UTC) + timedelta(hours=1))
    task = asyncio.create_task(one._until_end())
    await asyncio.sleep(0)
    assert not task.done()
    one._stop.set()

    await task


@pytest.mark.parametrize("late", [timedelta(), timedelta(days=1)])
async def test_a_replica_whose_certificate_is_old_ends_by_itself(late: timedelta) -> None:
    await replica(datetime.now(UTC) - late)._until_end()
