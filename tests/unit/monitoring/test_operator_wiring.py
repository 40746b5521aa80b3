"""The loop tells its numbers as they are at the moment of asking."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.unit.coterie_operator import builders
from tests.unit.coterie_operator.world import RUNNING, Script, World

from coterie_api.fields import dump
from coterie_api.progress import Progress, Termination
from coterie_api.v1alpha1.conditions import ConditionType
from coterie_operator.cluster import BATCH_JOB, FEDERATED_JOB, POD, Unavailable
from coterie_operator.loop import Backoff, Controller, WorkQueue
from coterie_operator.settings import Settings

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


LAST_WORD = Progress(
    rounds_done=10, rounds=10, slot=11, phase="Done", cohort=5, survivors=4, accuracy=0.97, loss=0.1, best_round=9,
    epsilon_spent=1.5, epsilon_left=6.5, bytes_sent=123, bytes_received=45, round_seconds=1.5, clamped=2, update_norm=0.25,
)  # fmt: skip
FINAL = {
    ("rounds_done", ""): 10, ("rounds", ""): 10, ("slots", ""): 11, ("cohort_clients", ""): 5, ("survivors", ""): 4,
    ("accuracy_ratio", ""): 0.97, ("loss", ""): 0.1, ("best_round", ""): 9, ("last_round_duration_seconds", ""): 1.5,
    ("clamped_coordinates", ""): 2, ("update_norm", ""): 0.25, ("privacy_epsilon_spent", ""): 1.5,
    ("transferred_bytes", "sent"): 123, ("transferred_bytes", "received"): 45,
}  # fmt: skip


def final_values(controller: Controller) -> dict[tuple[str, str], float | None]:
    """Return what an operator shows of the job, for each name and direction of FINAL."""
    registry = controller.metrics.registry
    return {
        (name, way): registry.get_sample_value(f"coterie_job_{name}", {**LABELS, **({"direction": way} if way else {})})
        for name, way in FINAL
    }


async def ended_world(ttl: int | None = None) -> World:
    """A job whose aggregator has said its last word."""
    job = builders.job()
    if ttl is not None:
        job["spec"]["ttlSecondsAfterFinished"] = ttl
    world = await World().start(job)
    await world.until_running()
    world.progress = None
    world.scripts["aggregator"] = Script("Succeeded", word=dump(Termination("RoundsCompleted", "", progress=LAST_WORD)))
    await world.settle()
    assert world.true(await world.job(), ConditionType.SUCCEEDED)
    return world


async def test_an_ended_jobs_final_values_stay() -> None:
    world = await ended_world()
    await world.pass_time(hours=12)

    assert final_values(world.controller) == FINAL


async def test_a_new_operator_shows_the_final_values_though_every_pod_is_gone() -> None:
    world = await ended_world()
    for kind in (BATCH_JOB, POD):
        for child in await world.children(kind):
            await world.cluster.delete(kind, child["metadata"]["namespace"], child["metadata"]["name"])
    fresh = world.another_controller()
    await world.pass_time(hours=12)
    await world.reconcile(fresh)

    assert final_values(fresh) == FINAL


async def test_the_final_values_go_with_the_job_when_its_time_is_over() -> None:
    world = await ended_world(ttl=3600)
    await world.pass_time(minutes=59)
    assert final_values(world.controller) == FINAL

    await world.pass_time(minutes=2)

    assert set(final_values(world.controller).values()) == {None}
    assert not [each for family in world.controller.metrics.registry.collect() for each in family.samples if "job_name" in each.labels]


async def test_bytes_alone_are_no_reason_to_write_the_status() -> None:
    world = await World().start()
    await world.until_running()
    world.progress = replace(RUNNING, bytes_sent=1_000_000)

    assert (await world.reconcile()).status is None

    world.progress = replace(RUNNING, rounds_done=4, bytes_sent=2_000_000)
    plan = await world.reconcile()

    assert plan.status is not None
    assert plan.status.bytes_sent == 2_000_000


async def test_each_pass_is_timed_and_one_that_fails_is_counted_by_its_class() -> None:
    world = await World().start()
    registry = world.controller.metrics.registry

    async def refuse(*_: object, **__: object) -> None:
        raise Unavailable("no answer")

    await world.controller._pass(builders.JOB)
    assert registry.get_sample_value("coterie_reconcile_seconds_count") == 1
    assert registry.get_sample_value("coterie_reconcile_errors_total", {"reason": "Unavailable"}) == 0

    world.cluster.get = refuse  # type: ignore[assignment]
    await world.controller._pass(builders.JOB)

    assert registry.get_sample_value("coterie_reconcile_seconds_count") == 2
    assert registry.get_sample_value("coterie_reconcile_errors_total", {"reason": "Unavailable"}) == 1


async def test_depth_and_age_of_the_queue_are_asked_at_each_scrape() -> None:
    world = await World(settings=replace(Settings(), coalesce_seconds=0.0)).start()
    registry = world.controller.metrics.registry
    assert registry.get_sample_value("coterie_queue_depth") == 0
    assert registry.get_sample_value("coterie_queue_oldest_seconds") == 0

    world.controller.enqueue(builders.JOB)
    world.controller.enqueue(("research", "other"))

    assert registry.get_sample_value("coterie_queue_depth") == 2
    assert registry.get_sample_value("coterie_queue_oldest_seconds") > 0


async def test_watches_are_asked_at_each_scrape() -> None:
    world = await World().start()
    registry, counted = world.controller.metrics.registry, {"Job": 0, "Pod": 3}
    world.controller._watchers.count = lambda kind, *, synced: counted[kind.kind] if synced else 1  # type: ignore[method-assign]
    world.controller._measure()

    assert registry.get_sample_value("coterie_watches", {"kind": "Pod", "synced": "true"}) == 3
    assert registry.get_sample_value("coterie_watches", {"kind": "Job", "synced": "true"}) == 0
    assert registry.get_sample_value("coterie_watches", {"kind": "Job", "synced": "false"}) == 1


async def test_who_leads_is_asked_at_each_scrape() -> None:
    leads = [False]
    world = World(leads=lambda: leads[0])

    def value() -> Any:
        return world.controller.metrics.registry.get_sample_value("coterie_leader")

    assert value() == 0
    leads[0] = True
    assert value() == 1
