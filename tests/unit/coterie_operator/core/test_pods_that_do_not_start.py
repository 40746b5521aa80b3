"""Pods that don't start, or die of something that isn't their own: told by whose they are and why, and nothing written twice."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.coterie_operator import builders
from tests.unit.coterie_operator.world import ALONE, Script, World

from coterie_api.v1alpha1.conditions import ConditionStatus, ConditionType
from coterie_api.v1alpha1.types import TenantState, TenantStatus
from coterie_operator.cluster import BATCH_JOB, EVENT, POD, Forbidden, Object
from coterie_operator.core.obstacles import VOLUME_PATIENCE
from coterie_operator.core.rules.children import SECRET_PATIENCE

PULL = Script("Pending", waiting="ImagePullBackOff", told='Back-off pulling image "x": ErrImagePull: registry.example/client: not found')
OVER = 'Error creating: pods "x-1" is forbidden: exceeded quota: compute, requested: pods=1, used: pods=3, limited: pods=3'


async def tenant(world: World, namespace: str) -> TenantStatus:
    return next(entry for entry in (await world.job()).status.tenants if entry.namespace == namespace)


async def assembling(**scripts: Script) -> World:
    """Return a job whose aggregator waits for its clients, with clients as scripted."""
    world = await World(progress=ALONE).start()
    world.scripts |= {f"client/hospital-{letter}": script for letter, script in scripts.items()}
    await world.settle()
    return world


async def write_event(world: World, about: Object, reason: str, message: str) -> None:
    meta = about["metadata"]
    involved = {"kind": about["kind"], "namespace": meta["namespace"], "name": meta["name"], "uid": meta["uid"]}
    metadata = {"generateName": "e-", "namespace": meta["namespace"]}
    event = {"metadata": metadata, "involvedObject": involved, "type": "Warning", "reason": reason, "message": message}
    await world.cluster.create(EVENT, event)


async def test_a_client_whose_image_can_not_be_pulled_is_named_in_the_jobs_condition() -> None:
    world = await assembling(b=PULL)

    running = await world.condition(ConditionType.RUNNING)
    assert (running.status, running.reason) == (ConditionStatus.FALSE, "ImagePullBackOff")
    assert running.message.startswith("4 of 5 clients must be connected; hospital-b/visits: image registry.example/client can't be pulled")
    assert (await world.job()).status.message == running.message
    assert (await tenant(world, "hospital-b")).reason == "ImagePullBackOff"
    assert (await world.condition(ConditionType.ADMITTED)).status is ConditionStatus.TRUE, "nobody refuses the pod"


async def test_a_job_that_begins_says_in_each_pass_what_it_waits_for() -> None:
    world = await World().start()
    said = []
    for _ in range(6):
        await world.reconcile()
        await world.pods()
        status = (await world.job()).status
        said.append(status.message)
        world.progress = ALONE if await world.clients() else None

    assert "" not in said
    assert not any("nothing is known" in message for message in said)
    assert said[-1] == "clients are starting and the quorum is not complete yet: 4 of 5 clients must be connected"


async def test_what_a_client_waited_for_is_forgotten_once_it_runs() -> None:
    world = await assembling(b=PULL)
    world.scripts.clear()

    await world.until_running()

    assert (await tenant(world, "hospital-b")).message == ""
    assert (await world.condition(ConditionType.RUNNING)).message == "rounds are going on"


async def test_rounds_that_go_on_without_a_client_say_without_whom_and_why() -> None:
    world = await (await assembling(b=PULL)).until_running()

    running = await world.condition(ConditionType.RUNNING)
    assert (running.status, running.reason) == (ConditionStatus.TRUE, "Training")
    assert "but not with hospital-b/visits: image registry.example/client can't be pulled" in running.message


async def test_alternation_between_pulling_and_waiting_is_no_news() -> None:
    world = await assembling(b=PULL)
    before = (await world.job()).status
    world.scripts["client/hospital-b"] = Script("Pending", waiting="ErrImagePull", told="registry.example/client: not found")

    await world.pass_time(seconds=30)

    assert (await world.job()).status == before


async def test_more_clients_than_a_message_holds_are_counted() -> None:
    world = await assembling(a=PULL, b=PULL, c=PULL, d=PULL, e=PULL)

    assert (await world.condition(ConditionType.RUNNING)).message.endswith("; and 2 more")


async def test_a_job_that_finds_no_quorum_says_on_whom_it_waited() -> None:
    world = await assembling(b=PULL, c=PULL)

    await world.pass_time(seconds=601)

    assert "hospital-b/visits: image registry.example/client can't be pulled" in (await world.job()).status.message
    assert (await world.condition(ConditionType.ADMITTED)).reason == "QuorumNotMet"


async def test_a_job_that_ends_by_its_deadline_says_what_it_waited_for() -> None:
    world = await World(progress=ALONE).start(builders.job(activeDeadlineSeconds=60))
    world.scripts["client/hospital-b"] = PULL
    await world.settle()

    await world.pass_time(seconds=61)

    failed = await world.condition(ConditionType.FAILED)
    assert (failed.status, failed.reason) == (ConditionStatus.TRUE, "DeadlineExceeded")
    assert "hospital-b/visits: image registry.example/client can't be pulled" in failed.message


async def out_of_memory(world: World, name: str) -> None:
    """Kill a client's pod at its limit, as the kubelet tells it."""
    pods = [pod for pod in await world.cluster.list(POD, name) if (pod.get("status") or {}).get("phase") == "Running"]
    state = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    status = {"phase": "Failed", "containerStatuses": [{"name": "client", "state": state}]}
    for pod in pods:
        await world.cluster.patch(POD, name, pod["metadata"]["name"], {"status": status}, status=True)


async def test_a_client_killed_at_its_memory_limit_is_told_with_the_limit_and_started_again() -> None:
    world = await (await World().start()).until_running()
    await out_of_memory(world, "hospital-b")
    await world.reconcile()

    told = await tenant(world, "hospital-b")
    assert (told.state, told.reason) == (TenantState.STARTING, "OutOfMemory")
    assert "container client was killed at its memory limit of" in told.message
    assert "raise spec.clients.resources of the job" in told.message
    await world.settle()
    again = await tenant(world, "hospital-b")
    assert (again.state, again.reason) == (TenantState.READY, "OutOfMemory"), "what it died of is still worth knowing"


async def test_a_client_that_dies_of_memory_each_time_backs_off_and_says_so() -> None:
    world = await (await World().start()).until_running()
    world.scripts["client/hospital-b"] = Script("Failed", 137, reason="OOMKilled")
    await world.settle()

    told = await tenant(world, "hospital-b")
    assert (told.state, told.reason) == (TenantState.BACKING_OFF, "OutOfMemory")
    assert told.message.endswith("another attempt follows")


async def test_an_aggregator_that_dies_of_memory_ends_the_job_with_its_limit() -> None:
    world = await (await World().start()).until_running()
    world.scripts["aggregator"] = Script("Failed", 137, reason="OOMKilled")
    await world.settle()

    failed = await world.condition(ConditionType.FAILED)
    assert (failed.status, failed.reason) == (ConditionStatus.TRUE, "OutOfMemory")
    assert "container aggregator was killed at its memory limit of" in failed.message
    assert "raise spec.aggregator.resources of the job" in failed.message


@pytest.mark.parametrize(
    ("role", "where"), [("client/hospital-d", "hospital-d/visits"), ("aggregator", "the aggregator in namespace research")]
)
async def test_a_pod_that_a_quota_forbids_is_a_condition_that_names_the_quota_and_whose_it_is(role: str, where: str) -> None:
    world = await World(progress=ALONE).start()
    world.scripts[role] = Script("None")
    await world.settle()
    role_of, _, namespace = role.partition("/")
    for job in await world.children(BATCH_JOB):
        if job["metadata"]["labels"]["coterie.dev/role"] == role_of and job["metadata"]["namespace"] in (namespace or "research"):
            await write_event(world, job, "FailedCreate", OVER)

    await world.pass_time(seconds=5)

    admitted = await world.condition(ConditionType.ADMITTED)
    assert (admitted.status, admitted.reason) == (ConditionStatus.FALSE, "QuotaExceeded")
    assert admitted.message == f"{where}: ResourceQuota compute does not allow it: too little is left of pods"
    assert (await world.job()).status.message == admitted.message


async def test_a_pod_that_was_forbidden_and_comes_is_no_obstacle_any_more() -> None:
    world = await assembling(d=Script("None"))
    await write_event(world, (await world.clients())["hospital-d"], "FailedCreate", OVER)
    await world.pass_time(seconds=5)
    world.scripts.clear()

    await world.settle()

    assert (await world.condition(ConditionType.ADMITTED)).status is ConditionStatus.TRUE


@pytest.mark.parametrize("is_silent", [True, False])
async def test_a_batch_job_without_a_pod_is_told_even_where_its_events_say_nothing(is_silent: bool) -> None:
    world = await assembling(d=Script("None"))
    listing = world.cluster.list

    async def closed(kind: Any, *arguments: Any, **more: Any) -> Any:
        if kind == EVENT and not is_silent:
            raise Forbidden("cannot list events")
        return await listing(kind, *arguments, **more)

    world.cluster.list = closed  # type: ignore[method-assign]
    await world.pass_time(seconds=31)

    told = await tenant(world, "hospital-d")
    assert told.reason == "PodRefused"
    assert "a quota or an admission policy may refuse it; its events say which" in told.message


async def test_a_missing_identity_is_named_with_its_tenant() -> None:
    world = await assembling(c=Script("Pending"))
    (pod,) = await world.cluster.list(POD, "hospital-c")
    await write_event(world, pod, "FailedMount", 'MountVolume.SetUp failed for volume "identity" : secret "coterie-identity" not found')

    await world.pass_time(seconds=20)

    running = await world.condition(ConditionType.RUNNING)
    assert running.reason == "SecretNotFound"
    assert "hospital-c/visits: its Secret coterie-identity does not exist" in running.message


async def test_a_pod_that_nobody_makes_is_told_even_where_its_events_say_nothing() -> None:
    world = await assembling(c=Script("Pending"))

    await world.pass_time(seconds=VOLUME_PATIENCE.seconds + 1)

    told = await tenant(world, "hospital-c")
    assert told.reason == "VolumeNotReady"
    assert "has waited for a node or its volumes for longer than 60 seconds" in told.message


async def test_a_long_pull_is_told_as_one_and_not_as_a_missing_volume() -> None:
    world = await World().start()
    world.scripts["aggregator"] = Script("Pending")
    await world.settle()
    (pod,) = await world.cluster.list(POD, "research")
    ready = {"conditions": [{"type": "PodReadyToStartContainers", "status": "True"}]}
    await world.cluster.patch(POD, "research", pod["metadata"]["name"], {"status": ready}, status=True)

    await world.pass_time(seconds=VOLUME_PATIENCE.seconds + 1)

    running = await world.condition(ConditionType.RUNNING)
    assert running.reason == "Starting"
    assert "has pulled its image for longer than 60 seconds" in running.message


async def test_no_certificate_is_made_again_while_the_model_is_long_in_the_making() -> None:
    world = await World().start()
    world.scripts["aggregator"] = Script("Pending", waiting="PodInitializing")
    await world.settle()
    (pod,) = await world.cluster.list(POD, "research")
    making = {"initContainerStatuses": [{"name": "initialize", "state": {"running": {}}}]}
    await world.cluster.patch(POD, "research", pod["metadata"]["name"], {"status": making}, status=True)
    world.now += SECRET_PATIENCE * 2

    plan = await world.reconcile()

    assert plan.actions == ()


async def test_events_of_what_runs_are_never_read() -> None:
    world = await (await World().start()).until_running()
    asked: list[Any] = []
    listing = world.cluster.list

    async def watched(kind: Any, *arguments: Any, **more: Any) -> Any:
        asked.append(kind)
        return await listing(kind, *arguments, **more)

    world.cluster.list = watched  # type: ignore[method-assign]
    await world.pass_time(hours=1)

    assert EVENT not in asked


async def test_a_stuck_job_is_written_to_no_more_than_once() -> None:
    """Whatever wakes it: for minutes nothing changes, so nothing is written, not even a certificate again and again."""
    world = await World().start()
    world.scripts["aggregator"] = Script("Pending", waiting="ImagePullBackOff", told="registry.example/aggregator: not found")
    await world.settle()
    writes: list[str] = []
    for verb in ("create", "patch", "delete"):
        _count(world, verb, writes)

    for _ in range(60):
        await world.pass_time(seconds=5)

    assert writes == []


def _count(world: World, verb: str, writes: list[str]) -> None:
    real = getattr(world.cluster, verb)

    async def counted(kind: Any, *arguments: Any, **more: Any) -> Any:
        writes.append(f"{verb} {kind.plural}")
        return await real(kind, *arguments, **more)

    setattr(world.cluster, verb, counted)
