"""Jobs in embedded mode, which stays up after their ends as an operator does, and where Prometheus finds its parts."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from coterie_api.names import LABEL_JOB_NAME, LABEL_JOB_NAMESPACE, LABEL_ROLE, PORT_METRICS
from coterie_api.podconfig import Role
from coterie_operator.cluster import FEDERATED_JOB, POD
from coterie_operator.local.embedded import Embedded, assemble, new_processes
from coterie_operator.local.exposition import Exposition
from coterie_operator.local.output import OutputFolder
from coterie_operator.local.workspace import Workspace, manifest, open_workspace
from coterie_operator.metrics import RequestMetrics
from monitoring.live.requests import count_requests

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import TracebackType

    from coterie_operator.cluster import Object
    from coterie_operator.local.memory import MemoryCluster

LOOK_SECONDS: Final = 0.25
START_SECONDS: Final = 60


@dataclass(slots=True)
class Federation:
    """One job of an example, and whatever is applied later; entered, it runs in a thread of its own.

    Attributes:
      folder: where outputs, logs and the list of aggregators go.
      example: the folder of its manifests.
      rounds: of the first job, in place of the example's own.
    """

    folder: Path
    example: Path
    rounds: int
    operator: str = ""  # where it is scraped, host:port
    embedded: Embedded | None = None
    _workspace: Workspace | None = None
    _thread: threading.Thread | None = None
    _loop: asyncio.AbstractEventLoop | None = None
    _end: asyncio.Event | None = None
    _is_ready: threading.Event = field(default_factory=threading.Event)
    _failures: list[BaseException] = field(default_factory=list)

    @property
    def aggregators(self) -> Path:
        """The file in which Prometheus finds aggregators, labeled as the chart's PodMonitor labels them."""
        return self.folder / "aggregators.json"

    def __enter__(self) -> Self:
        self.aggregators.write_text("[]")
        self._thread = threading.Thread(target=self._work, name="federation")
        self._thread.start()
        if not self._is_ready.wait(START_SECONDS):
            raise TimeoutError(f"the federation didn't start within {START_SECONDS} s")
        self.check()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._loop is not None and self._end is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._end.set)
        if self._thread is not None:
            self._thread.join()
        if error is None:
            self.check()

    def check(self) -> None:
        """Raise what has ended the federation before its time."""
        if self._failures:
            raise self._failures[0]

    def apply(self, name: str, **spec: Any) -> None:
        """Create another job like the example's, with some fields of its spec replaced."""
        assert self._workspace is not None
        job = manifest(self._workspace.job)
        output = {**job["spec"]["output"], "path": name}
        job = {**job, "metadata": {**job["metadata"], "name": name}, "spec": {**job["spec"], "output": output, **spec}}
        self._do(self._cluster.create(FEDERATED_JOB, job))

    def job(self, name: str) -> Object:
        """Return a job as it is now. Raises NotFound."""
        found: Object = self._do(self._cluster.get(FEDERATED_JOB, self._namespace, name))
        return found

    def delete(self, name: str) -> None:
        """Delete a job."""
        self._do(self._cluster.delete(FEDERATED_JOB, self._namespace, name))

    def kill(self, role: Role, job: str, number: int = 0) -> None:
        """Delete a pod of a running job, as a node that goes takes it away."""
        labels = {LABEL_JOB_NAME: job, LABEL_ROLE: role.value}
        pods = sorted(self._do(self._cluster.list(POD, None, labels)), key=lambda pod: str(pod["metadata"]["namespace"]))
        metadata = pods[number]["metadata"]
        self._do(self._cluster.delete(POD, metadata["namespace"], metadata["name"]))

    @property
    def _cluster(self) -> MemoryCluster:
        assert self.embedded is not None
        return self.embedded.cluster

    @property
    def _namespace(self) -> str:
        assert self._workspace is not None
        return self._workspace.job.metadata.namespace

    def _do(self, call: Coroutine[Any, Any, Any]) -> Any:
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(call, self._loop).result(START_SECONDS)

    def _work(self) -> None:
        try:
            asyncio.run(self._run())
        except BaseException as error:  # noqa: BLE001 - the thread that waits raises it
            self._failures.append(error)
        finally:
            self._is_ready.set()

    async def _run(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        found = open_workspace(self.example, {})
        self._workspace = replace(found, job=replace(found.job, spec=replace(found.job.spec, rounds=self.rounds)))
        processes = new_processes()
        output = OutputFolder.take(self.folder / "output", overwrite=False)
        try:
            await processes.open()
            self.embedded, _ = await assemble(self._workspace, output, processes)
            await self._serve(self.embedded)
        finally:
            await processes.close()
            output.release()

    async def _serve(self, embedded: Embedded) -> None:
        registry = embedded.controller.metrics.registry
        requests = RequestMetrics()
        requests.register(registry)
        count_requests(embedded.cluster, requests)
        with Exposition(registry) as exposition:
            self.operator = address(exposition)
            async with embedded.running() as parts:
                self._is_ready.set()
                await self._until_the_end(parts)

    async def _until_the_end(self, parts: tuple[asyncio.Task[None], ...]) -> None:
        assert self._end is not None
        while not self._end.is_set():
            for part in parts:
                if part.done():
                    part.result()
                    raise RuntimeError(f"{part.get_name()} has ended")
            self._list_aggregators(await self._cluster.list(POD, None, {LABEL_ROLE: Role.AGGREGATOR.value}))
            await asyncio.sleep(LOOK_SECONDS)

    def _list_aggregators(self, pods: list[Object]) -> None:
        found = [_target(pod) for pod in pods if pod.get("status", {}).get("phase") == "Running"]
        text = json.dumps(found)
        if text != self.aggregators.read_text():
            draft = self.aggregators.with_suffix(".new")
            draft.write_text(text)
            draft.replace(self.aggregators)


def address(exposition: Exposition) -> str:
    """Return where Prometheus finds it."""
    return exposition.url.removeprefix("http://").removesuffix("/metrics")


def _target(pod: Object) -> dict[str, Any]:
    labels = pod["metadata"]["labels"]
    named = {"job_namespace": labels[LABEL_JOB_NAMESPACE], "job_name": labels[LABEL_JOB_NAME], "pod": pod["metadata"]["name"]}
    return {"targets": [f"{pod['status']['podIP']}:{PORT_METRICS}"], "labels": named}
