"""Children deleted by hand come back, whoever else works on them; operators may die or stand beside each other."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.coterie_operator import builders
from tests.unit.coterie_operator.world import RUNNING, STANDING, Script, World

from coterie_api.v1alpha1.conditions import ConditionType
from coterie_operator.act import NotLeader
from coterie_operator.act.actor import KINDS
from coterie_operator.cluster import BATCH_JOB, FEDERATED_JOB, SECRET, Conflict
from coterie_operator.core.actions import AddFinalizer, Create, Plan


@pytest.mark.parametrize("kind", STANDING, ids=[kind.kind for kind in STANDING])
async def test_each_child_deleted_by_hand_comes_back(kind: Any) -> None:
    world = await (await World().start()).until_running()
    before = await world.names(*STANDING)

    for obj in await world.children(kind):
        await world.cluster.delete(kind, obj["metadata"]["namespace"], obj["metadata"]["name"])
        await world.settle()

        assert await world.names(*STANDING) == before


async def test_a_certificate_deleted_by_hand_comes_back_before_the_next_pod_needs_it() -> None:
    world = await (await World().start()).until_running()
    (secret,) = await world.children(SECRET)
    await world.cluster.delete(SECRET, secret["metadata"]["namespace"], secret["metadata"]["name"])
    (aggregator,) = await world.aggregators()
    await world.cluster.delete(BATCH_JOB, "research", aggregator["metadata"]["name"])

    await world.settle()

    assert [obj["metadata"]["name"] for obj in await world.children(SECRET)] == [secret["metadata"]["name"]]


async def test_a_certificate_that_a_waiting_pod_misses_comes_back() -> None:
    world = await World().start()
    world.scripts["aggregator"] = Script("Pending")
    await world.settle()
    (secret,) = await world.children(SECRET)
    await world.cluster.delete(SECRET, secret["metadata"]["namespace"], secret["metadata"]["name"])

    await world.pass_time(seconds=21)

    assert len(await world.children(SECRET)) == 1


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(0, 1000), min_size=1, max_size=6), st.integers(1, 6))
async def test_children_deleted_at_any_time_lead_to_the_same_end(choices: list[int], passes: int) -> None:
    world = await World(progress=RUNNING).start(tenants=3)
    for choice in choices:
        for _ in range(passes):
            try:
                await world.reconcile()
            except Conflict:
                continue
            await world.pods()
        children = sorted(await world.names(*STANDING))
        if children:
            kind, namespace, name = children[choice % len(children)]
            await world.cluster.delete(KINDS[kind], namespace, name)
    await world.settle()
    reference = await World(progress=RUNNING).start(tenants=3)
    await reference.settle()

    shape = sorted((kind, namespace) for kind, namespace, _ in await world.names(*STANDING))
    assert shape == sorted((kind, namespace) for kind, namespace, _ in await reference.names(*STANDING))
    assert world.true(await world.job(), ConditionType.RUNNING)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.booleans(), min_size=4, max_size=30))
async def test_two_operators_at_once_make_no_duplicate_children(turns: list[bool]) -> None:
    world = await World(progress=RUNNING).start(tenants=3)
    operators = [world.controller, world.another_controller()]
    for turn in turns:
        try:
            await world.reconcile(operators[turn])
        except Conflict:
            continue
        await world.pods()
    await world.settle()

    assert len(await world.aggregators()) == 1
    assert set(await world.clients()) == set(builders.TENANTS[:3])


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 60))
async def test_an_operator_killed_at_any_write_is_followed_by_one_that_ends_the_same(writes: int) -> None:
    world = await World(progress=RUNNING).start(tenants=3)
    left = [writes]

    def leads() -> bool:
        left[0] -= 1
        return left[0] >= 0

    world.leads = leads
    for _ in range(12):
        try:
            await world.reconcile()
        except NotLeader:
            break
        except Conflict:
            continue
        await world.pods()
    world.leads = lambda: True
    world.controller = world.another_controller()
    await world.settle()

    assert len(await world.aggregators()) == 1
    assert set(await world.clients()) == set(builders.TENANTS[:3])
    assert world.true(await world.job(), ConditionType.RUNNING)


async def test_a_replica_that_does_not_lead_writes_nothing() -> None:
    world = await World(leads=lambda: False).start()
    before = (await world.job()).metadata.resource_version

    with pytest.raises(NotLeader):
        await world.reconcile()

    assert (await world.job()).metadata.resource_version == before


async def test_children_of_a_former_job_of_the_same_name_go() -> None:
    world = await World().start()
    await world.settle()
    former = (await world.job()).key.uid
    # The operator was not there to see the deletion, and somebody took the finalizer away.
    await world.cluster.patch(FEDERATED_JOB, *builders.JOB, {"metadata": {"finalizers": None}})
    await world.cluster.delete(FEDERATED_JOB, *builders.JOB)
    await world.cluster.create(FEDERATED_JOB, builders.job())

    await world.settle()

    assert former not in {obj["metadata"]["labels"]["coterie.dev/job-uid"] for obj in await world.children(*STANDING)}
    assert len(await world.clients()) == 5


async def test_the_finalizer_goes_in_the_end_even_if_a_pod_does_not() -> None:
    world = await (await World().start()).until_running()
    pod = next(iter(await world.cluster.list(KINDS["Pod"], "hospital-b")))
    await world.cluster.patch(KINDS["Pod"], "hospital-b", pod["metadata"]["name"], {"metadata": {"finalizers": ["example.com/stuck"]}})
    await world.cluster.delete(FEDERATED_JOB, *builders.JOB)
    await world.settle()
    assert await world.exists()

    await world.pass_time(seconds=301)

    assert not await world.exists()


async def test_two_jobs_of_one_name_in_two_namespaces_do_not_meet() -> None:
    world = await World().start()
    await world.settle()
    uid = (await world.job()).key.uid

    from coterie_operator.manifests.client import client_name
    from coterie_operator.manifests.naming import DatasetKey, JobKey

    key = DatasetKey("hospital-a", "visits")
    assert client_name(JobKey("research", "fashion", uid), key, 0) != client_name(JobKey("other", "fashion", "another-uid"), key, 0)


def _creations(plan: Plan) -> list[str]:
    return [action.obj["kind"] for action in plan.actions if isinstance(action, Create)]


async def test_a_finalizer_taken_away_by_hand_comes_back_before_anything_else() -> None:
    world = await (await World().start()).until_running()
    await world.cluster.patch(FEDERATED_JOB, *builders.JOB, {"metadata": {"finalizers": None}})

    plan = await world.reconcile()

    assert isinstance(plan.actions[0], AddFinalizer)
    assert _creations(plan) == []
