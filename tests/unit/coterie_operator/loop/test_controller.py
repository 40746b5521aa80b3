"""The controller as a whole: real queue, real watches, the in-memory cluster, and pods that the test moves."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.unit.coterie_operator import builders
from tests.unit.coterie_operator.world import AUTHORITY, RUNNING, Script, World

from coterie_api.v1alpha1.conditions import ConditionType
from coterie_operator.cluster import BATCH_JOB, EVENT, FEDERATED_DATASET, FEDERATED_JOB, Kind, Unavailable
from coterie_operator.loop import Controller
from coterie_operator.settings import Settings

QUICK = Settings(probe_seconds=0.02, coalesce_seconds=0.0, retry_seconds=0.01, retry_max_seconds=0.05, resync_seconds=60)


async def until(world: World, holds: Any) -> None:
    async with asyncio.timeout(30):
        while not await holds():
            await world.pods()
            await asyncio.sleep(0.05)


@pytest.fixture
async def world() -> World:
    made = await World(settings=QUICK).start(tenants=3)
    made.controller = Controller(made.cluster, made, QUICK, AUTHORITY, clock=lambda: made.now)
    return made


async def test_a_job_runs_to_its_end_by_watches_and_probes_alone(world: World) -> None:
    task = asyncio.create_task(world.controller.run())
    world.progress = RUNNING

    async def running() -> bool:
        return world.true(await world.job(), ConditionType.RUNNING)

    async def succeeded() -> bool:
        return world.true(await world.job(), ConditionType.SUCCEEDED)

    await until(world, running)
    world.scripts["aggregator"] = Script("Succeeded")
    await until(world, succeeded)
    task.cancel()


async def test_a_revocation_is_heard_of_through_its_data_set(world: World) -> None:
    task = asyncio.create_task(world.controller.run())
    world.progress = RUNNING

    async def three() -> bool:
        return len(await world.clients()) == 3

    async def failed() -> bool:
        return world.true(await world.job(), ConditionType.FAILED)

    await until(world, three)
    await world.cluster.patch(FEDERATED_DATASET, "hospital-b", "visits", {"spec": {"grants": []}})
    world.controller.related("hospital-b", "visits")
    await until(world, failed)
    task.cancel()


async def test_a_pass_that_fails_is_repeated_until_it_does_not(world: World) -> None:
    left = [5]
    getting = world.cluster.get

    async def shaky(kind: Kind, namespace: str, name: str) -> Any:
        if kind == FEDERATED_DATASET and left[0] > 0:
            left[0] -= 1
            raise Unavailable("503")
        return await getting(kind, namespace, name)

    world.cluster.get = shaky  # type: ignore[method-assign]
    task = asyncio.create_task(world.controller.run())
    world.controller.enqueue(builders.JOB)

    async def started() -> bool:
        return left[0] == 0 and bool(await world.aggregators())

    await until(world, started)
    assert not task.done()
    task.cancel()


async def test_a_bug_in_one_jobs_pass_is_told_and_stops_no_other(world: World) -> None:
    raw = builders.job(3)
    raw["metadata"]["name"] = "cursed"
    await world.cluster.create(FEDERATED_JOB, raw)
    process = world.controller.process

    async def cursed(key: tuple[str, str]) -> Any:
        if key[1] == "cursed":
            raise ZeroDivisionError("Smith, John")
        return await process(key)

    world.controller.process = cursed  # type: ignore[method-assign]
    task = asyncio.create_task(world.controller.run())

    async def told() -> bool:
        events = await world.cluster.list(EVENT, "research")
        return any(event["reason"] == "ReconcileFailed" for event in events) and bool(await world.aggregators())

    await until(world, told)
    events = await world.cluster.list(EVENT, "research")
    assert not any("Smith" in event["message"] for event in events)
    task.cancel()


async def test_a_standby_waits_and_takes_over_what_there_is(world: World) -> None:
    leads = [False]
    standby = Controller(world.cluster, world, QUICK, AUTHORITY, clock=lambda: world.now, is_leader=lambda: leads[0])
    task = asyncio.create_task(standby.run())
    for _ in range(20):
        await asyncio.sleep(0)
    assert await world.children(BATCH_JOB) == []

    leads[0] = True

    async def started() -> bool:
        return bool(await world.aggregators())

    await until(world, started)
    task.cancel()


async def test_cancelling_leaves_no_task_behind(world: World) -> None:
    before = asyncio.all_tasks()
    task = asyncio.create_task(world.controller.run())
    await asyncio.sleep(0.05)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert asyncio.all_tasks() == before


async def test_a_job_that_is_gone_is_counted_no_more(world: World) -> None:
    world.controller = world.another_controller()
    await world.until_running()
    registry = world.controller.metrics.registry
    assert registry.get_sample_value("coterie_jobs", {"state": "Running"}) == 1

    await world.cluster.delete(FEDERATED_JOB, *builders.JOB)
    await world.settle()

    assert {registry.get_sample_value("coterie_jobs", {"state": state}) for state in ("Pending", "Running", "Failed")} == {0}
