"""Laws of the work queue, with a clock that is moved by hand."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie_operator.loop.queue import Backoff, WorkQueue

A = ("research", "a")
B = ("research", "b")


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def queue() -> tuple[WorkQueue, Clock]:
    clock = Clock()
    return WorkQueue(clock, Backoff(1.0, 60.0)), clock


def test_a_key_added_twice_is_worked_on_once() -> None:
    work, _ = queue()
    work.add(A)
    work.add(A)

    assert work.take_now() == A
    work.done(A)
    assert work.take_now() is None


def test_a_key_is_never_worked_on_by_two() -> None:
    work, _ = queue()
    work.add(A)
    assert work.take_now() == A
    work.add(A)

    assert work.take_now() is None


def test_what_comes_during_a_pass_is_not_lost() -> None:
    work, _ = queue()
    work.add(A)
    work.take_now()
    work.add(A)
    work.done(A)

    assert work.take_now() == A


def test_a_key_in_work_does_not_hold_back_another() -> None:
    work, _ = queue()
    work.add(A)
    work.take_now()
    work.add(A)
    work.add(B)

    assert work.take_now() == B


def test_a_key_does_not_come_before_its_time() -> None:
    work, clock = queue()
    work.add(A, after=5.0)
    clock.seconds = 4.9
    assert work.take_now() is None

    clock.seconds = 5.0
    assert work.take_now() == A


def test_the_earliest_of_two_times_wins() -> None:
    work, clock = queue()
    work.add(A, after=50.0)
    work.add(A, after=5.0)
    work.add(A, after=70.0)
    clock.seconds = 5.0

    assert work.take_now() == A
    work.done(A)
    clock.seconds = 100.0
    assert work.take_now() is None


def test_failures_wait_longer_each_time_and_a_success_forgets_them() -> None:
    work, _ = queue()

    assert [work.failed(A) for _ in range(8)] == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    work.succeeded(A)
    assert work.failed(A) == 1.0
    assert work.failed(B) == 1.0


def test_thousands_of_failures_do_not_overflow() -> None:
    assert Backoff(1.0, 60.0).after(5000) == 60.0


def test_a_forgotten_key_does_not_come_back() -> None:
    work, clock = queue()
    work.failed(A)
    work.forget(A)
    clock.seconds = 1000.0

    assert work.take_now() is None
    assert len(work) == 0


async def test_a_waiting_worker_wakes_when_a_key_is_added() -> None:
    work, _ = queue()
    waiting = asyncio.create_task(work.take())
    await asyncio.sleep(0)
    assert not waiting.done()

    work.add(A)

    assert await waiting == A


async def test_a_waiting_worker_wakes_when_another_worker_is_done() -> None:
    work, _ = queue()
    work.add(A)
    work.take_now()
    work.add(A)
    waiting = asyncio.create_task(work.take())
    await asyncio.sleep(0)
    assert not waiting.done()

    work.done(A)

    assert await waiting == A


@given(st.lists(st.tuples(st.sampled_from(["add", "take", "done"]), st.sampled_from([A, B])), max_size=60))
def test_every_added_key_is_taken_in_the_end(steps: list[tuple[str, tuple[str, str]]]) -> None:
    work, _ = queue()
    owed: set[tuple[str, str]] = set()
    working: set[tuple[str, str]] = set()
    for step, key in steps:
        if step == "add":
            work.add(key)
            owed.add(key)
        elif step == "take" and (taken := work.take_now()) is not None:
            assert taken not in working
            working.add(taken)
            owed.discard(taken)
        elif step == "done" and key in working:
            work.done(key)
            working.discard(key)
    for key in list(working):
        work.done(key)
    rest = {work.take_now() for _ in range(3)} - {None}
    assert rest == owed


@pytest.mark.parametrize("steps", range(8))
async def test_a_worker_that_is_cancelled_just_as_a_key_comes_still_ends(steps: int) -> None:
    work, _ = queue()
    work.add(B, after=3600.0)

    async def worker() -> None:
        while True:
            work.done(await work.take())

    task = asyncio.create_task(worker())
    for _ in range(3):
        await asyncio.sleep(0)
    work.add(A)
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()

    done, _ = await asyncio.wait([task], timeout=2)

    task.cancel()
    assert done == {task}, "the cancellation was swallowed"
