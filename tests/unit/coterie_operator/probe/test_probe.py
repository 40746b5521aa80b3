"""How often an aggregator is asked, and what of its answer is believed."""

from __future__ import annotations

import json

import pytest

from coterie_api.progress import Progress
from coterie_operator.probe import MAX_STATUS_BYTES, PacedProbe, _read

BUSY = Progress(rounds_done=1, phase="Training")


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class Counting:
    def __init__(self, answer: Progress | None) -> None:
        self.answer = answer
        self.asked = 0

    async def status(self, host: str, server_name: str) -> Progress | None:
        self.asked += 1
        return self.answer

    async def close(self) -> None:
        return None


async def test_an_aggregator_is_not_asked_more_often_than_the_interval() -> None:
    probe, clock = Counting(BUSY), Clock()
    paced = PacedProbe(probe, clock, 10.0)

    answers = []
    for seconds in (0.0, 1.0, 9.9, 10.0, 19.9, 20.0):
        clock.seconds = seconds
        answers.append(await paced.status("127.0.0.2", "a.research.svc"))

    assert probe.asked == 3
    assert set(answers) == {BUSY}


@pytest.mark.parametrize("answer", [None, Progress(phase="Starting"), Progress(phase="Assembling")])
async def test_one_that_could_not_be_read_or_is_starting_is_asked_again_after_a_second(answer: Progress | None) -> None:
    probe, clock = Counting(answer), Clock()
    paced = PacedProbe(probe, clock, 10.0)

    for seconds in (0.0, 0.5, 1.0, 1.5, 2.0):
        clock.seconds = seconds
        await paced.status("127.0.0.2", "a.research.svc")

    assert probe.asked == 3


async def test_the_interval_grows_with_the_number_of_aggregators() -> None:
    paced = PacedProbe(Counting(Progress()), Clock(), 10.0)
    for number in range(1000):
        await paced.status("127.0.0.2", f"a{number}.research.svc")

    assert paced.interval == 20.0
    for number in range(1000):
        paced.forget(f"a{number}.research.svc")
    assert paced.interval == 10.0


def test_an_answer_is_read_whatever_else_a_newer_version_says() -> None:
    body = json.dumps({"roundsDone": 3, "rounds": 10, "somethingNew": 1}).encode()

    assert _read(200, body, "a") == Progress(rounds_done=3, rounds=10)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b"{}"),
        (403, b"{}"),
        (302, b"{}"),
        (200, b"not json"),
        (200, b"\xff\xfe"),
        (200, b"[]"),
        (200, b'{"roundsDone": "many"}'),
        (200, b" " * (MAX_STATUS_BYTES + 1)),
    ],
)
def test_any_other_answer_is_none(status: int, body: bytes) -> None:
    assert _read(status, body, "a") is None
