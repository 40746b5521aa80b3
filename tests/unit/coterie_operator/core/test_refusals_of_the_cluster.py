"""A cluster that refuses, hides a namespace or can't be reached: told, tried again, and nothing lost."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.coterie_operator import builders
from tests.unit.coterie_operator.world import World

from coterie_api.v1alpha1.conditions import ConditionStatus, ConditionType
from coterie_operator.cluster import BATCH_JOB, CONFIG_MAP, EVENT, FEDERATED_JOB, NO_LABELS, Forbidden, Unavailable

OVER_QUOTA = "exceeded quota: tenants, requested: count/jobs.batch=1, used: count/jobs.batch=7, limited: count/jobs.batch=7"


@pytest.mark.parametrize("text", [OVER_QUOTA, "is forbidden: cannot create resource"])
async def test_a_refused_child_is_a_condition_and_tried_again(text: str) -> None:
    world = await World().start()
    await world.settle()

    refusing = _Refusing(world, text)
    await world.cluster.delete(BATCH_JOB, "hospital-b", (await world.clients())["hospital-b"]["metadata"]["name"])
    await world.reconcile()

    expected = "QuotaExceeded" if "quota" in text else "TenantAccessMissing"
    admitted = await world.condition(ConditionType.ADMITTED)
    assert (admitted.status, admitted.reason) == (ConditionStatus.FALSE, expected)
    assert "=" not in admitted.message, "how much a tenant has and uses is not the author's business"
    tenants = {tenant.namespace: tenant for tenant in (await world.job()).status.tenants}
    assert tenants["hospital-b"].reason == expected
    refusing.stop()
    await world.pass_time(seconds=2)
    assert (await world.condition(ConditionType.ADMITTED)).status is ConditionStatus.TRUE
    assert len(await world.clients()) == 5


async def test_access_that_goes_while_the_job_runs_is_told_and_revokes_nothing() -> None:
    world = await (await World().start()).until_running()
    listing = world.cluster.list

    async def closed(kind: Any, namespace: str | None = None, labels: Any = NO_LABELS) -> Any:
        if (kind, namespace) == (CONFIG_MAP, "hospital-b"):
            raise Forbidden("cannot list")
        return await listing(kind, namespace, labels)

    world.cluster.list = closed  # type: ignore[method-assign]
    await world.reconcile()

    admitted = await world.condition(ConditionType.ADMITTED)
    assert (admitted.status, admitted.reason) == (ConditionStatus.FALSE, "TenantAccessMissing")
    assert "hospital-b" in admitted.message
    job = await world.job()
    assert world.true(job, ConditionType.RUNNING)
    assert [tenant.reason for tenant in job.status.tenants if tenant.namespace == "hospital-b"] == ["TenantAccessMissing"]
    world.cluster.list = listing  # type: ignore[method-assign]
    await world.settle()
    assert set(await world.clients()) == set(builders.TENANTS)
    assert (await world.condition(ConditionType.ADMITTED)).status is ConditionStatus.TRUE


async def test_a_namespace_that_can_not_be_read_holds_a_deletion_back_for_a_while_only() -> None:
    world = await (await World().start()).until_running()
    listing = world.cluster.list

    async def closed(kind: Any, namespace: str | None = None, labels: Any = NO_LABELS) -> Any:
        if (kind, namespace) == (CONFIG_MAP, "hospital-b"):
            raise Forbidden("cannot list")
        return await listing(kind, namespace, labels)

    world.cluster.list = closed  # type: ignore[method-assign]
    await world.cluster.delete(FEDERATED_JOB, *builders.JOB)
    await world.settle()
    assert await world.exists()

    await world.pass_time(seconds=301)

    assert not await world.exists()
    events = await listing(EVENT, "research")
    assert {event["reason"] for event in events} <= {"CleanupIncomplete"}, "events of a job go with it"


class _Refusing:
    """Makes the cluster refuse every creation."""

    def __init__(self, world: World, text: str) -> None:
        self.world = world
        self.create = world.cluster.create

        async def refuse(*_: Any) -> Any:
            raise Forbidden(text)

        world.cluster.create = refuse  # type: ignore[method-assign]

    def stop(self) -> None:
        self.world.cluster.create = self.create  # type: ignore[method-assign]


async def test_an_api_that_can_not_be_reached_changes_nothing() -> None:
    world = await (await World().start()).until_running()
    before = (await world.job()).status

    async def down(*_: Any) -> Any:
        raise Unavailable("no route to host")

    listing, world.cluster.list = world.cluster.list, down  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        await world.reconcile()
    world.cluster.list = listing  # type: ignore[method-assign]

    assert (await world.job()).status == before
    await world.settle()
    assert world.true(await world.job(), ConditionType.RUNNING)
