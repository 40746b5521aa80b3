"""The batch Job controller of the in-memory cluster; a real cluster runs kube-controller-manager instead."""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from coterie_operator.cluster import BATCH_JOB, EVENT, POD, ApiError, Change, Cluster, Conflict, Forbidden, NotFound, Object
from coterie_operator.local.batchpods import TRACKING
from coterie_operator.local.batchrules import Retry, Verdict, judge
from coterie_operator.local.times import stamp, utc_now

LOG: Final = logging.getLogger(__name__)
UID_LABEL: Final = "batch.kubernetes.io/controller-uid"
REFUSED_SECONDS: Final = 1.0  # before a create that a quota refused is tried again

Key = tuple[str, str]  # namespace and name of a batch Job


@dataclass(slots=True, eq=False)
class BatchController:
    """Brings batch Jobs to their end: level-based, one Job at a time, from what the cluster says at that moment."""

    cluster: Cluster
    retry: Retry = field(default_factory=Retry)
    now: Callable[[], datetime] = utc_now
    _due: dict[Key, None] = field(default_factory=dict)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _timers: dict[Key, asyncio.TimerHandle] = field(default_factory=dict)

    async def run(self) -> None:
        """Run until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch_jobs(), name="batch: jobs")
                group.create_task(self._watch_pods(), name="batch: pods")
                group.create_task(self._work(), name="batch: work")
        finally:
            for timer in self._timers.values():
                timer.cancel()

    def _enqueue(self, key: Key) -> None:
        self._due[key] = None
        self._wake.set()

    async def _watch_jobs(self) -> None:
        async for notice in self.cluster.watch(BATCH_JOB):
            if notice.change is not Change.SYNCED:
                self._enqueue((notice.obj["metadata"]["namespace"], notice.obj["metadata"]["name"]))

    async def _watch_pods(self) -> None:
        async for notice in self.cluster.watch(POD):
            owner = _controller(notice.obj)
            if owner is not None:
                self._enqueue((notice.obj["metadata"]["namespace"], owner["name"]))

    async def _work(self) -> None:
        while True:
            while self._due:
                key = next(iter(self._due))
                del self._due[key]
                await self._sync(key)
            self._wake.clear()
            await self._wake.wait()

    async def _sync(self, key: Key) -> None:
        """Look at one Job and do what is due; an error of the API means another look a little later."""
        try:
            await self._look(*key)
        except Conflict:
            self._enqueue(key)
        except ApiError as error:
            LOG.debug("batch Job %s/%s: %s", *key, error)
            self._look_again(key, REFUSED_SECONDS)

    async def _look(self, namespace: str, name: str) -> None:
        pods = [pod for pod in await self.cluster.list(POD, namespace) if (_controller(pod) or {}).get("name") == name]
        try:
            job = await self.cluster.get(BATCH_JOB, namespace, name)
        except NotFound:
            await self._release(pods)
            return
        uid = job["metadata"]["uid"]
        if "deletionTimestamp" in job["metadata"]:
            await self._release(pods)
            return
        await self._release([pod for pod in pods if _owner_uid(pod) != uid])
        owned = [pod for pod in pods if _owner_uid(pod) == uid]
        await self._enact(job, owned, judge(job, owned, self.now(), self.retry))

    async def _enact(self, job: Object, pods: list[Object], verdict: Verdict) -> None:
        namespace, name = job["metadata"]["namespace"], job["metadata"]["name"]
        if verdict.status != job.get("status"):
            precondition = {"resourceVersion": job["metadata"]["resourceVersion"]}
            body = {"metadata": precondition, "status": _replacing(job.get("status") or {}, verdict.status)}
            await self.cluster.patch(BATCH_JOB, namespace, name, body, status=True)
        await self._release([pod for pod in pods if pod["metadata"]["name"] in verdict.release])
        for pod in pods:
            if pod["metadata"]["name"] in verdict.delete:
                await self.cluster.delete(POD, namespace, pod["metadata"]["name"], uid=pod["metadata"]["uid"])
        for _ in range(verdict.create):
            await self._create(job)
        if verdict.again_seconds is not None:
            self._look_again((namespace, name), max(0.01, verdict.again_seconds))

    async def _create(self, job: Object) -> None:
        """Create a pod; if that is forbidden, say so in the event by which a real Job controller does, and raise Forbidden."""
        try:
            await self.cluster.create(POD, pod_of(job))
        except Forbidden as error:
            event = forbidden_event(job, str(error), stamp(self.now()))
            # Whatever was said before is out of date.
            await self.cluster.delete(EVENT, event["metadata"]["namespace"], event["metadata"]["name"])
            await self.cluster.create(EVENT, event)
            raise

    async def _release(self, pods: list[Object]) -> None:
        """Take the tracking finalizer off pods that are counted, or whose Job is gone."""
        for pod in pods:
            finalizers = pod["metadata"].get("finalizers") or []
            if TRACKING in finalizers:
                kept = [finalizer for finalizer in finalizers if finalizer != TRACKING]
                body: Object = {"metadata": {"uid": pod["metadata"]["uid"], "finalizers": kept or None}}
                try:
                    await self.cluster.patch(POD, pod["metadata"]["namespace"], pod["metadata"]["name"], body)
                except NotFound:
                    continue

    def _look_again(self, key: Key, seconds: float) -> None:
        if key in self._timers:
            self._timers[key].cancel()
        self._timers[key] = asyncio.get_running_loop().call_later(seconds, self._enqueue, key)


def pod_of(job: Object) -> Object:
    """Return a new pod of a batch Job."""
    metadata, template = job["metadata"], copy.deepcopy(job["spec"]["template"])
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": metadata["name"], "uid": metadata["uid"]}
    return {
        "metadata": {
            **template.get("metadata", {}),
            "generateName": f"{metadata['name'][:57]}-",
            "namespace": metadata["namespace"],
            "finalizers": [TRACKING],
            "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
        },
        "spec": template["spec"],
    }


def forbidden_event(job: Object, error: str, now: str) -> Object:
    """Return the event about a batch Job whose pod may not be created."""
    metadata = job["metadata"]
    involved = {"apiVersion": "batch/v1", "kind": "Job", **{part: metadata[part] for part in ("name", "namespace", "uid")}}
    return {
        "metadata": {"name": f"{metadata['name']}.failed-create", "namespace": metadata["namespace"]},
        "involvedObject": involved,
        "type": "Warning",
        "reason": "FailedCreate",
        "message": f"Error creating: {error}",
        "lastTimestamp": now,
    }


def _controller(pod: Object) -> Object | None:
    owners = pod.get("metadata", {}).get("ownerReferences") or ()
    return next((owner for owner in owners if owner.get("controller") and owner["kind"] == "Job"), None)


def _owner_uid(pod: Object) -> str:
    owner = _controller(pod)
    return str(owner["uid"]) if owner else ""


def _replacing(before: dict[str, Any], after: dict[str, Any]) -> Object:
    """Return a merge patch that makes `before` to `after`, member by member."""
    return {**dict.fromkeys(set(before) - set(after)), **after}
