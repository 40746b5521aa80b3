"""The process kubelet: runs the pods of a cluster, in memory or real, as local processes.

It is a node without a scheduler: every pending pod that carries the label and is bound to no node is run here. It claims what
the operator relies on: files at the mount paths, variables, init containers, sidecars, restarts, phases, exit statuses,
termination messages, deletion with grace, names of Services. It does not isolate: no images, no cgroups, no network policies,
read-only mounts are not enforced.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from coterie_api.names import MANAGED_BY
from coterie_operator.cluster import POD, SERVICE, Change, Cluster, Notice, Object
from coterie_operator.local.hosts import hosts_text, write_hosts
from coterie_operator.local.podfiles import ClaimFolder, PodFolder
from coterie_operator.local.podrun import Node, PodRun

LOG: Final = logging.getLogger(__name__)
OURS: Final[Mapping[str, str]] = {"app.kubernetes.io/managed-by": MANAGED_BY}


@dataclass(slots=True, eq=False)
class ProcessKubelet:
    """Runs pods until `run` is cancelled; then none of their processes is left."""

    node: Node
    folder: Path  # of the pods' files
    claims: ClaimFolder
    labels: Mapping[str, str] = field(default_factory=lambda: OURS)
    _runs: dict[str, tuple[PodRun, asyncio.Task[None]]] = field(default_factory=dict)
    _ended: set[str] = field(default_factory=set)  # uids of pods that have run and still exist
    _pods: dict[str, Object] = field(default_factory=dict)
    _services: dict[str, Object] = field(default_factory=dict)
    _addresses: set[str] = field(default_factory=set)

    @property
    def cluster(self) -> Cluster:
        return self.node.cluster

    async def run(self) -> None:
        """Run pods until cancelled."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._write_hosts()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch_pods(), name="kubelet: pods")
                group.create_task(self._watch_services(), name="kubelet: services")
        finally:
            await self._end_all()

    async def _end_all(self) -> None:
        tasks = [task for _, task in self._runs.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.node.processes.close()

    async def _watch_services(self) -> None:
        async for notice in self.cluster.watch(SERVICE):
            if notice.change is not Change.SYNCED:
                _remember(self._services, notice)
                self._write_hosts()

    async def _watch_pods(self) -> None:
        async for notice in self.cluster.watch(POD, None, self.labels):
            if notice.change is not Change.SYNCED:
                _remember(self._pods, notice)
                self._write_hosts()
                await self._heed(notice)

    def _write_hosts(self) -> None:
        write_hosts(self.folder / "hosts", hosts_text(self._services.values(), self._pods.values()))

    async def _heed(self, notice: Notice) -> None:
        """Start, stop or forget the pod that a notice is about."""
        pod, uid = notice.obj, notice.obj["metadata"]["uid"]
        is_going = notice.change is Change.DELETED or "deletionTimestamp" in pod["metadata"]
        phase = pod.get("status", {}).get("phase", "Pending")
        if notice.change is Change.DELETED:
            self._ended.discard(uid)
        if uid in self._runs:
            if is_going:
                self._runs[uid][0].stop()
        elif notice.change is Change.DELETED or uid in self._ended or phase in {"Succeeded", "Failed"} or pod["spec"].get("nodeName"):
            return
        elif is_going or phase != "Pending":
            await self._lose(pod)
        else:
            self._start(pod, uid)

    def _start(self, pod: Object, uid: str) -> None:
        run = PodRun(pod, self._address(uid), self._pod_folder(uid), self.node)
        task = asyncio.create_task(run.run(), name=f"pod {run.namespace}/{run.name}")
        task.add_done_callback(lambda done: self._forget(uid, run, done))
        self._runs[uid] = (run, task)

    def _pod_folder(self, uid: str) -> PodFolder:
        return PodFolder(self.folder / "pods" / hashlib.sha256(uid.encode()).hexdigest()[:16], self.folder / "hosts", self.claims)

    def _forget(self, uid: str, run: PodRun, task: asyncio.Task[None]) -> None:
        self._addresses.discard(run.ip)
        run.folder.remove()
        self._runs.pop(uid, None)
        if uid in self._pods:
            self._ended.add(uid)
        if not task.cancelled() and (error := task.exception()) is not None:
            LOG.error("pod %s/%s can't be run", run.namespace, run.name, exc_info=error)

    def _address(self, uid: str) -> str:
        """Return a loopback address of the pod's own, from its uid, so that two runners on one machine hardly ever meet."""
        for attempt in range(1000):
            one, two, three = hashlib.sha256(f"{uid}/{attempt}".encode()).digest()[:3]
            address = f"127.{one % 254 + 1}.{two}.{three % 254 + 1}"
            if address not in self._addresses:
                self._addresses.add(address)
                return address
        raise RuntimeError(f"no loopback address is free: {len(self._addresses)} are in use")

    async def _lose(self, pod: Object) -> None:
        """Report the end of a pod that another life of this runner had started, and remove it if it is to go."""
        run = PodRun(pod, pod.get("status", {}).get("podIP", ""), self._pod_folder(pod["metadata"]["uid"]), self.node)
        await run.lose()


def _remember(objects: dict[str, Object], notice: Notice) -> None:
    uid = notice.obj["metadata"]["uid"]
    if notice.change is Change.DELETED:
        objects.pop(uid, None)
    else:
        objects[uid] = notice.obj
