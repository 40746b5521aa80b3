"""A small world: the in-memory cluster, a clock that is moved by hand, and pods that do what the test says, all without waiting."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from tests.unit.coterie_operator import builders

from coterie_api.progress import Progress
from coterie_api.v1alpha1.conditions import ConditionType, find_condition
from coterie_operator.act import NotLeader
from coterie_operator.cluster import (
    BATCH_JOB,
    CLAIM,
    CONFIG_MAP,
    FEDERATED_DATASET,
    FEDERATED_JOB,
    NAMESPACE,
    NETWORK_POLICY,
    POD,
    SECRET,
    SERVICE,
    Conflict,
    Kind,
    NotFound,
    Object,
)
from coterie_operator.core.actions import CreateCertificate
from coterie_operator.core.observed import Job, stamp
from coterie_operator.local.memory import MemoryCluster
from coterie_operator.loop import Controller
from coterie_operator.observe import read_job
from coterie_operator.pki import Authority
from coterie_operator.settings import Settings

if TYPE_CHECKING:
    from coterie_api.v1alpha1.types import Condition
    from coterie_operator.core.actions import Plan

CHILD_KINDS = (BATCH_JOB, POD, CONFIG_MAP, NETWORK_POLICY, SERVICE, CLAIM, SECRET)
STANDING = (BATCH_JOB, CLAIM, CONFIG_MAP, NETWORK_POLICY, SERVICE)  # what a running job has all the time
AUTHORITY = Authority.create(builders.START)
ALONE = Progress(rounds=10, phase="Assembling", connected=1)
RUNNING = Progress(rounds_done=3, rounds=10, phase="Training", connected=5, cohort=5, survivors=5, slot=4, accuracy=0.9, loss=0.3)


@dataclass
class Script:
    """What the pods of a role do."""

    phase: str = "Running"  # None (no pod comes) | Pending | Running | Succeeded | Failed
    exit_code: int = 0
    word: dict[str, Any] | None = None  # termination message
    container: str = ""  # which container speaks; the role's if empty
    waiting: str = "ContainerCreating"  # why, while Pending
    told: str = ""  # the kubelet's words to that
    reason: str = ""  # the kubelet's, of an end


@dataclass
class World:
    """Everything of one test."""

    now: datetime = builders.START
    progress: Progress | None = None
    scripts: dict[str, Script] = field(default_factory=dict)  # by `role` or `role/namespace`
    settings: Settings = field(default_factory=Settings)
    leads: Callable[[], bool] = lambda: True

    def __post_init__(self) -> None:
        self.cluster = MemoryCluster(now=lambda: self.now)
        self.controller = self.another_controller()

    def another_controller(self) -> Controller:
        """Return an operator without memory, as after a restart."""
        return Controller(self.cluster, self, self.settings, AUTHORITY, clock=lambda: self.now, is_leader=self.leads)

    # The probe.
    async def status(self, host: str, server_name: str) -> Progress | None:
        return self.progress

    async def close(self) -> None:
        return None

    async def start(self, job: Object | None = None, tenants: int = 5, **datasets: Object) -> World:
        """Create namespaces, data sets and the job; `hospital_a=None` leaves one out."""
        names = builders.TENANTS[:tenants]
        for name in (builders.JOB_NAMESPACE, *names):
            await self.cluster.create(NAMESPACE, {"metadata": {"name": name}})
        for name in names:
            chosen = datasets.get(name.replace("-", "_"), builders.dataset(name))
            if chosen is not None:
                await self.cluster.create(FEDERATED_DATASET, chosen)
        await self.cluster.create(FEDERATED_JOB, job or builders.job(tenants))
        return self

    async def reconcile(self, controller: Controller | None = None) -> Plan:
        """Make one pass."""
        who = controller or self.controller
        who._probe._read.clear()  # the pace of probing is tested elsewhere
        return await who.process(builders.JOB)

    async def settle(self, steps: int = 40) -> int:
        """Let operator and pods act in turn until neither has anything to do; returns how many passes that took."""
        for step in range(steps):
            try:
                plan = await self.reconcile()
            except Conflict:
                continue
            moved = await self.pods()
            if plan.status is None and not moved and all(isinstance(action, CreateCertificate) for action in plan.actions):
                return step
        raise AssertionError(f"not settled after {steps} passes: {plan}")

    async def pass_time(self, **delta: float) -> None:
        """Move the clock and let everything settle."""
        self.now += timedelta(**delta)
        await self.settle()

    async def until_running(self) -> World:
        """Bring the job to the middle of its rounds."""
        await self.settle()
        self.progress = RUNNING
        await self.settle()
        assert self.true(await self.job(), ConditionType.RUNNING)
        return self

    async def job(self) -> Job:
        return read_job(await self.cluster.get(FEDERATED_JOB, *builders.JOB))

    async def exists(self) -> bool:
        try:
            await self.job()
        except NotFound:
            return False
        return True

    async def condition(self, kind: ConditionType) -> Condition:
        found = find_condition((await self.job()).status.conditions, kind)
        assert found is not None, f"no condition {kind}"
        return found

    @staticmethod
    def true(job: Job, kind: ConditionType) -> bool:
        found = find_condition(job.status.conditions, kind)
        return found is not None and found.is_true

    async def children(self, *kinds: Kind) -> list[Object]:
        """Return all children in all namespaces."""
        found = [obj for kind in kinds or CHILD_KINDS for obj in await self.cluster.list(kind)]
        return [obj for obj in found if (obj["metadata"].get("labels") or {}).get("app.kubernetes.io/managed-by") == "coterie"]

    async def names(self, *kinds: Kind) -> set[tuple[str, str, str]]:
        """Return kind, namespace and name of all children."""
        return {(obj["kind"], obj["metadata"]["namespace"], obj["metadata"]["name"]) for obj in await self.children(*kinds)}

    async def clients(self) -> dict[str, Object]:
        """Return the clients' batch Jobs by namespace."""
        jobs = [obj for obj in await self.children(BATCH_JOB) if obj["metadata"]["labels"]["coterie.dev/role"] == "client"]
        found = {obj["metadata"]["namespace"]: obj for obj in jobs}
        assert len(found) == len(jobs), "two batch Jobs for one tenant"
        return found

    async def aggregators(self) -> list[Object]:
        return [obj for obj in await self.children(BATCH_JOB) if obj["metadata"]["labels"]["coterie.dev/role"] == "aggregator"]

    # Batch Jobs and pods.
    async def pods(self) -> bool:
        """Do what the batch Job controller and the kubelets would do; tells whether anything changed."""
        moved = False
        for job in await self.children(BATCH_JOB):
            if not any(entry["type"] in ("Complete", "Failed") for entry in (job.get("status") or {}).get("conditions") or ()):
                moved |= await self._step(job)
        return moved

    async def _step(self, job: Object) -> bool:
        meta = job["metadata"]
        owned = [
            pod for pod in await self.cluster.list(POD, meta["namespace"]) if pod["metadata"]["ownerReferences"][0]["uid"] == meta["uid"]
        ]
        live = [pod for pod in owned if (pod.get("status") or {}).get("phase") not in ("Failed", "Succeeded")]
        failed = [pod for pod in owned if (pod.get("status") or {}).get("phase") == "Failed"]
        script = self._script(job)
        if script.phase == "None":
            return False
        if not live and len(failed) <= job["spec"]["backoffLimit"]:
            await self._create_pod(job, len(owned))
            return True
        moved = False
        for pod in live:
            moved |= await self._play(job, pod, script, len(failed))
        return moved

    def _script(self, job: Object) -> Script:
        role = job["metadata"]["labels"]["coterie.dev/role"]
        return self.scripts.get(f"{role}/{job['metadata']['namespace']}") or self.scripts.get(role) or Script()

    async def _create_pod(self, job: Object, number: int) -> None:
        meta = job["metadata"]
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": meta["name"], "uid": meta["uid"], "controller": True}
        template = job["spec"]["template"]
        metadata = {
            "name": f"{meta['name']}-{number}",
            "namespace": meta["namespace"],
            "labels": template["metadata"]["labels"],
            "ownerReferences": [owner],
        }
        await self.cluster.create(POD, {"metadata": metadata, "spec": template["spec"]})

    async def _play(self, job: Object, pod: Object, script: Script, failed: int) -> bool:
        status = _pod_status(job, script)
        meta = pod["metadata"]
        before = pod.get("status") or {}
        if all(before.get(key) == value for key, value in status.items()):
            return False
        await self.cluster.patch(POD, meta["namespace"], meta["name"], {"status": status}, status=True)
        if script.phase == "Succeeded":
            await self._end(job, "Complete", "CompletionsReached")
        elif script.phase == "Failed" and script.exit_code == 64:
            await self._end(job, "Failed", "PodFailurePolicy")
        elif script.phase == "Failed" and failed >= job["spec"]["backoffLimit"]:
            await self._end(job, "Failed", "BackoffLimitExceeded")
        return True

    async def _end(self, job: Object, kind: str, reason: str) -> None:
        meta = job["metadata"]
        condition = {"type": kind, "status": "True", "reason": reason, "lastTransitionTime": stamp(self.now)}
        await self.cluster.patch(BATCH_JOB, meta["namespace"], meta["name"], {"status": {"conditions": [condition]}}, status=True)


def _pod_status(job: Object, script: Script) -> Object:
    role = job["metadata"]["labels"]["coterie.dev/role"]
    message = json.dumps(script.word) if script.word is not None else ""
    reason = script.reason or ("Error" if script.exit_code else "Completed")
    ended = {"terminated": {"exitCode": script.exit_code, "reason": reason, "message": message}}
    state: Object = (
        {"running": {}}
        if script.phase == "Running"
        else ended
        if script.phase in ("Failed", "Succeeded")
        else {"waiting": {"reason": script.waiting, "message": script.told}}
    )
    speaker = script.container or role
    status: Object = {"phase": script.phase, "podIP": "" if script.phase == "Pending" else "127.0.0.9"}
    if role == "aggregator":
        first = ended if speaker == "initialize" else {"terminated": {"exitCode": 0}}
        status["initContainerStatuses"] = [{"name": "initialize", "state": {"waiting": {}} if script.phase == "Pending" else first}]
    if speaker != "initialize":
        status["containerStatuses"] = [{"name": role, "image": f"registry.example/{role}", "state": state}]
    return status


__all__ = ["ALONE", "RUNNING", "NotLeader", "Script", "World"]
