"""What the API server refuses is asked for again later each time, whatever wakes the job meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.coterie_operator.world import World

from coterie_api.v1alpha1.conditions import ConditionStatus, ConditionType
from coterie_operator.cluster import BATCH_JOB, Forbidden, Kind, Object, Unavailable

OVER = (
    'jobs.batch "x" is forbidden: exceeded quota: none, requested: count/jobs.batch=1, '
    "used: count/jobs.batch=0, limited: count/jobs.batch=0"
)
WEBHOOK = 'Internal error occurred: failed calling webhook "validate.example": no endpoints available'


class Refusing:
    """A cluster that refuses batch Jobs in one namespace, and counts how often it was asked."""

    def __init__(self, world: World, error: Exception | None) -> None:
        self.error = error
        self.asked = 0
        self._create = world.cluster.create
        world.cluster.create = self.create  # type: ignore[method-assign]

    async def create(self, kind: Kind, obj: Object) -> Any:
        if kind == BATCH_JOB and obj["metadata"]["namespace"] == "hospital-d":
            self.asked += 1
            if self.error is not None:
                raise self.error
        return await self._create(kind, obj)


async def test_a_refused_creation_waits_longer_each_time_however_often_the_job_is_looked_at() -> None:
    world = await World().start()
    refusing = Refusing(world, Forbidden(OVER))
    await world.settle()
    counts = []
    for _ in range(8):
        for _ in range(5):
            await world.reconcile()
        counts.append(refusing.asked)
        await world.pass_time(seconds=2)

    assert counts[0] == 1
    assert refusing.asked <= 5, "1, 2, 4 and 8 seconds lie between the attempts"


async def test_waiting_for_a_refused_creation_writes_nothing() -> None:
    world = await World().start()
    Refusing(world, Forbidden(OVER))
    await world.settle()
    before = (await world.job()).metadata.resource_version

    await world.pass_time(minutes=5)

    assert (await world.job()).metadata.resource_version == before
    admitted = await world.condition(ConditionType.ADMITTED)
    assert (admitted.status, admitted.reason) == (ConditionStatus.FALSE, "QuotaExceeded")
    assert "ResourceQuota none does not allow it: too little is left of count/jobs.batch" in admitted.message


async def test_a_creation_that_is_allowed_at_last_leaves_no_trace() -> None:
    world = await World().start()
    refusing = Refusing(world, Forbidden(OVER))
    await world.settle()
    refusing.error = None

    await world.pass_time(seconds=121)

    assert (await world.condition(ConditionType.ADMITTED)).status is ConditionStatus.TRUE
    assert len(await world.clients()) == 5


async def test_an_operator_that_restarts_asks_once_more_and_then_waits_again() -> None:
    world = await World().start()
    refusing = Refusing(world, Forbidden(OVER))
    await world.settle()
    world.controller = world.another_controller()

    await world.reconcile()
    await world.reconcile()

    assert refusing.asked == 2


async def test_a_webhook_that_can_not_be_asked_is_that_namespaces_trouble_alone() -> None:
    world = await World().start()
    Refusing(world, Unavailable(WEBHOOK))
    await world.settle()

    admitted = await world.condition(ConditionType.ADMITTED)
    assert (admitted.status, admitted.reason) == (ConditionStatus.FALSE, "PodRefused")
    assert "hospital-d" in admitted.message
    assert "the admission webhook validate.example does not allow it, or can't be asked" in admitted.message
    assert len(await world.clients()) == 4


async def test_an_api_server_that_fails_otherwise_stops_the_pass() -> None:
    world = await World().start()
    refusing = Refusing(world, Unavailable("etcdserver: request timed out"))

    with pytest.raises(Unavailable):
        await world.settle()
    refusing.error = None
    await world.settle()
    assert len(await world.clients()) == 5
