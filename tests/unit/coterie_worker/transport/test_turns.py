"""Never more chunks on their way than there are turns, unless somebody takes too long; nothing is given back twice."""

from __future__ import annotations

import asyncio

import pytest

from coterie_worker.transport.turns import Turns

LONG = 3600.0


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class Sending:
    """Chunks that are sent until they are told to arrive."""

    def __init__(self, turns: Turns, count: int) -> None:
        self.begun: list[int] = []
        self.arrive = [asyncio.Event() for _ in range(count)]
        self.tasks = [asyncio.create_task(self._send(turns, number)) for number in range(count)]

    async def _send(self, turns: Turns, number: int) -> None:
        async with turns.one():
            self.begun.append(number)
            await self.arrive[number].wait()

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def test_the_next_chunk_waits_until_one_has_left() -> None:
    sending = Sending(Turns(2, LONG), 4)
    await settle()
    assert sending.begun == [0, 1]

    sending.arrive[1].set()
    await settle()

    assert sending.begun == [0, 1, 2]
    await sending.stop()


async def test_a_client_that_takes_nothing_holds_nobody_up() -> None:
    sending = Sending(Turns(1, 0.001), 2)

    async with asyncio.timeout(10):
        while sending.begun != [0, 1]:
            await asyncio.sleep(0.001)

    await sending.stop()


async def test_a_turn_that_lasted_too_long_is_not_given_back_again() -> None:
    turns = Turns(1, 0.001)
    sending = Sending(turns, 2)
    async with asyncio.timeout(10):
        while sending.begun != [0, 1]:
            await asyncio.sleep(0.001)
    sending.arrive[0].set()
    sending.arrive[1].set()
    await asyncio.gather(*sending.tasks)

    turns._seconds = LONG
    after = Sending(turns, 2)
    await settle()

    assert after.begun == [0]
    await after.stop()


@pytest.mark.parametrize("is_waiting", [False, True])
async def test_a_stream_that_breaks_gives_its_turn_back(is_waiting: bool) -> None:
    turns = Turns(1, LONG)
    sending = Sending(turns, 2)
    await settle()

    sending.tasks[1 if is_waiting else 0].cancel()
    await settle()
    sending.arrive[0].set()
    await settle()

    assert sending.begun == ([0] if is_waiting else [0, 1])
    later = Sending(turns, 1)
    sending.arrive[1].set()
    await settle()
    assert later.begun == [0]
    await sending.stop()
    await later.stop()
