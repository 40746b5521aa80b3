"""Embedded mode: the control plane of one job in this process, over the in-memory cluster, with processes for pods."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from coterie_api.podconfig import Role
from coterie_operator.act.authority import ensure_authority
from coterie_operator.cluster import FEDERATED_DATASET, FEDERATED_JOB, NAMESPACE, Change, Object
from coterie_operator.local.batch import BatchController
from coterie_operator.local.batchrules import Retry
from coterie_operator.local.kubelet import ProcessKubelet
from coterie_operator.local.memory import MemoryCluster
from coterie_operator.local.output import LOGS, PODS, OutputFolder
from coterie_operator.local.podrun import Backoff, Node
from coterie_operator.local.processes import Processes
from coterie_operator.local.times import utc_now
from coterie_operator.local.workspace import Workspace, manifest, objects_of
from coterie_operator.loop.controller import Controller
from coterie_operator.manifests.naming import JobKey, child_name
from coterie_operator.pki import operator_request
from coterie_operator.probe import HttpsProbe
from coterie_operator.settings import ContainerResources, Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

# No limit of the CPU unless the job names one: nothing enforces it here, and clients that compute with as many threads as the
# limit has cores would wait for each other on the cores that they all share.
WORKER_RESOURCES: Final = ContainerResources({"memory": "1Gi"}, {"memory": "4Gi"})
# One machine, one job, a person who waits: look often, wait little.
SETTINGS: Final = replace(
    Settings(),
    worker_resources=WORKER_RESOURCES,
    coalesce_seconds=0.01,
    probe_seconds=2.0,  # the table follows the history's file; each look is a pass over all objects, on cores that clients train on
    retry_seconds=0.2,
    retry_max_seconds=5.0,
    settle_seconds=5.0,
    client_backoff_seconds=1.0,
    client_backoff_max_seconds=10.0,
    assembly_retry_seconds=2.0,
)
RETRY: Final = Retry(0.5, 10.0)
BACKOFF: Final = Backoff(0.5, 10.0)
GRACE_SECONDS: Final = 3.0  # of all pods together when the run ends
WARM_ROLES: Final = frozenset({Role.INITIALIZE, Role.CLIENT, Role.EVALUATOR})  # those that need torch
# Imported once and then forked; names alone, for the control plane knows nothing of the worker's code.
WARM_MODULES: Final = ("torch", "coterie_worker.client.shell", "coterie_worker.training", "coterie_worker.evaluator")


@dataclass(frozen=True, slots=True)
class Embedded:
    """A cluster with one job in it, and the parts that bring the job to its end."""

    cluster: MemoryCluster
    controller: Controller
    batch: BatchController
    kubelet: ProcessKubelet
    output: OutputFolder

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[tuple[asyncio.Task[None], ...]]:
        """Run all parts; at the end no task and no process is left."""
        control = [asyncio.create_task(part, name=name) for name, part in self._control().items()]
        kubelet = asyncio.create_task(self.kubelet.run(), name="kubelet")
        try:
            yield (*control, kubelet)
        finally:
            await _end(control)  # first, so that the ends of pods are not taken for failures
            await _end([kubelet])

    def _control(self) -> dict[str, Any]:
        return {"controller": self.controller.run(), "batch jobs": self.batch.run(), "events": self._relay()}

    async def _relay(self) -> None:
        """Tell the controller of changes, as the handlers do on a cluster."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._jobs())
            group.create_task(self._datasets())
            group.create_task(self._namespaces())

    async def _jobs(self) -> None:
        async for notice in self.cluster.watch(FEDERATED_JOB):
            if notice.change is not Change.SYNCED:
                self.controller.enqueue((notice.obj["metadata"]["namespace"], notice.obj["metadata"]["name"]))

    async def _datasets(self) -> None:
        async for notice in self.cluster.watch(FEDERATED_DATASET):
            if notice.change is not Change.SYNCED:
                key = (notice.obj["metadata"]["namespace"], notice.obj["metadata"]["name"])
                self.controller.dataset_changed(key)
                self.controller.related(*key)

    async def _namespaces(self) -> None:
        async for notice in self.cluster.watch(NAMESPACE):
            if notice.change is not Change.SYNCED:
                self.controller.related(notice.obj["metadata"]["name"])

    def checkpoint(self, job: Object) -> Path:
        """Return the folder of the job's checkpoint, which the aggregator writes."""
        metadata = job["metadata"]
        key = JobKey(metadata["namespace"], metadata["name"], metadata["uid"])
        return self.output.claim(metadata["namespace"], child_name(key, Role.AGGREGATOR))


def new_processes() -> Processes:
    """Return what pods are started with. Torch is forked on Linux alone; elsewhere a fork of it is not sound."""
    return Processes(WARM_MODULES if sys.platform == "linux" else ())


async def assemble(workspace: Workspace, output: OutputFolder, processes: Processes) -> tuple[Embedded, Object]:
    """Make a cluster that holds what the workspace does, and return it with the job as it was stored."""
    cluster = MemoryCluster()
    await _ensure_namespace(cluster, SETTINGS.namespace)
    for kind, obj in objects_of(workspace):
        if kind == NAMESPACE:
            await _ensure_namespace(cluster, obj["metadata"]["name"], obj)
        else:
            await cluster.create(kind, obj)
    for dataset in workspace.datasets:
        await cluster.create(FEDERATED_DATASET, manifest(dataset))
    job = await cluster.create(FEDERATED_JOB, manifest(workspace.job))
    authority = await ensure_authority(cluster, SETTINGS, utc_now())
    identity = authority.issue(operator_request(), utc_now(), SETTINGS.certificate_days)
    controller = Controller(cluster, HttpsProbe(identity, SETTINGS.probe_timeout_seconds), SETTINGS, authority)
    node = Node(
        cluster=cluster,
        processes=processes,
        logs=output.path / LOGS,
        python_path=(str(workspace.folder), *_own_path()),
        backoff=BACKOFF,
        is_warm=is_warm,
        grace_limit_seconds=GRACE_SECONDS,
    )

    def folder(namespace: str, claim: str) -> Path:
        return workspace.claim_folder(namespace, claim) or output.claim(namespace, claim)

    kubelet = ProcessKubelet(node, output.path / PODS, folder)
    return Embedded(cluster, controller, BatchController(cluster, RETRY), kubelet, output), job


def is_warm(container: Object) -> bool:
    """Whether a container runs a role that needs torch, and so is forked from the interpreter that has it."""
    return container.get("command") == ["python", "-m", "coterie_worker"] and container["name"] in WARM_ROLES


def _own_path() -> list[str]:
    """Return the import path that this process was given besides its own installation."""
    return [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]


async def _ensure_namespace(cluster: MemoryCluster, name: str, obj: Object | None = None) -> None:
    if name not in [space["metadata"]["name"] for space in await cluster.list(NAMESPACE)]:
        await cluster.create(NAMESPACE, obj or {"metadata": {"name": name}})


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
