"""The process that starts containers: one thread, no event loop, so that forking is sound.

`python -P -m coterie_operator.local.spawner CONTROL_FD [MODULE…]` reads JSON lines from a socket whose other end the runner
holds, and answers with JSON lines. Three things are its reason to be:

- *Nothing outlives the runner.* When the runner dies, even by SIGKILL, the kernel closes the socket, and the spawner kills
  every container's process group and exits. When the spawner itself dies, the containers die by PR_SET_PDEATHSIG, which is
  tied to the *thread* that forked: here the only one. Orphans of a container come to the spawner (PR_SET_CHILD_SUBREAPER).
- *Warm starts.* It imports the MODULEs once (torch takes 1.5 s of processor time) and forks a container that asks for it
  from there. A fork behaves as `python -m module args` does in a fresh interpreter. It is made only while no other thread runs.
- *Clean inheritance.* A container gets its own session, standard input from nowhere, a log file, and the environment that it
  was given, nothing else.

Requests: `{"op": "start", "id", "argv", "env", "cwd", "log", "is_warm"}` and `{"op": "signal", "id", "signal"}`.
Answers: `{"event": "started", "id", "pid"}`, `{"event": "refused", "id", "error"}`, `{"event": "exited", "id", "status",
"cpu_seconds"}`; the status of a container that a signal ended is 128 + signal.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

PR_SET_PDEATHSIG: Final = 1
PR_SET_CHILD_SUBREAPER: Final = 36
START_FAILED: Final = 128  # as containerd reports a command that can't be executed


@dataclass(slots=True)
class Spawner:
    """Containers by id and by process; answers go to `control`."""

    control: socket.socket
    pids: dict[str, int] = field(default_factory=dict)
    buffer: bytes = b""
    can_fork: bool = True  # whether a warm fork is sound: no other thread runs here

    def serve(self, wake: int) -> dict[str, Any] | None:
        """Serve until the runner is gone and return None; in a warm fork, return the request that the fork is to perform."""
        while True:
            readable, _, _ = select.select([self.control.fileno(), wake], [], [])
            if wake in readable:
                os.read(wake, 4096)
                self.reap()
            if self.control.fileno() in readable:
                chunk = self.control.recv(1 << 20)
                if not chunk:
                    return None
                *lines, self.buffer = (self.buffer + chunk).split(b"\n")
                for line in lines:
                    request = json.loads(line)
                    if self.perform(request):
                        return dict(request)

    def perform(self, request: dict[str, Any]) -> bool:
        """Perform one request; True in a warm fork."""
        if request["op"] == "start":
            return self.start(request)
        pid = self.pids.get(request["id"])
        if pid is not None:
            _signal(pid, request["signal"], whole_group=request["signal"] == signal.SIGKILL)
        return False

    def start(self, request: dict[str, Any]) -> bool:
        """Fork a container; True in a warm fork, which goes on as that container."""
        error_read, error_write = os.pipe()
        spawner, is_warm = os.getpid(), request["is_warm"] and self.can_fork
        pid = os.fork()
        if pid == 0:
            os.close(error_read)
            _become_container(request, spawner, error_write)
            if not is_warm:
                _execute(request, error_write)
            os.close(error_write)
            self.control.close()
            return True
        os.close(error_write)
        with os.fdopen(error_read, "rb") as pipe:  # ends when the container has been executed, or says why not
            error = pipe.read().decode(errors="replace")
        self.pids[request["id"]] = pid
        self.tell(
            {"event": "refused", "id": request["id"], "error": error} if error else {"event": "started", "id": request["id"], "pid": pid}
        )
        return False

    def reap(self) -> None:
        """Collect what has ended, and end what a container has left behind in its group."""
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
                # Before it is collected, so that neither its number nor its group's can be somebody else's yet.
                name = next((name for name, pid in self.pids.items() if pid == ended.si_pid), None)
                if name is not None:
                    _signal(ended.si_pid, signal.SIGKILL, whole_group=True)
                _, status, used = os.wait4(ended.si_pid, 0)
                if name is not None:
                    del self.pids[name]
                    code = os.waitstatus_to_exitcode(status)
                    status = code if code >= 0 else 128 - code
                    self.tell({"event": "exited", "id": name, "status": status, "cpu_seconds": used.ru_utime + used.ru_stime})

    def end_all(self) -> None:
        """Kill every container with its group and whatever else has come to this process, and wait until they are gone."""
        for pid in self.pids.values():
            _signal(pid, signal.SIGKILL, whole_group=True)
        with contextlib.suppress(ChildProcessError):
            while True:
                for pid in _children():
                    _signal(pid, signal.SIGKILL, whole_group=False)
                os.waitpid(-1, 0)

    def tell(self, answer: dict[str, Any]) -> None:
        """Send an answer; a runner that is gone is noticed by `serve`."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.control.sendall(json.dumps(answer).encode() + b"\n")


def _signal(pid: int, number: int, *, whole_group: bool) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number) if whole_group else os.kill(pid, number)


def _children() -> list[int]:
    """Return the processes whose parent is this one, orphans of containers included (Linux)."""
    try:
        text = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii")
    except OSError:
        return []
    return [int(word) for word in text.split()]


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _become_container(request: dict[str, Any], spawner: int, error: int) -> None:
    """Give this fork a session, streams, folder and environment of its own, or end it with the reason on `error`."""
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != spawner:  # it died between the fork and the line above
            os._exit(128 + signal.SIGKILL)
        _redirect(request["log"])
        os.chdir(request["cwd"])
    except OSError as reason:
        _refuse(error, str(reason))


def _redirect(log: str) -> None:
    nowhere = os.open(os.devnull, os.O_RDONLY)
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    sys.stdout.flush()
    for source, stream in ((nowhere, 0), (target, 1), (target, 2)):
        os.dup2(source, stream)
    os.close(nowhere)
    os.close(target)


def _execute(request: dict[str, Any], error: int) -> NoReturn:
    try:
        os.execvpe(request["argv"][0], request["argv"], request["env"])  # noqa: S606 - no shell is the point
    except OSError as reason:
        _refuse(error, f"{request['argv'][0]}: {reason.strerror}")


def _refuse(error: int, reason: str) -> NoReturn:
    os.write(error, reason.encode())
    os._exit(START_FAILED)


def run_warm(request: dict[str, Any]) -> None:
    """Run `python -m module args…` in this fork as a fresh interpreter would."""
    argv, env = request["argv"], request["env"]
    os.environ.clear()
    os.environ.update(env)
    sys.path[:0] = [request["cwd"], *(folder for folder in env.get("PYTHONPATH", "").split(os.pathsep) if folder)]
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()  # or all forks would share one state; `random` and OpenSSL do this by themselves
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    sys.argv = [argv[2], *argv[3:]]
    runpy.run_module(argv[2], run_name="__main__", alter_sys=True)


def main() -> None:
    """Serve the control socket given as the first argument, warm with the modules given after it."""
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the runner's to handle; the end of the socket is ours
    for module in sys.argv[2:]:
        with contextlib.suppress(ImportError):  # the container's own import says what is wrong
            importlib.import_module(module)
    is_single = len(list(Path("/proc/self/task").iterdir())) == 1 if sys.platform == "linux" else threading.active_count() == 1
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write)
    spawner = Spawner(control, can_fork=is_single)
    request = spawner.serve(wake_read)
    if request is None:
        spawner.end_all()
        os._exit(0)  # taking the warm modules down in order would cost half a second, and nobody needs it
    os.close(wake_read)
    os.close(wake_write)
    run_warm(request)


if __name__ == "__main__":
    main()
