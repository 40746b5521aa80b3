"""Processes killed at the worst moments: the job ends as it should, and no slot is ever used twice.

The moments are made, not guessed: a task that a file holds in training, a process that SIGSTOP holds with its messages
unread. Nothing here waits for time to pass.
"""

from __future__ import annotations

import signal

import pytest
from tests.local.dataplane.endings import ends_well
from tests.local.dataplane.pods import DataPlane, wait_for

from coterie_api.names import EXIT_OK, EXIT_RETRY, EXIT_TERMINAL
from coterie_api.podconfig import TenantPolicy
from coterie_api.progress import DropReason
from coterie_api.v1alpha1.types import Task

pytestmark = pytest.mark.local
ASKS_BEFORE_IT_UPLOADS = Task("tiny:Line", parameters={"outputs": 4096})  # 144 KiB: more than what is sent without asking


def in_training(job: DataPlane, *held: int) -> None:
    """Start with these clients held in their first training."""
    for index in held:
        job.members[index].misbehave("hold")
    job.start()
    for index in held:
        wait_for(job.members[index].reached.exists, f"client {index} trains")


def uploaded(job: DataPlane, index: int) -> None:
    job.aggregator.says(f"the update of tenant-{index}/line is in the sum")


class TestClientsDie:
    def test_a_client_killed_while_training_is_dropped_and_the_round_goes_on(self, plane) -> None:
        job = plane(4, rounds=2)
        in_training(job, 0)

        job.members[0].kill()

        ends_well(job, 2)
        assert [line["survivors"] for line in job.history] == [3, 3]
        assert job.history[0]["drops"] == {"Disconnected": 1}

    def test_a_client_killed_after_masking_is_dropped_and_its_masks_are_removed(self, plane) -> None:
        job = plane(4, rounds=2, task=ASKS_BEFORE_IT_UPLOADS)
        in_training(job, 0)
        for index in (1, 2, 3):
            uploaded(job, index)
        job.aggregator.send(signal.SIGSTOP)  # it grants no upload
        job.members[0].behave()
        job.members[0].says("masked")

        job.members[0].kill()
        job.aggregator.send(signal.SIGCONT)

        ends_well(job, 2)
        assert [line["survivors"] for line in job.history] == [3, 3]

    def test_a_client_killed_while_unmasking_stays_in_the_sum(self, plane) -> None:
        job = plane(4, rounds=2)
        in_training(job, 1)
        uploaded(job, 0)
        job.members[0].send(signal.SIGSTOP)  # it has uploaded, and signs no survivors
        job.members[1].behave()
        job.until(lambda seen: seen.phase == "Unmasking", "the survivors are frozen")

        job.members[0].kill()

        ends_well(job, 2)
        assert [line["survivors"] for line in job.history] == [4, 3]

    def test_a_client_that_starts_again_joins_the_next_epoch(self, plane) -> None:
        job = plane(4, rounds=12)
        in_training(job, 0, 1)
        job.members[0].kill()
        job.members[0].behave()

        job.members[0].start()
        job.members[0].says("a new session")
        job.members[1].behave()

        ends_well(job, 12)
        assert job.history[0]["survivors"] == 3
        assert job.history[-1]["survivors"] == 4

    def test_a_second_process_with_the_same_state_refuses(self, plane) -> None:
        job = plane(3)
        job.members[0].start()
        job.members[0].says("no connection")
        twin = type(job.members[0])(**{name: getattr(job.members[0], name) for name in ("name", "root", "role", "address", "environment")})

        twin.start()

        assert twin.wait() == EXIT_RETRY
        assert twin.last_word.reason == "FolderInUse"

    def test_sigterm_ends_a_client_at_once_though_it_trains(self, plane) -> None:
        job = plane(4, rounds=1)
        in_training(job, 0)

        job.members[0].send(signal.SIGTERM)

        assert job.members[0].wait(5) == EXIT_RETRY
        ends_well(job, 1)


class TestTheAggregatorDies:
    def again(self, job: DataPlane) -> None:
        job.aggregator.kill()
        for member in job.members:
            if (member.place("/data") / "misbehave").exists():
                member.behave()
        job.aggregator.start()

    def test_while_clients_assemble(self, plane) -> None:
        job = plane(3)
        job.initialize()
        job.aggregator.start()
        job.members[0].start()
        job.until(lambda seen: seen.connected == 1, "one client is there")

        self.again(job)
        for member in job.members[1:]:
            member.start()

        ends_well(job, 3)

    def test_while_keys_are_shared(self, plane) -> None:
        job = plane(3)
        job.initialize()
        job.aggregator.start()
        for member in job.members[:2]:
            member.start()
        job.until(lambda seen: seen.connected == 2, "two clients are there")
        job.members[0].send(signal.SIGSTOP)  # it advertises no keys
        job.members[2].start()
        job.aggregator.says("epoch 1: 3 clients")

        self.again(job)
        job.members[0].send(signal.SIGCONT)

        ends_well(job, 3)
        assert job.slots == [1, 2, 3]

    def test_while_clients_train(self, plane) -> None:
        job = plane(3)
        in_training(job, 0)

        self.again(job)

        ends_well(job, 3)
        assert job.slots == [1, 2, 3, 4]  # slot 1 is burnt

    def test_while_an_upload_waits(self, plane) -> None:
        job = plane(3, task=ASKS_BEFORE_IT_UPLOADS)
        in_training(job, 0)
        for index in (1, 2):
            uploaded(job, index)
        job.aggregator.send(signal.SIGSTOP)  # it grants no upload
        job.members[0].behave()
        job.members[0].says("masked")

        self.again(job)

        ends_well(job, 3)
        assert job.slots == [1, 2, 3, 4]

    def test_while_it_unmasks(self, plane) -> None:
        job = plane(3)
        in_training(job, 1)
        uploaded(job, 0)
        job.members[0].send(signal.SIGSTOP)
        job.members[1].behave()
        job.until(lambda seen: seen.phase == "Unmasking", "the survivors are frozen")

        self.again(job)
        job.members[0].send(signal.SIGCONT)

        ends_well(job, 3)
        assert job.slots == [1, 2, 3, 4]

    def test_again_and_again(self, plane) -> None:
        job = plane(3, rounds=20)
        job.start()
        for done in (1, 4, 9, 15):
            job.until(lambda seen, least=done: seen.rounds_done >= least, f"{done} rounds are done")
            self.again(job)

        ends_well(job, 20)

    def test_sigterm_ends_it_at_once_and_it_resumes(self, plane) -> None:
        job = plane(3)
        in_training(job, 0)

        job.aggregator.send(signal.SIGTERM)

        assert job.aggregator.wait(10) == EXIT_RETRY
        assert job.aggregator.last_word.reason == "AggregatorRestarting"
        self.again(job)
        ends_well(job, 3)

    def test_a_second_aggregator_on_the_same_volume_refuses(self, plane) -> None:
        job = plane(3)
        job.initialize()
        job.aggregator.start()
        job.until(lambda seen: seen.phase == "Assembling", "the first one serves")
        twin = type(job.aggregator)("twin", job.aggregator.root, "aggregator", "127.0.0.1", job.aggregator.environment)

        twin.start()

        assert twin.wait() == EXIT_RETRY
        assert twin.last_word.reason == "FolderInUse"


class TestTheTaskFails:
    @pytest.mark.parametrize(
        ("how", "reason", "error"),
        [
            ("raise", DropReason.TASK_RAISED, "ValueError"),
            ("nan", DropReason.NOT_FINITE, ""),
            ("shape", DropReason.WRONG_SHAPE, ""),
        ],
    )
    def test_one_client_whose_rounds_fail_is_left_out_and_named(self, plane, how, reason, error) -> None:
        job = plane(4, rounds=2)
        job.members[1].misbehave(how)

        job.start()

        ends_well(job, 2)
        assert [(line["survivors"], line["drops"]) for line in job.history] == [(3, {reason.value: 1})] * 2
        (drop,) = job.aggregator.last_word.progress.drops
        assert (drop.client, drop.reason, drop.error_class) == ("tenant-1/line", reason, error)
        assert job.members[1].wait() == EXIT_OK
        assert "Smith" not in job.aggregator.log
        assert b"Smith" not in (job.aggregator.root / "dev/termination-log").read_bytes()

    def test_a_task_that_recovers_is_in_the_next_sum(self, plane) -> None:
        job = plane(4, rounds=3)
        job.members[1].misbehave("raise")
        job.members[2].misbehave("hold")
        job.start()
        wait_for(job.members[2].reached.exists, "client 2 trains")
        job.aggregator.says("tenant-1/line: TaskRaised")

        job.members[1].behave()
        job.members[2].behave()

        ends_well(job, 3)
        assert [line["survivors"] for line in job.history] == [3, 4, 4]

    @pytest.mark.parametrize(("how", "reason"), [("nothing", DropReason.NO_DATA), ("import", DropReason.TASK_IMPORT_FAILED)])
    def test_a_client_that_can_never_train_withdraws_for_good(self, plane, how, reason) -> None:
        job = plane(4, rounds=2)
        job.members[1].misbehave(how)
        if how == "import":
            job.members[1].environment["PYTHONPATH"] = str(job.members[1].root)

        job.start()

        assert job.members[1].wait() == EXIT_TERMINAL, job.members[1].log
        assert job.members[1].last_word.reason == reason
        ends_well(job, 2)
        (drop,) = job.aggregator.last_word.progress.drops
        assert (drop.client, drop.reason) == ("tenant-1/line", reason)

    def test_a_coordinate_too_large_for_the_ring_is_clamped_and_counted(self, plane) -> None:
        job = plane(3, rounds=1)
        job.members[1].misbehave("huge")

        job.start()

        ends_well(job, 1)
        assert job.history[0]["clamped"] == 1
        assert abs(job.model()["bias"][0]) < 2**15 / 3 * 3


class TestTooFew:
    def test_too_few_survivors_end_the_job_with_numbers_and_names(self, plane) -> None:
        job = plane(3, rounds=2)
        job.members[1].misbehave("raise")

        job.start()

        assert job.aggregator.wait() == EXIT_TERMINAL, job.aggregator.log
        word = job.aggregator.last_word
        assert word.reason == "TooFewSurvivors"
        assert "2 clients came, 3 are needed" in word.message
        assert "tenant-1/line: the task's code raised an exception (ValueError at tiny.py:" in word.message
        assert "Smith" not in word.message
        assert job.slots == [1, 2, 3]  # three attempts, each in a slot of its own

    def test_a_tenant_whose_policy_asks_for_more_takes_no_part(self, plane) -> None:
        job = plane(3, policy=TenantPolicy(threshold=5))

        job.start()

        assert [member.wait() for member in job.members] == [EXIT_TERMINAL] * 3
        assert job.members[0].last_word.reason == DropReason.POLICY_REFUSED
        assert job.aggregator.wait() == EXIT_TERMINAL
        assert "weaker than the tenant's policy" in job.aggregator.last_word.message

    def test_a_result_that_can_not_be_written_is_told_and_written_by_the_next_try(self, plane) -> None:
        job = plane(3, rounds=2)
        in_the_way = job.output / "tiny"
        in_the_way.write_text("")
        job.start()

        assert job.aggregator.wait() == EXIT_RETRY
        word = job.aggregator.last_word
        assert (word.reason, word.progress.rounds_done) == ("OutputFailed", 2)
        assert word.message == "the model could not be written to spec.output: history.jsonl: File exists"
        in_the_way.unlink()
        job.aggregator.start()

        ends_well(job, 2)
        assert job.slots == [1, 2]

    def test_no_quorum_before_the_assembly_deadline_is_a_reason_to_try_again(self, plane) -> None:
        job = plane(3, assembly_deadline_seconds=1)
        job.initialize()

        job.aggregator.start()

        assert job.aggregator.wait() == EXIT_RETRY
        assert job.aggregator.last_word.reason == "QuorumNotMet"
        assert "0 clients came within 1 s, 3 are needed" in job.aggregator.last_word.message
