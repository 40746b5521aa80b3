"""Worker processes without the seconds that torch takes to import: forked from one process that has imported it already.

They are processes like any other: killed, stopped, with an environment, a log and a folder of their own. gRPC is imported
in each of them after the fork, since it doesn't survive one.

Run as a program it is the process that forks: commands as lines of JSON on stdin, answers on stdout.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any, Self


class Nursery:
    """The process that forks, seen from the tests."""

    def __init__(self) -> None:
        self._process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._lock = threading.Lock()

    def ask(self, **command: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())

    def start(self, arguments: list[str], environment: dict[str, str], folder: str, log: str) -> Child:
        return Child(self, self.ask(arguments=arguments, environment=environment, folder=folder, log=log))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


class Child:
    """A process of the nursery's, as subprocess.Popen shows its own."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self._nursery = nursery
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._nursery.ask(poll=self.pid)
        return self.returncode

    def wait(self, timeout: float = 60.0) -> int:
        end, pause = time.monotonic() + timeout, threading.Event()
        while (code := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
            pause.wait(0.01)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:  # until it is polled, a dead one keeps its number
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def serve() -> None:
    """Fork and reap until stdin ends; then nothing is left."""
    import coterie_worker.training  # noqa: F401 - what all this is for

    running: set[int] = set()
    for line in sys.stdin.buffer:
        command = json.loads(line)
        if "poll" in command:
            pid, status = os.waitpid(command["poll"], os.WNOHANG)
            running.discard(pid)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        else:
            answer = fork(command)
            running.add(answer)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    for pid in running:
        os.kill(pid, signal.SIGKILL)


def fork(command: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    log = os.open(command["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.chdir(command["folder"])
    os.environ.clear()
    os.environ.update(command["environment"])
    sys.path[:0] = command["environment"].get("PYTHONPATH", "").split(os.pathsep)
    import cheating  # beside this file, which runs as a program
    import dying

    from coterie_worker.cli import main

    dying.arm()
    cheating.arm()
    main(command["arguments"])
    return None


if __name__ == "__main__":
    serve()
