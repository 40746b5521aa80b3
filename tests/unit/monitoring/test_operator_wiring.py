"""The loop tells its numbers as they are at the moment of asking."""

from __future__ import annotations

from typing import Any

from tests.unit.coterie_operator import builders
from tests.unit.coterie_operator.world import Script, World

from coterie_api.fields import dump
from coterie_api.progress import Progress, Termination
from coterie_api.v1alpha1.conditions import ConditionType
from coterie_operator.cluster import FEDERATED_JOB
from coterie_operator.loop import Backoff, WorkQueue

LABELS = {"job_namespace": builders.JOB[0], "job_name": builders.JOB[1]}


def test_only_keys_that_are_due_and_idle_are_overdue() -> None:
    now = [100.0]
    queue = WorkQueue(lambda: now[0], Backoff(1, 10))
    queue.add(("n", "a"))
    queue.add(("n", "b"), after=5)
    queue.add(("n", "later"), after=1000)
    assert queue.take_now() == ("n", "a")
    queue.add(("n", "a"))

    now[0] = 107.0

    assert queue.overdue() == [2.0]
    queue.done(("n", "a"))
    assert sorted(queue.overdue()) == [2.0, 7.0]


async def test_a_job_shows_its_status_until_it_is_gone() -> None:
    world = await World().start()
    await world.until_running()
    registry = world.controller.metrics.registry

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, {**LABELS, **labels})

    assert value("coterie_job_condition", condition="Running", status="True") == 1
    assert value("coterie_job_rounds_done") == 3
    assert value("coterie_job_accuracy_ratio") == 0.9
    assert value("coterie_job_round_deadline_seconds") == 600

    await world.cluster.delete(FEDERATED_JOB, *builders.JOB)
    await world.settle()

    assert value("coterie_job_rounds_done") is None
    assert value("coterie_job_condition", condition="Running", status="True") is None


async def test_the_aggregators_last_word_is_shown_after_its_end_and_by_a_new_operator_too() -> None:
    world = await World().start()
    await world.until_running()
    word = dump(Termination("RoundsCompleted", "", progress=Progress(rounds_done=10, rounds=10, bytes_sent=123, round_seconds=1.5)))
    world.progress = None
    world.scripts["aggregator"] = Script("Succeeded", word=word)
    await world.settle()
    assert world.true(await world.job(), ConditionType.SUCCEEDED)

    for controller in (world.controller, world.another_controller()):
        await controller.process(builders.JOB)
        found = controller.metrics.registry.get_sample_value("coterie_job_transferred_bytes", {**LABELS, "direction": "sent"})
        assert found == 123


async def test_who_leads_is_asked_at_each_scrape() -> None:
    leads = [False]
    world = World(leads=lambda: leads[0])

    def value() -> Any:
        return world.controller.metrics.registry.get_sample_value("coterie_leader")

    assert value() == 0
    leads[0] = True
    assert value() == 1
