"""The runner's side of the spawner: start a process, signal it, wait for its end."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coterie_operator.manifests.pod import MALLOC

KILLED = 128 + signal.SIGKILL


class StartRefused(Exception):
    """The command could not be executed; the message says why."""


@dataclass(frozen=True, slots=True)
class Command:
    """What to run. A warm command is `python -m module …` and is forked from an interpreter that has the modules loaded."""

    argv: Sequence[str]
    env: Mapping[str, str]
    folder: Path
    log: Path
    is_warm: bool = False


@dataclass(slots=True, eq=False)
class Process:
    """One started process; `ended` gives its exit status, 128 + signal if a signal ended it."""

    id: str
    started: asyncio.Future[int]
    ended: asyncio.Future[int]
    pid: int = 0
    cpu_seconds: float = 0.0  # user and system, of the process and its collected children, once it has ended


@dataclass(slots=True, eq=False)
class Processes:
    """Starts processes through one spawner, which is started on first use and again if it dies.

    Formal guarantee: when this process ends, however it ends, every process started here ends (see `spawner`).
    """

    warm_modules: tuple[str, ...] = ()
    _server: subprocess.Popen[bytes] | None = None
    _writer: asyncio.StreamWriter | None = None
    _reader: asyncio.Task[None] | None = None
    _running: dict[str, Process] = field(default_factory=dict)
    _ids: itertools.count[int] = field(default_factory=itertools.count)
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def open(self) -> None:
        """Start the spawner, so that its imports are done when the first process is asked for."""
        async with self._opening:  # or two first processes would start a spawner each, and the one forgotten would end its own
            if self._writer is None:
                await self._open()

    async def _open(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            argv = [sys.executable, "-P", "-m", "coterie_operator.local.spawner", str(theirs.fileno()), *self.warm_modules]
            self._server = subprocess.Popen(  # noqa: S603, ASYNC220 - the call returns once the interpreter has been executed
                argv, pass_fds=[theirs.fileno()], env=_single_threaded(), stdin=subprocess.DEVNULL, start_new_session=True
            )
        reader, self._writer = await asyncio.open_connection(sock=ours)
        self._reader = asyncio.create_task(self._listen(reader), name="spawner")

    async def start(self, command: Command) -> Process:
        """Start a process. Raises StartRefused."""
        await self.open()
        loop = asyncio.get_running_loop()
        process = Process(str(next(self._ids)), loop.create_future(), loop.create_future())
        self._running[process.id] = process
        request = {"argv": [*command.argv], "env": dict(command.env), "cwd": str(command.folder), "log": str(command.log)}
        self._send({"op": "start", "id": process.id, "is_warm": command.is_warm, **request})
        process.pid = await asyncio.shield(process.started)
        return process

    def signal(self, process: Process, number: int) -> None:
        """Send a signal to a process (SIGKILL: to its whole group); one that has ended hears nothing."""
        if not process.ended.done():
            self._send({"op": "signal", "id": process.id, "signal": int(number)})

    def _send(self, request: Mapping[str, Any]) -> None:
        if self._writer is not None:
            self._writer.write(json.dumps(request).encode() + b"\n")

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        """Hear the spawner until it is gone, and then count what it ran as killed, which the kernel sees to."""
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                self._hear(json.loads(line))
        if self._writer is not None:
            self._writer.close()
        self._writer = None
        if self._server is not None:
            await asyncio.to_thread(self._server.wait)  # it has closed the socket: it is ending or dead
        for process in tuple(self._running.values()):
            if process.pid:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
            self._finish(process, KILLED)

    def _hear(self, answer: Mapping[str, Any]) -> None:
        process = self._running.get(answer["id"])
        if process is None:
            return
        if answer["event"] == "started":
            process.pid = answer["pid"]
            process.started.set_result(answer["pid"])
        elif answer["event"] == "refused":
            process.started.set_exception(StartRefused(answer["error"]))
        else:
            process.cpu_seconds = answer["cpu_seconds"]
            self._finish(process, answer["status"])

    def _finish(self, process: Process, status: int) -> None:
        self._running.pop(process.id, None)
        if not process.started.done():
            process.started.set_exception(StartRefused("the spawner ended before the process had started"))
        if not process.ended.done():
            process.ended.set_result(status)

    async def close(self) -> None:
        """End every process and the spawner, and wait until they are gone."""
        if self._writer is not None and self._reader is not None:
            self._writer.write_eof()
            await self._reader


def _single_threaded() -> dict[str, str]:
    """Return the environment of the spawner: libraries that it imports start no threads, or it could not fork soundly."""
    return {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", **MALLOC}
