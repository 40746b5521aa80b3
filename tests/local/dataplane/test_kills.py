"""SIGKILL at exact places, before or after one call: every round is done once, over every client that had uploaded.

`test_jobs_survive.py` kills from outside, at what can be seen. Here the process kills itself, where nothing can be seen.
"""

from __future__ import annotations

import pytest
from tests.local.dataplane.byhand import model_is_exact
from tests.local.dataplane.dying import Death
from tests.local.dataplane.endings import ends_well, last_used
from tests.local.dataplane.pods import DataPlane, wait_for

from coterie_worker.client.state import SlotRecord, SlotUsed

pytestmark = pytest.mark.local
AGGREGATOR = "coterie_worker.aggregator"
SLOTS, HISTORY, CHECKPOINT = f"{AGGREGATOR}.slots:SlotLog", f"{AGGREGATOR}.history:History", f"{AGGREGATOR}.checkpoint:Checkpoint"
PUBLISH, RENAME = f"{AGGREGATOR}.publish", "coterie_worker.durable:SystemDisk.rename"
CLIENT = "coterie_worker.secagg.client:ClientEpoch"
BURNT, KEPT = [1, 2, 3, 4], [1, 2, 3]  # slots of three rounds, with one wasted and with none

IN_A_ROUND = {
    "before the slot is logged": (Death(f"{SLOTS}.open_slot", number=2), KEPT),
    "between logging a slot and asking for it": (Death(f"{SLOTS}.open_slot", is_before=False, number=2), BURNT),
    "before an upload is added": (Death("coterie_worker.secagg.serving:ServerSession.accept", number=5), BURNT),
    "after an upload is added": (Death("coterie_worker.secagg.serving:ServerSession.accept", is_before=False, number=5), BURNT),
    "before the survivors are frozen": (Death(f"{SLOTS}.freeze", number=2), BURNT),
    "after the survivors are frozen": (Death(f"{SLOTS}.freeze", is_before=False, number=2), BURNT),
    "before clients are asked to open": (Death(f"{SLOTS}.ask", is_before=False, number=2), BURNT),
    "between opening and applying": (Death(f"{AGGREGATOR}.model:Model.apply", number=2), BURNT),
    "between applying and the history": (Death(f"{HISTORY}.append", number=2), BURNT),
    "between the history and the checkpoint": (Death(f"{CHECKPOINT}.save", number=2), BURNT),
    "in the checkpoint, before it counts": (Death(RENAME, number=2, argument="checkpoint.bin"), BURNT),
    "in the checkpoint, once it counts": (Death(RENAME, is_before=False, number=2, argument="checkpoint.bin"), KEPT),
    "between the checkpoint and the next round": (Death(f"{CHECKPOINT}.save", is_before=False, number=2), KEPT),
    "after the last checkpoint": (Death(f"{CHECKPOINT}.save", is_before=False, number=3), KEPT),
}
AT_THE_END = {
    "before the history is published": Death(f"{PUBLISH}:Output.write_history"),
    "between history and model": Death(f"{PUBLISH}:Output.write_history", is_before=False),
    "in the model, before it counts": Death(RENAME, argument="model.safetensors"),
    "after the model is published": Death(f"{PUBLISH}:Output.write_model", is_before=False),
    "when the clients know, before its last word": Death("coterie_worker.config:Pod.say_last"),
}


class TestTheAggregatorDies:
    @pytest.mark.parametrize("place", IN_A_ROUND)
    def test_in_a_round_and_the_job_ends_with_every_round_once(self, plane, tasks_are_importable, place) -> None:
        death, slots = IN_A_ROUND[place]
        job = plane(3, rounds=3)
        job.aggregator.dies(death)
        job.start()

        job.aggregator.has_died()
        job.aggregator.start()

        ends_well(job, 3)
        assert job.slots == slots
        assert [line["survivors"] for line in job.history] == [3, 3, 3]
        model_is_exact(job)

    @pytest.mark.parametrize("place", AT_THE_END)
    def test_at_the_end_and_the_same_result_is_published(self, plane, tasks_are_importable, place) -> None:
        job = plane(3, rounds=2)
        job.aggregator.dies(AT_THE_END[place])
        job.start()

        job.aggregator.has_died()
        job.aggregator.start()

        ends_well(job, 2)
        assert job.slots == [1, 2]
        model_is_exact(job)  # clients that it left behind are the operator's to end

    def test_while_it_waits_for_the_evaluator_and_the_numbers_come_after_all(self, plane, tasks_are_importable) -> None:
        job = plane(3, rounds=2, has_evaluator=True)
        evaluator = job.evaluator()
        job.start()
        job.until(lambda seen: seen.phase == "Evaluating", "the last model's numbers are due")

        job.aggregator.kill()
        job.aggregator.start()
        evaluator.start()

        ends_well(job, 2)
        assert job.slots == [1, 2]
        assert job.history[-1]["loss"] is not None
        model_is_exact(job)

    @pytest.mark.parametrize("is_before", [True, False], ids=["before", "after"])
    def test_around_showing_a_model_to_the_evaluator(self, plane, tasks_are_importable, is_before) -> None:
        job = plane(3, rounds=2, has_evaluator=True)
        evaluator = job.evaluator()
        job.aggregator.dies(Death(f"{PUBLISH}:Models.publish", is_before))
        job.start()
        evaluator.start()

        job.aggregator.has_died()
        job.aggregator.start()

        ends_well(job, 2)
        assert job.slots == [1, 2]
        assert job.history[-1]["loss"] is not None  # of the first model only if the evaluator saw it before the second
        model_is_exact(job)


class TestClientsDie:
    """Client 1 is held in its first training until client 0 has died and is there again."""

    def killed(self, job: DataPlane, death: Death) -> None:
        job.members[0].dies(death)
        job.members[1].misbehave("hold")
        job.start()
        job.members[0].has_died()
        wait_for(job.members[1].reached.exists, "client 1 trains")

    def goes_on(self, job: DataPlane, rounds: int) -> None:
        job.members[0].start()
        job.members[0].says("a new session")
        job.aggregator.says("client tenant-0/line joined")
        wait_for(lambda: job.aggregator.log.count("client tenant-0/line joined") == 2, "the aggregator knows the new process")
        job.members[1].behave()
        ends_well(job, rounds)

    @pytest.mark.parametrize("is_before", [True, False], ids=["before", "after"])
    def test_around_masking_and_the_slot_is_refused_for_ever(self, plane, is_before) -> None:
        job = plane(4, rounds=3)
        self.killed(job, Death(f"{CLIENT}.mask", is_before))

        with SlotRecord(job.members[0].place("/state")) as record, pytest.raises(SlotUsed):
            record.use(job.job.job_uid, 1)

        self.goes_on(job, 3)
        assert [line["survivors"] for line in job.history] == [3, 4, 4]
        assert job.history[0]["drops"] == {"Disconnected": 1}
        assert job.slots == [1, 2, 3]

    @pytest.mark.parametrize(("is_before", "recorded"), [(True, -1), (False, 1)], ids=["before", "after"])
    def test_in_the_record_of_a_slot_and_nothing_of_it_left(self, plane, is_before, recorded) -> None:
        job = plane(4, rounds=3)
        self.killed(job, Death(RENAME, is_before, argument="slots.json"))

        assert last_used(job.members[0]) == recorded

        self.goes_on(job, 3)
        assert [line["survivors"] for line in job.history] == [3, 4, 4]

    @pytest.mark.parametrize("is_before", [True, False], ids=["before", "after"])
    @pytest.mark.parametrize("step", ["_sign", "_reveal"])
    def test_while_a_sum_is_opened_and_it_stays_in_the_sum(self, plane, tasks_are_importable, step, is_before) -> None:
        job = plane(4, rounds=1)
        job.members[0].dies(Death(f"{CLIENT}.{step}", is_before))
        job.start()

        job.members[0].has_died()

        ends_well(job, 1)
        assert [line["survivors"] for line in job.history] == [4]
        model_is_exact(job)
