"""The life of a job, from its first visit to its end, over the in-memory cluster."""

from __future__ import annotations

import pytest
from tests.unit.coterie_operator import builders
from tests.unit.coterie_operator.world import RUNNING, Script, World

from coterie_api.names import FINALIZER
from coterie_api.v1alpha1.conditions import ConditionStatus, ConditionType
from coterie_api.v1alpha1.types import JobState
from coterie_operator.cluster import BATCH_JOB, CLAIM, CONFIG_MAP, FEDERATED_JOB, NETWORK_POLICY, SECRET, SERVICE

TENANTS = set(builders.TENANTS)


@pytest.fixture
async def world() -> World:
    return await World().start()


async def test_a_granted_job_gets_all_its_children(world: World) -> None:
    await world.settle()

    children = await world.children(BATCH_JOB, CONFIG_MAP, NETWORK_POLICY, SERVICE, CLAIM, SECRET)
    places = sorted((obj["kind"], obj["metadata"]["namespace"]) for obj in children)
    own = [(kind, "research") for kind in ("ConfigMap", "Job", "NetworkPolicy", "PersistentVolumeClaim", "Secret", "Service")]
    assert places == sorted([*own, *((kind, name) for name in TENANTS for kind in ("ConfigMap", "Job", "NetworkPolicy"))])


async def test_all_conditions_are_set_on_the_first_visit(world: World) -> None:
    await world.reconcile()

    assert {condition.type for condition in (await world.job()).status.conditions} == set(ConditionType)


async def test_the_finalizer_and_the_roster_are_written_before_any_child(world: World) -> None:
    await world.reconcile()

    job = await world.job()
    assert FINALIZER in job.metadata.finalizers
    assert job.status.frozen is not None
    assert await world.children() == []


async def test_no_tenants_pod_starts_before_the_tasks_code_has_made_a_model(world: World) -> None:
    world.scripts["aggregator"] = Script("Pending")

    await world.settle()

    assert await world.clients() == {}
    assert len(await world.aggregators()) == 1


async def test_a_settled_job_is_written_to_no_more(world: World) -> None:
    await world.until_running()

    before = (await world.job()).metadata.resource_version
    plan = await world.reconcile()

    assert plan.is_idle
    assert (await world.job()).metadata.resource_version == before


async def test_a_running_job_tells_its_numbers(world: World) -> None:
    await world.until_running()

    status = (await world.job()).status
    assert (status.state, status.round, status.rounds, status.survivors, status.accuracy) == (JobState.RUNNING, 3, 10, 5, 0.9)
    assert {tenant.state for tenant in status.tenants} == {"Ready"}


async def test_a_job_whose_aggregator_completes_succeeds(world: World) -> None:
    await world.until_running()
    world.scripts["aggregator"] = Script("Succeeded", word={"reason": "RoundsCompleted", "message": ""})

    await world.settle()

    job = await world.job()
    assert world.true(job, ConditionType.SUCCEEDED)
    assert (await world.condition(ConditionType.SUCCEEDED)).reason == "RoundsCompleted"
    assert (await world.condition(ConditionType.FAILED)).status is ConditionStatus.FALSE
    assert job.status.completion_time is not None


async def test_a_job_that_stopped_early_says_so(world: World) -> None:
    await world.until_running()
    world.scripts["aggregator"] = Script("Succeeded", word={"reason": "StoppedEarly", "message": ""})

    await world.settle()

    assert (await world.condition(ConditionType.SUCCEEDED)).reason == "StoppedEarly"


async def test_clients_of_a_finished_job_may_end_by_themselves_and_are_ended_after_a_while(world: World) -> None:
    await world.until_running()
    world.scripts["aggregator"] = Script("Succeeded")
    await world.settle()
    assert set(await world.clients()) == TENANTS

    await world.pass_time(seconds=31)

    assert await world.clients() == {}
    assert len(await world.aggregators()) == 1, "what has ended keeps its logs"


async def test_batch_jobs_of_clients_that_have_ended_stay_until_the_ttl(world: World) -> None:
    await world.until_running()
    world.scripts = {"aggregator": Script("Succeeded"), "client": Script("Succeeded")}
    await world.settle()

    await world.pass_time(days=30)

    assert set(await world.clients()) == TENANTS


async def test_a_finished_job_goes_with_all_its_children_after_its_ttl() -> None:
    world = await World().start(builders.job(ttlSecondsAfterFinished=60))
    await world.until_running()
    world.scripts = {"aggregator": Script("Succeeded"), "client": Script("Succeeded")}
    await world.settle()
    await world.pass_time(seconds=59)
    assert await world.exists()

    await world.pass_time(seconds=2)

    assert not await world.exists()
    assert await world.children() == []


async def test_a_deleted_job_leaves_nothing_in_any_namespace(world: World) -> None:
    await world.until_running()

    await world.cluster.delete(FEDERATED_JOB, *builders.JOB)
    await world.settle()

    assert not await world.exists()
    assert await world.children() == []


async def test_a_job_that_is_deleted_before_it_starts_leaves_at_once(world: World) -> None:
    await world.cluster.delete(FEDERATED_JOB, *builders.JOB)
    await world.settle()

    assert not await world.exists()


async def test_numbers_stay_when_the_aggregator_can_not_be_read(world: World) -> None:
    await world.until_running()
    world.progress = None

    await world.settle()

    status = (await world.job()).status
    assert (status.round, status.accuracy) == (RUNNING.rounds_done, RUNNING.accuracy)
    assert (await world.condition(ConditionType.RUNNING)).reason == "AggregatorUnreachable"


async def test_each_change_costs_at_most_six_writes_to_the_job(world: World) -> None:
    await world.settle()
    versions = {(await world.job()).metadata.resource_version}
    world.progress = RUNNING
    for _ in range(20):
        await world.reconcile()
        versions.add((await world.job()).metadata.resource_version)

    assert len(versions) - 1 <= 1
