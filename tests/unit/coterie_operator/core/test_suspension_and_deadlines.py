"""Suspension, deadlines and renewal: all from timestamps and what is written, never from having seen an event."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.coterie_operator import builders
from tests.unit.coterie_operator.world import Script, World

from coterie_api.v1alpha1.conditions import ConditionStatus, ConditionType
from coterie_api.v1alpha1.types import JobState
from coterie_operator.cluster import BATCH_JOB, CLAIM, FEDERATED_JOB
from coterie_operator.settings import Settings


async def _patch(world: World, **spec: Any) -> None:
    await world.cluster.patch(FEDERATED_JOB, *builders.JOB, {"spec": spec})


async def test_a_suspended_job_has_no_pods_and_keeps_its_checkpoint() -> None:
    world = await (await World().start()).until_running()

    await _patch(world, suspend=True)
    await world.settle()

    assert await world.children(BATCH_JOB) == []
    assert len(await world.children(CLAIM)) == 1
    job = await world.job()
    assert job.status.state is JobState.SUSPENDED
    assert (await world.condition(ConditionType.SUSPENDED)).status is ConditionStatus.TRUE
    assert (await world.condition(ConditionType.RUNNING)).reason == "Suspended"


async def test_a_job_created_suspended_starts_nothing() -> None:
    world = await World().start(builders.job(suspend=True))

    await world.settle()

    assert await world.children() == []


async def test_a_resumed_job_goes_on_in_the_next_attempt() -> None:
    world = await (await World().start()).until_running()
    await _patch(world, suspend=True)
    await world.settle()

    await _patch(world, suspend=False)
    await world.settle()

    assert {obj["metadata"]["name"][-2:] for obj in await world.children(BATCH_JOB)} == {"-1"}
    assert len(await world.clients()) == 5
    assert (await world.condition(ConditionType.SUSPENDED)).reason == "Resumed"
    assert world.true(await world.job(), ConditionType.RUNNING), "Suspended=False must not mask Running"


async def test_suspending_twice_counts_once() -> None:
    world = await (await World().start()).until_running()
    await _patch(world, suspend=True)
    await world.settle()
    await world.pass_time(hours=5)

    assert (await world.job()).status.attempts.assembly == 1


async def test_a_suspended_job_does_not_run_out_of_time_and_resumes_with_all_of_it() -> None:
    world = await (await World().start(builders.job(activeDeadlineSeconds=3600))).until_running()
    await world.pass_time(seconds=1800)
    await _patch(world, suspend=True)
    await world.pass_time(hours=10)
    await _patch(world, suspend=False)
    await world.settle()

    await world.pass_time(seconds=3500)
    assert not world.true(await world.job(), ConditionType.FAILED)
    await world.pass_time(seconds=101)

    assert (await world.condition(ConditionType.FAILED)).reason == "DeadlineExceeded"


async def test_a_job_over_its_deadline_fails_and_nothing_of_it_runs_on() -> None:
    world = await (await World().start(builders.job(activeDeadlineSeconds=3600))).until_running()

    await world.pass_time(seconds=3600)

    failed = await world.condition(ConditionType.FAILED)
    assert (failed.status, failed.reason) == (ConditionStatus.TRUE, "DeadlineExceeded")
    assert "3600" in failed.message
    assert await world.children(BATCH_JOB) == []


async def test_a_job_that_waits_for_consent_does_not_use_up_its_time() -> None:
    left_out = {name.replace("-", "_"): None for name in builders.TENANTS}
    world = await World().start(builders.job(activeDeadlineSeconds=3600), **left_out)

    await world.pass_time(days=2)

    assert not world.true(await world.job(), ConditionType.FAILED)


async def test_what_was_achieved_before_a_deadline_was_noticed_counts() -> None:
    world = await (await World().start(builders.job(activeDeadlineSeconds=3600))).until_running()
    world.scripts["aggregator"] = Script("Succeeded")
    await world.pods()

    await world.pass_time(hours=2)

    assert world.true(await world.job(), ConditionType.SUCCEEDED)


async def test_a_suspension_that_comes_after_the_end_changes_nothing() -> None:
    world = await (await World().start()).until_running()
    world.scripts["aggregator"] = Script("Succeeded")
    await world.pods()
    await _patch(world, suspend=True)

    await world.settle()

    assert world.true(await world.job(), ConditionType.SUCCEEDED)


async def test_an_aggregator_gets_a_new_certificate_before_the_old_one_ends() -> None:
    world = await (await World(settings=Settings(certificate_days=30)).start()).until_running()

    await world.pass_time(days=19)
    assert [obj["metadata"]["name"][-2:] for obj in await world.aggregators()] == ["-0"]
    await world.pass_time(days=2)

    assert [obj["metadata"]["name"][-2:] for obj in await world.aggregators()] == ["-1"]
    assert {obj["metadata"]["name"][-2:] for obj in (await world.clients()).values()} == {"-0"}, "clients stay and dial again"


async def test_a_plan_says_when_to_look_again() -> None:
    world = await (await World().start(builders.job(activeDeadlineSeconds=3600))).until_running()

    plan = await world.reconcile()

    assert plan.look_again is not None
    assert (plan.look_again - world.now).total_seconds() == pytest.approx(10.0)
