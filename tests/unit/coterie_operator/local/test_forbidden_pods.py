"""A quota of the in-memory cluster forbids a pod: its batch Job says so as a real one does, and the job with whose it is."""

from __future__ import annotations

from tests.unit.coterie_operator.world import ALONE, World

from coterie_api.v1alpha1.conditions import ConditionType
from coterie_operator.cluster import EVENT, POD
from coterie_operator.local.admission import RESOURCE_QUOTA
from coterie_operator.local.batch import BatchController


async def test_a_pod_that_a_quota_forbids_is_told_and_comes_once_it_may() -> None:
    world = await World(progress=ALONE).start()
    await world.cluster.create(RESOURCE_QUOTA, {"metadata": {"name": "none", "namespace": "hospital-d"}, "spec": {"hard": {"pods": "0"}}})
    await world.reconcile()
    await world.reconcile()
    (aggregator,) = await world.aggregators()
    await world._step(aggregator)
    await world._step(aggregator)
    await world.reconcile()
    await world.reconcile()
    controller = BatchController(world.cluster, now=lambda: world.now)
    for _ in range(2):
        await controller._sync(("hospital-d", (await world.clients())["hospital-d"]["metadata"]["name"]))
    world.now = world.now.replace(second=10)
    await world.reconcile()

    (event,) = await world.cluster.list(EVENT, "hospital-d")
    assert (event["reason"], event["message"].split(": ")[0]) == ("FailedCreate", "Error creating")
    admitted = await world.condition(ConditionType.ADMITTED)
    assert (admitted.reason, admitted.message) == (
        "QuotaExceeded",
        "hospital-d/visits: ResourceQuota none does not allow it: too little is left of pods",
    )
    await world.cluster.delete(RESOURCE_QUOTA, "hospital-d", "none")
    await controller._sync(("hospital-d", (await world.clients())["hospital-d"]["metadata"]["name"]))
    assert len(await world.cluster.list(POD, "hospital-d")) == 1
    for timer in controller._timers.values():
        timer.cancel()
