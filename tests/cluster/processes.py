"""Programs that a test starts: each logs to a file, is ended by its own process id, and dies with the test's process."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


class DiedError(Exception):
    """A program that should run has ended; the message holds the end of its log."""


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


@dataclass(slots=True)
class Process:
    """One running program."""

    name: str
    log: Path
    popen: subprocess.Popen[bytes]
    was_ended: bool = False  # by the test, on purpose

    @property
    def pid(self) -> int:
        return self.popen.pid

    def tail(self, characters: int = 3000) -> str:
        return self.log.read_text(errors="replace")[-characters:]

    def check(self) -> None:
        if not self.was_ended and (code := self.popen.poll()) is not None:
            raise DiedError(f"{self.name} ended with status {code}:\n{self.tail()}")

    def kill(self) -> None:
        """End it as a power cut would."""
        self.was_ended = True
        self.popen.kill()
        self.popen.wait()

    def end(self, timeout_seconds: float = 10) -> int:
        """End it politely, and by force if that takes too long; return its exit status."""
        self.was_ended = True
        self.popen.terminate()
        try:
            return self.popen.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            return self.popen.wait()


@dataclass(slots=True)
class Processes:
    """What was started, ended in reverse order."""

    folder: Path
    running: list[Process] = field(default_factory=list)

    def start(self, name: str, command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> Process:
        log = self.folder / f"{name}.log"
        with log.open("ab") as output:
            popen = subprocess.Popen(
                [str(part) for part in command],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=None if environment is None else {**os.environ, **environment},
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - one system call, no lock taken
                start_new_session=True,  # Ctrl-C reaches the test alone, which then ends its programs in order
            )
        process = Process(name, log, popen)
        self.running.append(process)
        return process

    def end(self) -> None:
        while self.running:
            self.running.pop().end()


def wait_until(
    holds: Callable[[], object],
    what: str,
    timeout_seconds: float = 60,
    watched: Sequence[Process] = (),
    *,
    every_seconds: float = 0.05,
) -> None:
    """Return once `holds()` is true; raises TimeoutError naming `what`, or DiedError when a watched program ends first."""
    deadline = time.monotonic() + timeout_seconds
    while not holds():
        for process in watched:
            process.check()
        if time.monotonic() > deadline:
            tails = "".join(f"\n--- {process.name}\n{process.tail()}" for process in watched)
            raise TimeoutError(f"not within {timeout_seconds} s: {what}{tails}")
        time.sleep(every_seconds)
