"""Never more uploads in memory than there is credit, whatever comes, goes, or is cancelled."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import pytest

from coterie_worker.transport.gate import UploadGate


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_third_upload_waits_until_one_is_added() -> None:
    gate = UploadGate(2)
    gate.open(1)
    offers = [asyncio.create_task(gate.acquire(1)) for _ in range(3)]
    await settle()
    assert [offer.done() for offer in offers] == [True, True, False]

    gate.release()
    await settle()

    assert offers[2].result()
    assert gate.in_memory == 2


async def test_closing_declines_those_who_wait() -> None:
    gate = UploadGate(1)
    gate.open(1)
    await gate.acquire(1)
    waiting = asyncio.create_task(gate.acquire(1))
    await settle()

    gate.close()

    assert not await waiting
    assert gate.in_memory == 1


@pytest.mark.parametrize("slot", [0, 2])
async def test_another_slot_is_declined_at_once(slot: int) -> None:
    gate = UploadGate(1)
    gate.open(1)

    assert not await gate.acquire(slot)
    assert gate.in_memory == 0


async def test_nothing_comes_in_before_a_slot_is_open() -> None:
    assert not await UploadGate(1).acquire(1)


async def test_a_stream_that_breaks_while_it_waits_leaves_its_place() -> None:
    gate = UploadGate(1)
    gate.open(1)
    await gate.acquire(1)
    broken, patient = (asyncio.create_task(gate.acquire(1)) for _ in range(2))
    await settle()

    broken.cancel()
    with suppress(asyncio.CancelledError):
        await broken
    gate.release()

    assert await patient
    assert gate.in_memory == 1


async def test_credit_given_in_the_moment_of_the_break_comes_back() -> None:
    gate = UploadGate(1)
    gate.open(1)
    await gate.acquire(1)
    broken = asyncio.create_task(gate.acquire(1))
    await settle()

    gate.release()  # decides for `broken`, which has not run yet
    broken.cancel()
    with suppress(asyncio.CancelledError):
        await broken

    assert gate.in_memory == 0


@pytest.mark.parametrize("seed", range(30))
async def test_chaos_never_exceeds_the_credit_and_leaks_none(seed: int) -> None:
    chance = random.Random(seed)
    gate, held, waiting, worst = UploadGate(2), 0, set[asyncio.Task[bool]](), 0
    for _ in range(200):
        held -= disturb(gate, chance, held, waiting)
        await asyncio.sleep(0)
        held += sum(accepted(task) for task in waiting if task.done())
        waiting = {task for task in waiting if not task.done()}
        worst = max(worst, gate.in_memory)
    gate.close()
    await asyncio.gather(*waiting, return_exceptions=True)

    assert worst <= 2
    assert gate.in_memory == held + sum(map(accepted, waiting))


def disturb(gate: UploadGate, chance: random.Random, held: int, waiting: set[asyncio.Task[bool]]) -> int:
    """Do something to the gate; returns how many uploads were released."""
    match chance.randrange(6):
        case 0 | 1:
            waiting.add(asyncio.create_task(gate.acquire(chance.choice((1, 2)))))
        case 2 if held:
            gate.release()
            return 1
        case 3 if waiting:
            chance.choice(sorted(waiting, key=id)).cancel()
        case 4:
            gate.open(chance.choice((1, 2)))
        case 5:
            gate.close()
    return 0


def accepted(task: asyncio.Task[bool]) -> bool:
    return not task.cancelled() and task.result()
