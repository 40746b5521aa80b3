"""What was frozen at the start holds; from there on only revocation and what vanishes act."""

from __future__ import annotations

from tests.unit.coterie_operator import builders
from tests.unit.coterie_operator.world import World

from coterie_api.v1alpha1.conditions import ConditionStatus, ConditionType
from coterie_api.v1alpha1.types import TenantState
from coterie_operator.cluster import BATCH_JOB, FEDERATED_DATASET, NAMESPACE
from coterie_operator.settings import Settings


async def test_after_the_start_a_new_grant_changes_nothing() -> None:
    world = await World().start(hospital_b=None)
    await world.until_running()

    await world.cluster.create(FEDERATED_DATASET, builders.dataset("hospital-b"))
    await world.settle()

    assert "hospital-b" not in await world.clients()


async def _revoke(world: World, namespace: str) -> None:
    await world.cluster.patch(FEDERATED_DATASET, namespace, "visits", {"spec": {"grants": []}})


async def test_a_revoked_grant_ends_that_tenants_client_and_the_job_goes_on() -> None:
    world = await (await World().start()).until_running()

    await _revoke(world, "hospital-b")
    await world.settle()

    assert "hospital-b" not in {namespace for _, namespace, _ in await world.names()}
    job = await world.job()
    assert world.true(job, ConditionType.RUNNING)
    tenants = {tenant.namespace: tenant for tenant in job.status.tenants}
    assert (tenants["hospital-b"].state, tenants["hospital-b"].reason) == (TenantState.FAILED, "ConsentRevoked")


async def test_another_key_under_the_same_name_is_another_tenant() -> None:
    world = await (await World().start()).until_running()

    other = {"spec": {"identity": {"publicKey": builders.public_key("somebody-else")}}}
    await world.cluster.patch(FEDERATED_DATASET, "hospital-b", "visits", other)
    await world.settle()

    assert "hospital-b" not in await world.clients()


async def test_revocations_below_the_quorum_fail_the_job_for_good() -> None:
    world = await (await World().start()).until_running()

    await _revoke(world, "hospital-a")
    await _revoke(world, "hospital-b")
    await world.settle()

    failed = await world.condition(ConditionType.FAILED)
    assert (failed.status, failed.reason) == (ConditionStatus.TRUE, "ConsentRevoked")
    assert "hospital-a/visits" in failed.message
    await world.cluster.patch(FEDERATED_DATASET, "hospital-a", "visits", {"spec": builders.dataset("hospital-a")["spec"]})
    await world.pass_time(seconds=60)
    assert await world.clients() == {}


async def test_a_required_data_set_that_is_revoked_fails_the_job() -> None:
    job = builders.job()
    job["spec"]["participants"]["datasets"][1]["required"] = True
    world = await (await World().start(job)).until_running()

    await _revoke(world, "hospital-b")
    await world.settle()

    assert (await world.condition(ConditionType.FAILED)).reason == "ConsentRevoked"


async def test_a_deleted_data_set_takes_its_client_with_it_without_any_operator() -> None:
    world = await (await World().start()).until_running()

    await world.cluster.delete(FEDERATED_DATASET, "hospital-b", "visits")

    assert "hospital-b" not in {namespace for _, namespace, _ in await world.names()}


async def test_a_tenants_namespace_may_go_while_the_job_runs() -> None:
    world = await (await World().start()).until_running()

    await world.cluster.delete(NAMESPACE, "", "hospital-b")
    await world.settle()

    assert world.true(await world.job(), ConditionType.RUNNING)
    assert set(await world.clients()) == set(builders.TENANTS) - {"hospital-b"}


async def test_the_jobs_own_namespace_may_go_while_the_job_runs() -> None:
    world = await (await World().start()).until_running()

    await world.cluster.delete(NAMESPACE, "", "research")
    for _ in range(10):
        if not await world.exists():
            break
        await world.reconcile()

    assert not await world.exists()
    assert await world.children() == []


async def test_the_roster_is_sorted_and_pins_the_keys() -> None:
    job = builders.job()
    job["spec"]["participants"]["datasets"].reverse()
    world = await World().start(job)

    await world.reconcile()

    frozen = (await world.job()).status.frozen
    assert frozen is not None
    assert [entry.namespace for entry in frozen.datasets] == sorted(builders.TENANTS)
    assert all(entry.public_key == builders.public_key(entry.namespace) for entry in frozen.datasets)


async def test_an_image_upgrade_of_the_operator_does_not_touch_a_started_job() -> None:
    world = await (await World().start()).until_running()
    before = {obj["metadata"]["name"]: obj["spec"] for obj in await world.aggregators()}

    world.settings = Settings(operator_image="ghcr.io/coterie/operator:9", worker_image="ghcr.io/coterie/worker:9")
    world.controller = world.another_controller()
    for obj in await world.aggregators():
        await world.cluster.delete(BATCH_JOB, obj["metadata"]["namespace"], obj["metadata"]["name"])
    await world.settle()

    after = {obj["metadata"]["name"]: obj["spec"] for obj in await world.aggregators()}
    images = [
        container["image"] for spec in (before, after) for obj in spec.values() for container in obj["template"]["spec"]["containers"]
    ]
    assert set(images) == {Settings().operator_image}
