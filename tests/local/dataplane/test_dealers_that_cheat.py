"""A client whose shares don't open what it committed to: the others see the proof, and the job goes on without it.

It shows only once clients have revealed their shares, so the sum is lost, and without the proof they would open no other one.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.local.dataplane import cheating
from tests.local.dataplane.dying import Death
from tests.local.dataplane.endings import ends_well

from coterie_api.names import EXIT_TERMINAL

if TYPE_CHECKING:
    from tests.local.dataplane.pods import DataPlane

pytestmark = pytest.mark.local
CHEAT = "tenant-2/line"


def with_cheats(plane, clients: int, *cheats: int, **changes) -> DataPlane:
    job = plane(clients, **changes)
    for index in cheats:
        job.members[index].environment[cheating.VARIABLE] = "yes"
    return job


def goes_on_without(job: DataPlane, rounds: int, *cheats: str) -> None:
    ends_well(job, rounds)
    word = job.aggregator.last_word
    assert word.reason == "RoundsCompleted"
    assert [(drop.client, drop.reason) for drop in word.progress.drops] == [(cheat, "ProtocolViolation") for cheat in cheats]
    assert [line["survivors"] for line in job.history] == [len(job.members) - len(cheats)] * rounds


def excluded(job: DataPlane) -> list[list[int]]:
    lines = [json.loads(line) for line in (job.checkpoint / "slots.log").read_text().splitlines()]
    return [line["clients"] for line in lines if "excluded" in line]


class TestADealerCheats:
    def test_the_job_goes_on_without_it_and_names_it(self, plane) -> None:
        job = with_cheats(plane, 5, 2, rounds=2)

        job.start()

        goes_on_without(job, 2, CHEAT)
        assert [line["attempts"] for line in job.history] == [2, 1]
        assert excluded(job) == [[2]]
        assert "client 2 dealt shares of another self-mask seed than the one it committed to" in job.aggregator.log

    def test_two_that_cheat_at_once_cost_one_try(self, plane) -> None:
        job = with_cheats(plane, 6, 1, 4, rounds=1)

        job.start()

        goes_on_without(job, 1, "tenant-1/line", "tenant-4/line")
        assert job.history[0]["attempts"] == 2
        assert excluded(job) == [[1, 4]]

    def test_too_few_others_end_the_job_with_its_name(self, plane) -> None:
        job = with_cheats(plane, 3, 2, rounds=1)

        job.start()

        assert job.aggregator.wait() == EXIT_TERMINAL, job.aggregator.log
        assert job.aggregator.last_word.reason == "TooFewSurvivors"
        assert f"2 clients came, 3 are needed; {CHEAT}: the client broke the protocol" in job.aggregator.last_word.message


class TestTheAggregatorDiesAfterTheProof:
    LOGGED = Death("coterie_worker.aggregator.slots:SlotLog.open_slot", is_before=False, number=2)
    NOT_LOGGED = Death("coterie_worker.aggregator.slots:SlotLog.exclude")

    def killed(self, plane, death: Death, **changes) -> DataPlane:
        job = with_cheats(plane, 5, 2, rounds=2, **changes)
        job.aggregator.dies(death)
        job.start()
        job.aggregator.has_died()
        return job

    def test_the_cheat_that_comes_back_takes_no_part_any_more(self, plane) -> None:
        job = self.killed(plane, self.LOGGED)
        assert excluded(job) == [[2]]

        job.aggregator.start()

        goes_on_without(job, 2, CHEAT)
        assert excluded(job) == [[2]], "it had no other chance to cheat"

    def test_a_cheat_that_nobody_wrote_down_is_caught_once_more(self, plane) -> None:
        job = self.killed(plane, self.NOT_LOGGED)
        assert excluded(job) == []

        job.aggregator.start()

        goes_on_without(job, 2, CHEAT)
        assert excluded(job) == [[2]]

    def test_a_cheat_that_nobody_wrote_down_and_that_is_gone_is_not_waited_for_for_ever(self, plane) -> None:
        """The others have the proof from the process before, so they open the sum without it."""
        job = self.killed(plane, self.NOT_LOGGED, assembly_deadline_seconds=4)
        job.members[2].kill()

        job.aggregator.start()

        ends_well(job, 2)
        assert [line["survivors"] for line in job.history] == [4, 4]
