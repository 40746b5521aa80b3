"""A lost checkpoint claim, and a sum that clients opened and the aggregator lost: the job recovers, or says why it can't."""

from __future__ import annotations

import shutil
import signal
from typing import TYPE_CHECKING

import pytest
from tests.local.dataplane.byhand import model_is_exact
from tests.local.dataplane.dying import Death
from tests.local.dataplane.endings import ends_well, last_used

from coterie_api.names import EXIT_OK, EXIT_TERMINAL
from coterie_worker.client.state import SlotRecord
from coterie_worker.rounds.state import MAX_SLOT_JUMP

if TYPE_CHECKING:
    from tests.local.dataplane.pods import DataPlane

pytestmark = pytest.mark.local


def loses_its_claim(job: DataPlane) -> None:
    """What is left when the claim was deleted by hand and made again: nothing."""
    job.aggregator.kill()
    for left in job.checkpoint.iterdir():
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    job.initialize()


def has_used(job: DataPlane, index: int, slot: int) -> None:
    with SlotRecord(job.members[index].place("/state")) as record:
        record.use(job.job.job_uid, slot)


class TestTheClaimIsLost:
    def test_a_job_begins_again_above_the_slots_that_its_clients_have_used(self, plane, tasks_are_importable) -> None:
        job = plane(3, rounds=12)
        job.start()
        job.until(lambda seen: seen.rounds_done >= 3, "three rounds are done")
        loses_its_claim(job)
        used = max(last_used(member) for member in job.members)

        job.aggregator.start()

        ends_well(job, 12)
        assert job.slots[0] > used >= 3
        assert [line["survivors"] for line in job.history] == [3] * 12
        model_is_exact(job)

    def test_clients_that_were_restarted_meanwhile_know_their_slots_too(self, plane, tasks_are_importable) -> None:
        job = plane(3, rounds=4)
        job.members[0].misbehave("hold")
        job.start()
        job.aggregator.says("the update of tenant-1/line is in the sum")
        loses_its_claim(job)
        for member in job.members:
            member.kill()
        job.members[0].behave()

        job.aggregator.start()
        for member in job.members:
            member.start()

        ends_well(job, 4)
        assert job.slots == [2, 3, 4, 5]
        model_is_exact(job)

    def test_a_client_that_claims_an_absurd_slot_is_left_out_and_named(self, plane) -> None:
        job = plane(4, rounds=2)
        has_used(job, 0, 2**62)

        job.start()

        assert job.aggregator.wait() == EXIT_OK, job.aggregator.log
        assert job.slots == [1, 2]
        assert [line["survivors"] for line in job.history] == [3, 3]
        assert [(drop.client, drop.reason) for drop in job.aggregator.last_word.progress.drops] == [("tenant-0/line", "ProtocolViolation")]
        assert job.members[0].wait() == EXIT_OK

    def test_a_client_that_claims_the_most_that_is_believed_stops_nobody(self, plane) -> None:
        job = plane(4, rounds=2)
        has_used(job, 0, MAX_SLOT_JUMP)

        job.start()

        ends_well(job, 2)
        assert job.slots == [MAX_SLOT_JUMP + 1, MAX_SLOT_JUMP + 2]
        assert [line["survivors"] for line in job.history] == [4, 4]

    def test_too_many_absurd_claims_end_the_job_with_names(self, plane) -> None:
        job = plane(3, rounds=1)
        has_used(job, 1, 2**62)

        job.start()

        assert job.aggregator.wait() == EXIT_TERMINAL
        assert "2 clients came, 3 are needed; tenant-1/line: the client broke the protocol" in job.aggregator.last_word.message


class TestASumIsLost:
    """Round 1 is opened over all four; then the aggregator dies before its checkpoint, and client 3 with it."""

    OPENED = Death("coterie_worker.aggregator.checkpoint:Checkpoint.save")
    ASKED = Death("coterie_worker.aggregator.slots:SlotLog.ask", is_before=False)  # nobody has heard of it yet

    def lost(self, plane, death: Death) -> DataPlane:
        job = plane(4, rounds=2, assembly_deadline_seconds=4)
        job.aggregator.dies(death)
        job.start()
        job.aggregator.has_died()
        job.members[3].kill()
        job.aggregator.start()
        return job

    def test_the_round_waits_for_the_client_that_is_missing_and_is_the_same(self, plane, tasks_are_importable) -> None:
        job = self.lost(plane, self.OPENED)
        job.until(lambda seen: seen.connected == 3, "the others are there")

        job.members[3].start()

        ends_well(job, 2)
        assert [(line["survivors"], line["attempts"]) for line in job.history] == [(4, 1), (4, 1)]
        assert job.slots == [1, 2, 3]
        model_is_exact(job)

    def test_without_that_client_the_others_refuse_and_the_job_says_so(self, plane) -> None:
        job = self.lost(plane, self.OPENED)

        assert job.aggregator.wait() == EXIT_TERMINAL, job.aggregator.log
        word = job.aggregator.last_word
        assert word.reason == "TooFewSurvivors"
        assert "its sum was asked for before, and clients open it again only of the same: tenant-0/line, tenant-1/line" in word.message
        assert "tenant-0/line: the client helps to open no second sum that is close to an earlier one" in word.message
        assert not (job.output / "tiny").exists()

    def test_a_sum_that_nobody_opened_is_made_of_those_who_are_there(self, plane) -> None:
        job = self.lost(plane, self.ASKED)

        ends_well(job, 2)
        assert [line["survivors"] for line in job.history] == [3, 3]

    def test_another_client_that_joins_meanwhile_is_left_out_of_that_round(self, plane, tasks_are_importable) -> None:
        """Client 3 was late in the lost sum, and is there when it is repeated: it would make it another sum."""
        job = plane(4, rounds=2, round_deadline_seconds=60)
        job.members[3].misbehave("raise")
        job.members[0].misbehave("hold")
        job.aggregator.dies(self.OPENED)
        job.start()
        job.aggregator.says("tenant-3/line: TaskRaised")
        job.members[0].behave()
        job.aggregator.has_died()
        job.members[3].behave()
        job.aggregator.start()

        ends_well(job, 2)
        assert [line["survivors"] for line in job.history] == [3, 4]
        assert job.members[3].process.poll() != -signal.SIGKILL
