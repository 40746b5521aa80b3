from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.local.runner import Rig, container, once, rig, wait_for

from coterie_operator.cluster import BATCH_JOB, NAMESPACE, POD, Object
from coterie_operator.local.kubelet import OURS

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.local


@pytest.fixture
async def node(tmp_path: Path):
    async with rig(tmp_path) as running:
        yield running


async def apply(node: Rig, spec: Object, **more) -> Object:
    template = {"metadata": {"labels": dict(OURS)}, "spec": spec}
    metadata = {"name": "job", "namespace": "tenant", "labels": dict(OURS)}
    return await node.cluster.create(BATCH_JOB, {"metadata": metadata, "spec": {"backoffLimit": 2, "template": template, **more}})


async def finished(node: Rig) -> Object:
    async def reached() -> Object | None:
        job = await node.cluster.get(BATCH_JOB, "tenant", "job")
        return job if conditions(job).keys() & {"Complete", "Failed"} else None

    return await wait_for(reached, "the batch Job is finished")


async def active_pods(node: Rig) -> list[Object]:
    return [pod for pod in await node.cluster.list(POD, "tenant") if pod["status"]["phase"] == "Running"]


def conditions(job: Object) -> dict[str, str]:
    return {c["type"]: c["reason"] for c in job["status"].get("conditions", []) if c["status"] == "True"}


POLICY = {"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [64]}}]}
CLAIM_MOUNT = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
CLAIM_VOLUME = [{"name": "v", "persistentVolumeClaim": {"claimName": "claim"}}]


async def test_a_job_runs_its_pod_and_completes(node: Rig) -> None:
    await apply(node, once(container("true")))
    job = await finished(node)
    pods = await node.cluster.list(POD, "tenant")

    assert conditions(job)["Complete"] == "CompletionsReached"
    assert job["status"]["succeeded"] == 1
    assert [pod["metadata"].get("finalizers") for pod in pods] == [None]


async def test_a_job_retries_until_it_succeeds(node: Rig) -> None:
    script = 'cd "$COTERIE_ROOT/v"; echo x >> starts; [ "$(wc -l < starts)" -ge 3 ]'
    await apply(node, once(container(script, **CLAIM_MOUNT), volumes=CLAIM_VOLUME))
    job = await finished(node)

    assert (job["status"]["succeeded"], job["status"]["failed"]) == (1, 2)


async def test_a_job_gives_up_after_its_backoff_limit(node: Rig) -> None:
    await apply(node, once(container("exit 70")))
    job = await finished(node)

    assert conditions(job)["Failed"] == "BackoffLimitExceeded"
    assert job["status"]["failed"] == 3


async def test_a_terminal_exit_status_is_not_retried(node: Rig) -> None:
    await apply(node, once(container("exit 64")), podFailurePolicy=POLICY)
    job = await finished(node)

    assert conditions(job)["Failed"] == "PodFailurePolicy"
    assert len(await node.cluster.list(POD, "tenant")) == 1


async def test_a_terminal_exit_status_of_an_init_container_is_not_retried(node: Rig) -> None:
    await apply(node, once(container("true"), initContainers=[container("exit 64", "init")]), podFailurePolicy=POLICY)

    assert conditions(await finished(node))["Failed"] == "PodFailurePolicy"


async def test_a_deleted_pod_is_replaced_only_once_it_has_ended(node: Rig) -> None:
    script = (
        'cd "$COTERIE_ROOT/v"; [ -e alive ] && echo overlap >> log; touch alive; trap "rm alive; exit 1" TERM; while :; do sleep 0.02; done'
    )
    await apply(node, once(container(script, **CLAIM_MOUNT), volumes=CLAIM_VOLUME), podFailurePolicy=POLICY)

    async def is_alive() -> bool:
        return (node.claim("claim") / "alive").exists() and bool(await active_pods(node))

    await wait_for(is_alive, "the first pod works")
    [first] = await active_pods(node)
    await node.cluster.delete(POD, "tenant", first["metadata"]["name"])

    async def is_replaced() -> bool:
        uids = [pod["metadata"]["uid"] for pod in await active_pods(node)]
        return len(uids) == 1 and uids != [first["metadata"]["uid"]] and await is_alive()

    await wait_for(is_replaced, "another pod works")
    assert not (node.claim("claim") / "log").exists()


async def test_a_job_past_its_deadline_fails_and_its_pod_ends(node: Rig) -> None:
    await apply(node, once(container("sleep 60")), activeDeadlineSeconds=1, podFailurePolicy=POLICY)
    job = await finished(node)

    assert conditions(job)["Failed"] == "DeadlineExceeded"
    assert await active_pods(node) == []


async def test_a_deleted_job_leaves_nothing(node: Rig) -> None:
    await apply(node, once(container("sleep 60")), podFailurePolicy=POLICY)

    async def runs() -> list[Object]:
        return await active_pods(node)

    await wait_for(runs, "the pod runs")
    await node.cluster.delete(BATCH_JOB, "tenant", "job")

    async def is_empty() -> bool:
        return not await node.cluster.list(POD, "tenant") and not await node.cluster.list(BATCH_JOB, "tenant")

    await wait_for(is_empty, "Job and pod are gone")


async def test_a_deleted_namespace_leaves_nothing(node: Rig) -> None:
    await apply(node, once(container("sleep 60")), podFailurePolicy=POLICY)

    async def runs() -> list[Object]:
        return await active_pods(node)

    await wait_for(runs, "the pod runs")
    await node.cluster.delete(NAMESPACE, "", "tenant")

    async def is_gone() -> bool:
        return "tenant" not in [space["metadata"]["name"] for space in await node.cluster.list(NAMESPACE)]

    await wait_for(is_gone, "the namespace is gone")


async def test_suspending_a_job_ends_its_pod_and_resuming_starts_another(node: Rig) -> None:
    await apply(node, once(container("sleep 60")), podFailurePolicy=POLICY)

    async def runs() -> list[Object]:
        return await active_pods(node)

    await wait_for(runs, "the pod runs")
    await node.cluster.patch(BATCH_JOB, "tenant", "job", {"spec": {"suspend": True}})

    async def rests() -> bool:
        job = await node.cluster.get(BATCH_JOB, "tenant", "job")
        return "Suspended" in conditions(job) and not await active_pods(node)

    await wait_for(rests, "the Job rests")
    await node.cluster.patch(BATCH_JOB, "tenant", "job", {"spec": {"suspend": False}})
    await wait_for(runs, "a pod runs again")
