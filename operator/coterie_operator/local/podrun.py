"""One pod's life: files, init containers in order, sidecars, main containers, the end. What a kubelet's pod worker does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from coterie_api.names import ENV_ROOT
from coterie_operator.cluster import POD, Cluster, Conflict, Invalid, NotFound, Object, Unavailable
from coterie_operator.local.insist import insist
from coterie_operator.local.podenv import ConfigError, PodFacts, argv, environment
from coterie_operator.local.podfiles import PodFolder, containers_of, read_termination
from coterie_operator.local.podstatus import FINAL, START_FAILED, ContainerState, Phase, PodState, new_state, terminated, waiting
from coterie_operator.local.processes import Command, Process, Processes, StartRefused
from coterie_operator.local.references import Objects
from coterie_operator.local.times import stamp, utc_now

# A container sees these of the runner's own environment; anything else could carry secrets or change what it computes.
PASSED_ON: Final = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "SSL_CERT_FILE")
RETRY_SECONDS: Final = 0.2  # between attempts to make a pod's files, whose ConfigMaps and Secrets may come after it
LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds before the next start of a container that ended: `first` · 2ⁿ, at most `limit`. A kubelet's are 10 and 300."""

    first: float = 10.0
    limit: float = 300.0

    def seconds(self, restarts: int) -> float:
        """Return the wait after so many restarts."""
        return min(self.limit, self.first * 2.0 ** min(restarts, 30))


@dataclass(frozen=True, slots=True)
class Node:
    """What all pods of a runner share."""

    cluster: Cluster
    processes: Processes
    logs: Path
    python_path: tuple[str, ...] = ()
    backoff: Backoff = Backoff()
    is_warm: Callable[[Object], bool] = lambda _: False  # which containers are forked from the warm interpreter
    grace_limit_seconds: float = 30.0  # no pod gets more, whatever it asks for


@dataclass(slots=True, eq=False)
class PodRun:
    """Runs one pod until it ends or is stopped, and reports its status."""

    pod: Object
    ip: str
    folder: PodFolder
    node: Node
    state: PodState = field(init=False)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _reporting: asyncio.Lock = field(default_factory=asyncio.Lock)
    _running: dict[str, Process] = field(default_factory=dict)
    _sidecars: list[asyncio.Task[None]] = field(default_factory=list)
    _objects: Objects = field(default_factory=lambda: Objects({}))
    _told: Object = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.state = new_state(self.pod, self.ip, _now())

    @property
    def namespace(self) -> str:
        return str(self.pod["metadata"]["namespace"])

    @property
    def name(self) -> str:
        return str(self.pod["metadata"]["name"])

    def stop(self) -> None:
        """End the pod: SIGTERM, its grace period, SIGKILL."""
        self._stop.set()

    async def run(self) -> None:
        """Run the pod to its end. When stopped or cancelled it leaves no process behind."""
        body = asyncio.create_task(self._live(), name=f"pod {self.namespace}/{self.name}")
        stopped = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({body, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if body.done():
                await body
        finally:
            await _cancel([body, stopped, *self._sidecars])
            await self._end_containers(list(self.state.containers.values()))
        await self._finish()

    async def _live(self) -> None:
        await self._prepare()
        for container in self.pod["spec"].get("initContainers", []):
            if container.get("restartPolicy") == "Always":
                await self._start_sidecar(container)
            elif await self._to_success(container) != 0:
                self.state.phase = Phase.FAILED
                return
        main = [asyncio.create_task(self._to_end(container)) for container in self.pod["spec"]["containers"]]
        try:
            statuses = await asyncio.gather(*main)
        finally:
            await _cancel(main)
        await _cancel(self._sidecars)
        await self._end_containers([state for state in self.state.containers.values() if state.is_sidecar])
        self.state.phase = Phase.FAILED if any(statuses) else Phase.SUCCEEDED

    async def _prepare(self) -> None:
        """Make the pod's files, again until the objects that they come from are there."""
        while True:
            try:
                self._objects = await Objects.referenced_by(self.pod, self.node.cluster)
                await asyncio.to_thread(self.folder.prepare, self.pod, self._objects.lookup)
            except (ConfigError, Unavailable) as reason:
                self._wait_all("ContainerCreating", f"MountVolume.SetUp failed: {reason}")
                await self._report()
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._wait_all("PodInitializing")
                return

    def _wait_all(self, reason: str, message: str = "") -> None:
        for state in self.state.containers.values():
            state.state = waiting(reason, message)

    async def _start_sidecar(self, container: Object) -> None:
        """Start a sidecar and return once it has run, or could not be started, for the first time."""
        begun = asyncio.Event()
        self._sidecars.append(asyncio.create_task(self._keep(container, begun), name=f"sidecar {container['name']}"))
        await begun.wait()

    async def _keep(self, container: Object, begun: asyncio.Event) -> None:
        while True:
            await self._once(container, begun)
            await self._back_off(container)

    async def _to_success(self, container: Object) -> int:
        """Run an init container until it succeeds, or once if the pod never restarts."""
        while (status := await self._once(container)) != 0 and self.pod["spec"]["restartPolicy"] != "Never":
            await self._back_off(container)
        return status

    async def _to_end(self, container: Object) -> int:
        """Run a main container as often as the pod's restartPolicy says, and return its last exit status."""
        policy = self.pod["spec"]["restartPolicy"]
        while True:
            status = await self._once(container)
            if policy == "Never" or (policy == "OnFailure" and status == 0):
                return status
            await self._back_off(container)

    async def _back_off(self, container: Object) -> None:
        state = self.state.containers[container["name"]]
        seconds = self.node.backoff.seconds(state.restarts)
        state.back_off(f"back-off {seconds:g}s restarting failed container={container['name']} pod={self.name}")
        await self._report()
        await asyncio.sleep(seconds)

    async def _once(self, container: Object, begun: asyncio.Event | None = None) -> int:
        """Run a container once and return its exit status."""
        state = self.state.containers[container["name"]]
        try:
            command = self._command(container, state)
            process = await self.node.processes.start(command)
        except (ConfigError, StartRefused) as reason:
            state.end(terminated(START_FAILED, _now(), _now(), str(reason)))
        else:
            self._running[state.name] = process
            state.run(_now())
            if not state.is_init:
                self.state.phase = Phase.RUNNING
            self._signal_begun(begun)
            await self._report()
            await asyncio.shield(process.ended)
            self._collect(state, process)
        self._signal_begun(begun)
        await self._report()
        return state.exit_status or 0

    @staticmethod
    def _signal_begun(begun: asyncio.Event | None) -> None:
        if begun is not None:
            begun.set()

    def _command(self, container: Object, state: ContainerState) -> Command:
        variables = environment(container, PodFacts(self.pod, self.ip), self._objects.lookup)
        root = self.folder.root(container["name"])
        self.folder.termination_file(container)
        log = self.node.logs / f"{self.namespace}_{self.name}" / f"{root.name}.{state.restarts + state.has_started}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        own = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        given = {"HOME": str(root / "tmp"), "TMPDIR": str(root / "tmp"), ENV_ROOT: str(root)}
        given["PYTHONPATH"] = os.pathsep.join(self.node.python_path)
        return Command(argv(container, variables, sys.executable), {**own, **given, **variables}, root, log, self.node.is_warm(container))

    def _collect(self, state: ContainerState, process: Process) -> None:
        """Note how a process ended, and its last word."""
        self._running.pop(state.name, None)
        used, status = process.cpu_seconds, process.ended.result()
        LOG.info("pod %s/%s: %s ended with status %d, %.2f s of processor time", self.namespace, self.name, state.name, status, used)
        spec = next(spec for spec in containers_of(self.pod) if spec["name"] == state.name)
        message = read_termination(self.folder.termination_path(spec))
        started = state.state.get("running", {}).get("startedAt", self.state.start_time)
        state.end(terminated(status, started, _now(), message))

    async def _end_containers(self, states: list[ContainerState]) -> None:
        """End what runs of these containers: SIGTERM, the pod's grace period, SIGKILL."""
        running = {state.name: (state, self._running[state.name]) for state in states if state.name in self._running}
        if not running:
            return
        for _, process in running.values():
            self.node.processes.signal(process, signal.SIGTERM)
        ends = [asyncio.shield(process.ended) for _, process in running.values()]
        await asyncio.wait(ends, timeout=min(self.node.grace_limit_seconds, self.pod["spec"].get("terminationGracePeriodSeconds", 30)))
        for state, process in running.values():
            self.node.processes.signal(process, signal.SIGKILL)
            await asyncio.shield(process.ended)
            self._collect(state, process)

    async def lose(self) -> None:
        """Report the end of a pod whose processes went with an earlier runner, and remove it if it is to go."""
        if "deletionTimestamp" in self.pod["metadata"]:
            self.stop()
        await self._finish()

    async def _finish(self) -> None:
        """Report the end, and remove a pod that was to be deleted."""
        if self.state.phase not in FINAL:
            self.state.phase = Phase.FAILED
            for state in self.state.containers.values():
                if state.exit_status is None:
                    state.lose(self.state.start_time, _now())
        await self._report()
        if self._stop.is_set():
            with contextlib.suppress(Conflict):  # another pod of that name by now
                await insist(lambda: self.node.cluster.delete(POD, self.namespace, self.name, uid=self.pod["metadata"]["uid"]))

    async def _report(self) -> None:
        """Write the status if it has changed; a pod that is gone is stopped."""
        async with self._reporting:
            status = self.state.to_json(_now())
            if status == self._told:
                return
            body = {"metadata": {"uid": self.pod["metadata"]["uid"]}, "status": status}
            try:
                await insist(lambda: self.node.cluster.patch(POD, self.namespace, self.name, body, status=True))
            except (NotFound, Conflict):
                self._stop.set()
            except Invalid as reason:
                LOG.error("the status of pod %s/%s is refused: %s", self.namespace, self.name, reason)
                self._stop.set()
            self._told = status


async def _cancel(tasks: list[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they have ended; how they ended is not asked."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _now() -> str:
    return stamp(utc_now())
