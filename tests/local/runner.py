"""A memory cluster with a process kubelet for tests, and what they wait for."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coterie_operator.cluster import CLAIM, NAMESPACE, POD, Cluster, NotFound, Object
from coterie_operator.local.batch import BatchController
from coterie_operator.local.batchrules import Retry
from coterie_operator.local.kubelet import OURS, ProcessKubelet
from coterie_operator.local.memory import MemoryCluster
from coterie_operator.local.podrun import Backoff, Node
from coterie_operator.local.processes import Processes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

PATIENCE_SECONDS = 30.0


async def wait_for(holds: Callable[[], Awaitable[Any]], what: str, seconds: float = PATIENCE_SECONDS) -> Any:
    """Wait until `holds` returns something true, and return it."""
    end = time.monotonic() + seconds
    while not (found := await holds()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        await asyncio.sleep(0.02)
    return found


@dataclass
class Rig:
    cluster: Cluster
    kubelet: ProcessKubelet
    folder: Path

    async def apply(self, spec: Object, name: str = "one", namespace: str = "tenant", **metadata: Any) -> Object:
        labels = {**OURS, **metadata.pop("labels", {})}
        return await self.cluster.create(
            POD, {"metadata": {"name": name, "namespace": namespace, "labels": labels, **metadata}, "spec": spec}
        )

    async def pod(self, name: str = "one", namespace: str = "tenant") -> Object | None:
        try:
            return await self.cluster.get(POD, namespace, name)
        except NotFound:
            return None

    async def phase(self, *phases: str, name: str = "one") -> Object:
        """Wait until the pod is in one of the phases, and return it."""

        async def reached() -> Object | None:
            pod = await self.pod(name)
            return pod if pod and pod["status"]["phase"] in phases else None

        try:
            return await wait_for(reached, f"pod {name} is {phases}")
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {await self.pod(name)}") from None

    async def ended(self, name: str = "one") -> Object:
        return await self.phase("Succeeded", "Failed", name=name)

    def log(self, container: str = "main", number: int = 0, name: str = "one", namespace: str = "tenant") -> str:
        return (self.folder / "logs" / f"{namespace}_{name}" / f"{container}.{number}.log").read_text()

    def claim(self, name: str, namespace: str = "tenant") -> Path:
        return self.folder / "claims" / namespace / name


@contextlib.asynccontextmanager
async def rig(folder: Path, **node: Any) -> AsyncIterator[Rig]:
    """Run a kubelet over a memory cluster with one tenant's namespace and one claim in it."""
    cluster = MemoryCluster()
    await cluster.create(NAMESPACE, {"metadata": {"name": "tenant"}})
    await cluster.create(CLAIM, {"metadata": {"name": "claim", "namespace": "tenant"}, "spec": {}})

    def claims(namespace: str, name: str) -> Path:
        path = folder / "claims" / namespace / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    options = {"backoff": Backoff(0.02, 0.1), **node}
    kubelet = ProcessKubelet(Node(cluster, Processes(), folder / "logs", **options), folder / "kubelet", claims)
    batch = BatchController(cluster, Retry(0.02, 0.1))
    tasks = [asyncio.create_task(part.run()) for part in (kubelet, batch)]
    try:
        yield Rig(cluster, kubelet, folder)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def container(script: str, name: str = "main", **more: Any) -> Object:
    """A container that runs a shell script."""
    return {"name": name, "image": "ignored:1", "command": ["sh", "-c", script], **more}


def python(script: str, name: str = "main", **more: Any) -> Object:
    """A container that runs a Python script."""
    return {"name": name, "image": "ignored:1", "command": ["python", "-c", script], **more}


def once(*containers: Object, **more: Any) -> Object:
    """A pod's spec that never restarts."""
    return {"restartPolicy": "Never", "containers": list(containers), "terminationGracePeriodSeconds": 2, **more}
