"""A grant with an end: in force until then, and not a moment longer, whatever wakes the job."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.unit.coterie_operator import builders
from tests.unit.coterie_operator.world import World

from coterie_api.v1alpha1.conditions import ConditionStatus, ConditionType
from coterie_api.v1alpha1.types import TenantState
from coterie_operator.cluster import FEDERATED_DATASET
from coterie_operator.core.observed import stamp
from coterie_operator.probe import PacedProbe

END = builders.START + timedelta(minutes=30)


def grant(**more: Any) -> dict[str, Any]:
    return {"jobs": {"namespaces": [builders.JOB_NAMESPACE]}, "images": [builders.IMAGE], **more}


def ending(namespace: str, *, minutes: float = 30, others: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    end = stamp(builders.START + timedelta(minutes=minutes))
    return builders.dataset(namespace, grants=[grant(expires=end), *others])


async def test_a_grant_that_has_ended_reads_as_none_at_all() -> None:
    ended = await World().start(hospital_b=ending("hospital-b", minutes=-1))
    absent = await World().start(hospital_b=None)
    await ended.settle()
    await absent.settle()

    told = [next(tenant for tenant in (await world.job()).status.tenants if tenant.namespace == "hospital-b") for world in (ended, absent)]
    assert told[0] == told[1]
    assert (told[0].state, told[0].reason) == (TenantState.SKIPPED, "NotGranted")
    assert set(await ended.clients()) == set(builders.TENANTS) - {"hospital-b"}


async def test_a_grant_that_has_not_ended_counts() -> None:
    world = await (await World().start(hospital_b=ending("hospital-b"))).until_running()

    await world.pass_time(minutes=29)

    assert "hospital-b" in await world.clients()


async def test_a_running_job_loses_a_tenant_when_its_grant_ends_and_goes_on() -> None:
    world = await (await World().start(hospital_b=ending("hospital-b"))).until_running()

    await world.pass_time(minutes=30)

    assert "hospital-b" not in await world.clients()
    assert world.true(await world.job(), ConditionType.RUNNING)
    tenant = next(tenant for tenant in (await world.job()).status.tenants if tenant.namespace == "hospital-b")
    assert (tenant.state, tenant.reason) == (TenantState.FAILED, "ConsentRevoked")
    assert tenant.message == "the owner's grant of the data set has expired"


async def test_a_running_job_whose_quorum_ends_with_grants_fails_and_says_so() -> None:
    world = await World().start(hospital_a=ending("hospital-a"), hospital_b=ending("hospital-b"))
    await world.until_running()

    await world.pass_time(minutes=30)

    failed = await world.condition(ConditionType.FAILED)
    assert (failed.status, failed.reason) == (ConditionStatus.TRUE, "ConsentRevoked")
    assert "hospital-a/visits: the owner's grant of the data set has expired" in failed.message


async def test_a_job_is_looked_at_when_a_grant_ends_and_not_after() -> None:
    world = await (await World().start(hospital_b=ending("hospital-b"))).until_running()
    world.controller._probe = PacedProbe(world, lambda: 0.0, 3600.0)

    plan = await world.reconcile()

    assert plan.look_again == END


@pytest.mark.parametrize("others", [({},), ({"expires": stamp(END + timedelta(days=1))},)])
async def test_another_grant_that_goes_on_is_enough(others: tuple[dict[str, Any], ...]) -> None:
    longer = tuple(grant(**more) for more in others)
    world = await (await World().start(hospital_b=ending("hospital-b", others=longer))).until_running()

    await world.pass_time(minutes=31)

    assert "hospital-b" in await world.clients()


async def test_a_data_set_whose_grant_ends_is_accepted() -> None:
    world = await World().start(hospital_b=ending("hospital-b"))
    await world.controller.tell_datasets()

    (condition,) = (await world.cluster.get(FEDERATED_DATASET, "hospital-b", "visits"))["status"]["conditions"]
    assert (condition["type"], condition["status"]) == ("Accepted", "True")
