"""`coterie run PATH`: a job from its manifests to its model, on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from coterie_api.history import RoundLine
from coterie_operator.cluster import FEDERATED_DATASET, FEDERATED_JOB, Change, Object
from coterie_operator.local.consent import refuse_without_quorum
from coterie_operator.local.embedded import SETTINGS, Embedded, assemble, new_processes
from coterie_operator.local.exposition import Exposition
from coterie_operator.local.output import HISTORY, LOGS, MODEL, REPORT, RESULT, OutputFailed, OutputFolder, disk_fault
from coterie_operator.local.progress import HistoryTail, Snapshot
from coterie_operator.local.report import report
from coterie_operator.local.screen import Screen, SilentScreen
from coterie_operator.local.times import utc_now
from coterie_operator.local.totals import Totals, totals
from coterie_operator.local.workspace import Workspace, open_workspace

if TYPE_CHECKING:
    from coterie_operator.local.processes import Processes

SCHEMA: Final = "coterie/result/v1"
GLANCE_SECONDS: Final = 0.25  # between two looks at history and status
NOTHING: Final[Mapping[str, Path]] = {}


class ExitStatus(IntEnum):
    """How `coterie run` ends."""

    SUCCEEDED = 0
    FAILED = 1
    BAD_INPUT = 2
    INTERRUPTED = 130


class Interrupted(Exception):
    """The run was asked to end before the job had."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a run came to; the same is in the output folder."""

    status: ExitStatus
    output: Path
    job: Object
    datasets: tuple[Object, ...] = ()
    lines: tuple[RoundLine, ...] = ()
    totals: Totals = field(default_factory=Totals)

    @property
    def has_succeeded(self) -> bool:
        return self.status is ExitStatus.SUCCEEDED

    @property
    def model(self) -> Path:
        """Where the trained model is, if the job has succeeded."""
        return self.output / MODEL

    @property
    def message(self) -> str:
        """The job's own sentence on how it ended."""
        return str((self.job.get("status") or {}).get("message") or "")

    def to_json(self) -> dict[str, Any]:
        """Return the content of `result.json`."""
        head = {"schema": SCHEMA, "exitStatus": int(self.status)}
        return {**head, "job": self.job, "datasets": list(self.datasets), "totals": self.totals.to_json()}


def run(
    path: str | Path,
    *,
    output: str | Path,
    data: Mapping[str, Path] = NOTHING,
    overwrite: bool = False,
    metrics_port: int = 0,
    screen: Screen | None = None,
) -> Result:
    """Run the job in a folder to its end and return what it came to.

    Args:
      path: a folder with one FederatedJob, its FederatedDatasets and its task's code.
      output: where model, history, result, report and logs go.
      data: folders of data sets by `namespace/name`, in place of the claims in their manifests.
      overwrite: replace an earlier run in the output folder.
      metrics_port: of `/metrics` on 127.0.0.1; 0 takes any free one.
      screen: shows the run; None shows nothing.

    Raises:
      BadInput: the manifests, the data or the output folder don't allow it, or too few data sets consent.
      OutputFailed: the output folder's disk is full, or broken; each file of this run that is there is whole, some are missing.
    """
    workspace = open_workspace(Path(path), data)
    refuse_without_quorum(workspace, SETTINGS, utc_now())
    folder = OutputFolder.take(Path(output), overwrite=overwrite)
    runner = Runner(workspace, folder, screen or SilentScreen(), metrics_port)
    try:
        with _logging(folder.path / LOGS):
            return _in_a_loop(runner)
    except (OSError, ExceptionGroup) as error:
        if (fault := disk_fault(error)) is None:
            raise
        raise OutputFailed(f"{folder.path}: {fault.strerror}; the run has ended without all of its results") from error
    finally:
        runner.screen.close()
        folder.release()


@dataclass(slots=True, eq=False)
class Runner:
    """One run, from an assembled cluster to the files that it leaves."""

    workspace: Workspace
    folder: OutputFolder
    screen: Screen
    metrics_port: int
    began: float = field(default_factory=time.monotonic)
    _stop: Callable[[], None] | None = None

    def stop(self) -> None:
        """End the run before its time; safe to call from a signal handler or another thread's loop callback."""
        if self._stop is not None:
            self._stop()

    async def run(self) -> Result:
        """Run to the job's end, or until stopped."""
        interrupted = asyncio.Event()
        self._stop = interrupted.set
        for note in self.workspace.notes:
            self.screen.say(f"note: {note}")
        processes = new_processes()
        try:
            await processes.open()  # its imports take longest: they go on while the rest is made
            return await self._run(processes, interrupted)
        finally:
            await processes.close()

    async def _run(self, processes: Processes, interrupted: asyncio.Event) -> Result:
        embedded, job = await assemble(self.workspace, self.folder, processes)
        tail = HistoryTail(embedded.checkpoint(job) / HISTORY)
        with Exposition(embedded.controller.metrics.registry, self.metrics_port) as exposition:
            self.screen.say(f"metrics: {exposition.url}")
            async with embedded.running() as parts:
                job, status = await self._follow(embedded, job, tail, parts, interrupted)
        await embedded.controller.tell_datasets()  # the job's end is news to them, and nobody works on it any more
        datasets = await embedded.cluster.list(FEDERATED_DATASET)
        return self._leave(status, job, tuple(datasets), tail.read())

    async def _follow(
        self, embedded: Embedded, job: Object, tail: HistoryTail, parts: tuple[asyncio.Task[None], ...], interrupted: asyncio.Event
    ) -> tuple[Object, ExitStatus]:
        """Show the run until the job has ended, one of the parts has, or the run is interrupted."""
        jobs = Jobs(embedded, job)
        watch, stop = asyncio.create_task(jobs.watch()), asyncio.create_task(interrupted.wait())
        try:
            while True:
                self.screen.show(self._snapshot(jobs.newest, tail))
                done, _ = await asyncio.wait({watch, stop, *parts}, timeout=GLANCE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if stop in done:
                    return jobs.newest, ExitStatus.INTERRUPTED
                if watch in done:
                    watch.result()
                    self.screen.show(self._snapshot(jobs.newest, tail))
                    return jobs.newest, ExitStatus.SUCCEEDED if jobs.ended == "Succeeded" else ExitStatus.FAILED
                for part in done:
                    part.result()
                    raise RuntimeError(f"{part.get_name()} has ended before the job")
        finally:
            watch.cancel()
            stop.cancel()
            await asyncio.gather(watch, stop, return_exceptions=True)

    def _snapshot(self, job: Object, tail: HistoryTail) -> Snapshot:
        return Snapshot(job, tail.read(), time.monotonic() - self.began)

    def _leave(self, status: ExitStatus, job: Object, datasets: tuple[Object, ...], lines: tuple[RoundLine, ...]) -> Result:
        """Write what the run leaves behind."""
        output = job["spec"]["output"]
        published = self.folder.claim(job["metadata"]["namespace"], output["persistentVolumeClaim"]["claimName"])
        published = published / (output.get("path") or job["metadata"]["name"])
        if status is ExitStatus.SUCCEEDED and not self.folder.copy(published / MODEL, MODEL):
            raise RuntimeError(f"the job has succeeded, but there is no {published / MODEL}")
        self.folder.write(HISTORY, b"".join(line.encode() for line in lines))
        sums = totals(job, lines, time.monotonic() - self.began)
        result = Result(status, self.folder.path, job, datasets, lines, sums)
        self.folder.write(RESULT, json.dumps(result.to_json(), indent=2).encode() + b"\n")
        self.folder.write(REPORT, report(job, lines, sums))
        return result


@dataclass(slots=True)
class Jobs:
    """The newest state of the one job."""

    embedded: Embedded
    newest: Object

    @property
    def ended(self) -> str | None:
        return Snapshot(self.newest).ended()

    async def watch(self) -> None:
        """Follow the job until it has ended or is gone."""
        async for notice in self.embedded.cluster.watch(FEDERATED_JOB):
            if notice.change is Change.DELETED:
                return
            if notice.change is not Change.SYNCED:
                self.newest = notice.obj
            if self.ended:
                return


def _in_a_loop(runner: Runner) -> Result:
    """Run in an event loop of this thread, or of a new one where this thread has one already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(_with_signals(runner))
    found: list[Result | BaseException] = []
    loop = asyncio.new_event_loop()

    def work() -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as loops:
                found.append(loops.run(runner.run()))
        except BaseException as error:  # noqa: BLE001 - it is raised again in the caller's thread
            found.append(error)

    thread = threading.Thread(target=work, name="coterie run")
    thread.start()
    while thread.is_alive():
        try:
            thread.join()
        except KeyboardInterrupt:
            loop.call_soon_threadsafe(runner.stop)
    if isinstance(found[0], BaseException):
        raise found[0]
    return found[0]


async def _with_signals(runner: Runner) -> Result:
    """Run, and end early but whole on Ctrl-C, SIGTERM and a lost terminal."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        with contextlib.suppress(ValueError, RuntimeError):  # not the main thread: signals are the caller's
            loop.add_signal_handler(number, runner.stop)
    return await runner.run()


class LogFile(logging.FileHandler):
    """A log that is silent once its disk is full: the run itself says so."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        if not isinstance(fault := sys.exc_info()[1], OSError) or disk_fault(fault) is None:
            super().handleError(record)


@contextlib.contextmanager
def _logging(folder: Path) -> Iterator[None]:
    """Send the control plane's log to a file for the time of the run."""
    folder.mkdir(parents=True, exist_ok=True)
    handler = LogFile(folder / "operator.log", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("coterie_operator")
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
        handler.close()
