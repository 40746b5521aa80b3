"""Programs that outlive whoever started them, ended by recorded process ids.

A record holds the process id *and* its start time, so an id that the kernel has given to another program is never signaled.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

PROC: Final = Path("/proc")
_BOOT: Final = PROC / "sys/kernel/random/boot_id"
_END_SECONDS: Final = 10.0


class DaemonDiedError(Exception):
    """A program that should run has ended; the message holds the end of its log."""


@dataclass(frozen=True, slots=True)
class Daemon:
    """A program to keep running."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Identity:
    """One process of one boot; no other has the same."""

    pid: int
    started: int  # clock ticks after boot
    boot: str

    def is_alive(self) -> bool:
        """Whether exactly this process runs; one that waits to be reaped doesn't."""
        with suppress(ChildProcessError):  # another process started it, which reaps it
            os.waitpid(self.pid, os.WNOHANG)
        return identity(self.pid) == self

    def signal(self, number: int) -> None:
        """Send a signal to this process, and to none that has its id by now."""
        if self.is_alive():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


def boot_id() -> str:
    """Return what names this boot of the machine."""
    return _BOOT.read_text().strip()


def identity(pid: int) -> Identity | None:
    """Return which process has an id now, None if none runs."""
    try:
        stat = (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    parsed = state_and_start(stat)
    return None if parsed[0] in "ZX" else Identity(pid, parsed[1], boot_id())


def state_and_start(stat: str) -> tuple[str, int]:
    """Return a process's state and start time from its `/proc/PID/stat`, whose second field may hold spaces and parentheses."""
    fields = stat.rpartition(")")[2].split()
    return fields[0], int(fields[19])


@dataclass(frozen=True, slots=True)
class Daemons:
    """The daemons of one folder: their records and logs."""

    records: Path
    logs: Path

    def ensure(self, daemon: Daemon) -> bool:
        """Start a daemon unless it runs with the same command; return whether it was started."""
        if self.is_alive(daemon.name):
            if self._record(daemon.name)["command"] == list(daemon.command):
                return False
            self.end(daemon.name)
        self.start(daemon)
        return True

    def start(self, daemon: Daemon) -> None:
        """Start a daemon in a session of its own, its output appended to its log."""
        self.records.mkdir(parents=True, exist_ok=True)
        self.logs.mkdir(parents=True, exist_ok=True)
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(self.log(daemon.name)), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        environment = {**os.environ, **daemon.environment}
        pid = os.posix_spawn(daemon.command[0], daemon.command, environment, file_actions=actions, setsid=True)
        found = identity(pid)
        record = {"pid": pid, "started": found.started if found else -1, "boot": boot_id(), "command": list(daemon.command)}
        record["environment"] = dict(daemon.environment)
        path = self.records / f"{daemon.name}.json"
        unfinished = path.with_suffix(".new")
        unfinished.write_text(json.dumps(record))
        unfinished.rename(path)

    def restart(self, name: str) -> None:
        """Start a daemon that `kill` has ended, as it was started before."""
        killed = self.records / f"{name}.killed"
        record = json.loads(killed.read_text())
        self.start(Daemon(name, tuple(record["command"]), record["environment"]))
        killed.unlink()

    def forget_dead(self) -> list[str]:
        """Forget every daemon that has ended by itself, so that nothing waits for it; return their names."""
        dead = [name for name in self.names() if not self.is_alive(name)]
        for name in dead:
            (self.records / f"{name}.json").unlink()
        return dead

    def names(self) -> list[str]:
        """Return every daemon that was started here and not ended, in the order of starting."""
        return [path.stem for path in sorted(self.records.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)]

    def identity(self, name: str) -> Identity:
        """Return which process a daemon is or was. Raises FileNotFoundError if it was never started."""
        record = self._record(name)
        return Identity(record["pid"], record["started"], record["boot"])

    def is_alive(self, name: str) -> bool:
        """Whether a daemon was started and runs."""
        try:
            return self.identity(name).is_alive()
        except FileNotFoundError:
            return False

    def kill(self, name: str) -> None:
        """End a daemon as a crash would, and return when it is gone. It is known no more, but for `restart`."""
        found = self.identity(name)
        found.signal(signal.SIGKILL)
        _wait_gone(found, _END_SECONDS)
        path = self.records / f"{name}.json"
        path.rename(path.with_suffix(".killed"))

    def end(self, name: str) -> None:
        """End a daemon politely, by force if that takes too long, and forget it."""
        found = self.identity(name)
        found.signal(signal.SIGTERM)
        if not _wait_gone(found, _END_SECONDS):
            found.signal(signal.SIGKILL)
            _wait_gone(found, _END_SECONDS)
        (self.records / f"{name}.json").unlink()

    def check(self) -> None:
        """Raise DaemonDiedError if a daemon has ended that nobody ended."""
        for name in self.names():
            if not self.is_alive(name):
                raise DaemonDiedError(f"{name} has ended; the end of {self.log(name)}:\n{self.tail(name)}")

    def wait(self, holds: Callable[[], object], what: str, timeout_seconds: float = 180) -> None:
        """Return once `holds()` is true. Raises TimeoutError naming `what`, or DaemonDiedError when a daemon ends first."""
        deadline = time.monotonic() + timeout_seconds
        while not holds():
            self.check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {timeout_seconds} s: {what}; the logs are in {self.logs}")
            time.sleep(0.25)

    def log(self, name: str) -> Path:
        """Return where a daemon's output goes."""
        return self.logs / f"{name}.log"

    def tail(self, name: str, characters: int = 2000) -> str:
        """Return the end of a daemon's log."""
        return self.log(name).read_text(errors="replace")[-characters:]

    def _record(self, name: str) -> dict[str, Any]:
        return json.loads((self.records / f"{name}.json").read_text())


def _wait_gone(found: Identity, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while found.is_alive():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
