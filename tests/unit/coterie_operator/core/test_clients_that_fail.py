"""Clients that fail or never come: who is tried again, who isn't, and what of their words reaches the job."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.coterie_operator import builders
from tests.unit.coterie_operator.core.last_words import DROP, word
from tests.unit.coterie_operator.world import ALONE, Script, World

from coterie_api.v1alpha1.conditions import ConditionStatus, ConditionType
from coterie_api.v1alpha1.types import TenantState
from coterie_operator.cluster import BATCH_JOB, CLAIM, FEDERATED_JOB
from coterie_operator.settings import Settings

SECRETS = "Smith, John: 1.5"


async def test_an_exhausted_client_is_tried_again_after_a_wait() -> None:
    world = await (await World().start()).until_running()
    world.scripts["client/hospital-b"] = Script("Failed", 1)
    await world.settle()
    tenants = {tenant.namespace: tenant for tenant in (await world.job()).status.tenants}
    assert tenants["hospital-b"].state is TenantState.BACKING_OFF

    world.scripts.clear()
    await world.pass_time(seconds=11)

    job = (await world.clients())["hospital-b"]
    assert job["metadata"]["name"].endswith("-1")
    assert {tenant.attempt for tenant in (await world.job()).status.tenants if tenant.namespace == "hospital-b"} == {1}


async def test_waits_between_a_clients_attempts_double_up_to_a_bound() -> None:
    world = await (await World(settings=Settings(client_backoff_max_seconds=25)).start()).until_running()
    world.scripts["client/hospital-b"] = Script("Failed", 1)
    await world.settle()

    names = []
    for seconds in (9, 2, 18, 3, 24, 2, 24, 2):
        await world.pass_time(seconds=seconds)
        names.append((await world.clients())["hospital-b"]["metadata"]["name"][-1])

    assert names == ["0", "1", "1", "2", "2", "3", "3", "4"]


async def test_a_client_that_can_not_go_on_is_not_tried_again_and_the_job_goes_on() -> None:
    world = await (await World().start()).until_running()
    world.scripts["client/hospital-b"] = Script("Failed", 64, word("NoData"))
    await world.pass_time(hours=2)

    assert (await world.clients())["hospital-b"]["metadata"]["name"].endswith("-0")
    assert world.true(await world.job(), ConditionType.RUNNING)
    tenants = {tenant.namespace: tenant for tenant in (await world.job()).status.tenants}
    assert (tenants["hospital-b"].state, tenants["hospital-b"].reason) == (TenantState.FAILED, "NoData")


async def test_too_many_clients_that_can_not_go_on_fail_the_job_and_are_named() -> None:
    world = await (await World().start()).until_running()
    for name in ("hospital-b", "hospital-d"):
        world.scripts[f"client/{name}"] = Script("Failed", 64, word("TaskImportFailed", SECRETS, drop=DROP))

    await world.settle()

    failed = await world.condition(ConditionType.FAILED)
    assert (failed.status, failed.reason) == (ConditionStatus.TRUE, "TaskImportFailed")
    assert "hospital-b/visits: the task's code could not be imported (ModuleNotFoundError at task.py:3)" in failed.message
    assert "3 of 5 clients can go on and 4 are needed" in failed.message


@pytest.mark.parametrize(
    "said",
    [
        word("TaskRaised", SECRETS),
        word(SECRETS, SECRETS),
        word(
            "TaskRaised", "", drop={"client": SECRETS, "reason": "TaskRaised", "errorClass": SECRETS, "where": SECRETS, "incident": SECRETS}
        ),
        word("TaskRaised", "", drop={"client": "a/b", "reason": "TaskRaised", "errorClass": "E" * 65, "where": f"task.py:1 {SECRETS}"}),
        word("TaskRaised", "", progress={"phase": SECRETS}),
    ],
)
async def test_no_text_of_a_clients_pod_ever_reaches_the_job(said: dict[str, Any]) -> None:
    world = await (await World().start()).until_running()
    for name in builders.TENANTS[:3]:
        world.scripts[f"client/{name}"] = Script("Failed", 64, said)

    await world.settle()

    raw = str(await world.cluster.get(FEDERATED_JOB, *builders.JOB))
    assert "Smith" not in raw
    assert "E" * 65 not in raw


async def test_a_clients_words_are_its_own_whoever_it_says_it_is() -> None:
    world = await (await World().start()).until_running()
    world.scripts["client/hospital-b"] = Script("Failed", 64, word("TaskImportFailed", drop=DROP))

    await world.settle()

    tenants = {tenant.namespace: tenant for tenant in (await world.job()).status.tenants}
    assert tenants["hospital-b"].message.startswith("hospital-b/visits:")


async def test_a_job_without_a_quorum_by_the_deadline_lets_all_go_and_tries_again() -> None:
    world = await World(progress=ALONE).start()
    await world.settle()
    assert len(await world.clients()) == 5

    await world.pass_time(seconds=601)

    assert await world.children(BATCH_JOB) == []
    assert len(await world.children(CLAIM)) == 1, "the checkpoint stays"
    assert (await world.condition(ConditionType.ADMITTED)).reason == "QuorumNotMet"
    await world.pass_time(seconds=61)
    assert {obj["metadata"]["name"][-2:] for obj in await world.children(BATCH_JOB)} == {"-1"}


async def assemble_in_vain(world: World, times: int) -> None:
    """Let assemblies pass without a quorum, and the next one begin."""
    await world.settle()
    for done in range(times):
        await world.pass_time(seconds=600)
        assert (await world.job()).status.attempts.without_quorum == done + 1
        await world.pass_time(seconds=60)


async def test_assemblies_without_a_quorum_are_tried_again_as_often_as_the_limit_allows_then_the_job_fails() -> None:
    job = builders.job()
    job["spec"]["participants"]["assemblyBackoffLimit"] = 2
    world = await World(progress=ALONE).start(job)

    await assemble_in_vain(world, times=2)
    assert len(await world.clients()) == 5, "a third assembly goes on"
    await world.pass_time(seconds=600)

    failed = await world.condition(ConditionType.FAILED)
    assert (failed.status, failed.reason) == (ConditionStatus.TRUE, "QuorumNotMet")
    assert "1 clients were connected 600 seconds after the start of assembly; 4 are needed" in failed.message
    assert "assembly 3 in a row without a quorum, spec.participants.assemblyBackoffLimit is 2" in failed.message
    await world.pass_time(seconds=300)
    assert await world.clients() == {}


async def test_a_quorum_that_comes_at_last_makes_up_for_the_assemblies_before() -> None:
    world = await World(progress=ALONE).start()
    await assemble_in_vain(world, times=2)

    await world.until_running()

    assert (await world.job()).status.attempts.without_quorum == 0
    assert (await world.job()).status.attempts.assembly == 2


async def test_the_wait_before_the_next_assembly_is_between_one_and_two_times_the_setting_and_differs_between_jobs() -> None:
    waits = set()
    for _ in range(5):
        world = await World(progress=ALONE).start(tenants=3)
        await world.settle()
        await world.pass_time(seconds=600)
        status = (await world.job()).status
        assert status.assembly_time is not None
        waits.add(status.assembly_time)

    assert len(waits) > 1
    assert all("2026-08-01T12:10:30Z" <= wait <= "2026-08-01T12:11:00Z" for wait in waits)


async def test_a_job_that_runs_is_not_let_go_when_the_assembly_deadline_passes() -> None:
    world = await (await World().start()).until_running()

    await world.pass_time(seconds=3600)

    assert world.true(await world.job(), ConditionType.RUNNING)
    assert len(await world.clients()) == 5


async def test_nothing_is_let_go_as_long_as_a_running_aggregator_can_not_be_read() -> None:
    world = await World().start()
    await world.settle()
    world.progress = None

    await world.pass_time(seconds=3600)

    assert len(await world.clients()) == 5
