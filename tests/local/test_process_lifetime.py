"""Nothing outlives the runner, however it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from tests.local.runner import wait_for

from coterie_operator.local.processes import KILLED, Command, Processes, StartRefused

pytestmark = pytest.mark.local

# Runs a shell with a child of its own and a Python process, says who they are, and waits for ever.
RUNNER = """
import asyncio, os, sys
from pathlib import Path
from coterie_operator.local.processes import Command, Processes

async def main(folder):
    processes = Processes()
    env = {"PATH": os.environ["PATH"]}
    python = [sys.executable, "-m", "timeit", "-n", "1", "-r", "1", "import time; time.sleep(300)"]
    started = [
        await processes.start(Command(["sh", "-c", "sleep 300 & echo $!; exec sleep 300"], env, folder, folder / "log")),
        await processes.start(Command(["setsid", "--fork", "--wait", "sleep", "300"], env, folder, folder / "log2")),
        await processes.start(Command(python, env, folder, folder / "log3", is_warm=True)),
    ]
    while not (folder / "log").read_text().strip():
        await asyncio.sleep(0.01)
    pids = [process.pid for process in started] + [int((folder / "log").read_text()), processes._server.pid]
    (folder / "pids.tmp").write_text(" ".join(map(str, pids)))
    (folder / "pids.tmp").rename(folder / "pids")
    await asyncio.Event().wait()

asyncio.run(main(Path(sys.argv[1])))
"""


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


async def all_gone(pids: list[int]) -> None:
    async def gone() -> bool:
        return not any(map(is_alive, pids))

    await wait_for(gone, f"processes {pids} are gone")


@pytest.fixture
async def runner(tmp_path: Path):
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", RUNNER, str(tmp_path))

    async def has_started() -> bool:
        return (tmp_path / "pids").exists()

    await wait_for(has_started, "the runner has started its processes")
    pids = [int(word) for word in (tmp_path / "pids").read_text().split()]
    assert all(map(is_alive, pids))
    yield process, pids
    for pid in filter(is_alive, pids):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGSEGV])
async def test_a_runner_that_dies_leaves_no_process_behind(runner, number: signal.Signals) -> None:
    process, pids = runner
    process.send_signal(number)
    await process.wait()

    await all_gone(pids)


async def test_a_spawner_that_dies_takes_its_processes_along(runner) -> None:
    process, pids = runner
    os.kill(pids[-1], signal.SIGKILL)

    await all_gone(pids)
    process.kill()
    await process.wait()


@pytest.fixture
async def processes():
    started = Processes()
    yield started
    await started.close()


def command(folder: Path, *argv: str, is_warm: bool = False, **env: str) -> Command:
    return Command(argv, {"PATH": os.environ["PATH"], **env}, folder, folder / "log", is_warm)


async def test_after_the_death_of_a_spawner_there_is_another(processes: Processes, tmp_path: Path) -> None:
    first = await processes.start(command(tmp_path, "sleep", "300"))
    os.kill(processes._server.pid, signal.SIGKILL)
    status = await first.ended
    second = await processes.start(command(tmp_path, "sh", "-c", "exit 3"))

    assert status == KILLED
    assert await second.ended == 3


async def test_processes_started_at_once_share_one_spawner(processes: Processes, tmp_path: Path) -> None:
    started = await asyncio.gather(*(processes.start(command(tmp_path, "sleep", "300")) for _ in range(4)))
    parents = {int(Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()[1]) for process in started}

    assert parents == {processes._server.pid}


async def test_a_command_that_can_not_be_executed_is_refused(processes: Processes, tmp_path: Path) -> None:
    with pytest.raises(StartRefused, match="no-such-program"):
        await processes.start(command(tmp_path, "no-such-program"))


async def test_a_folder_that_does_not_exist_is_refused(processes: Processes, tmp_path: Path) -> None:
    with pytest.raises(StartRefused):
        await processes.start(Command(["true"], {}, tmp_path / "missing", tmp_path / "log"))


SCRIPT = """
import os, sys, signal
print(__name__, sys.argv[1:], os.environ.get("GIVEN"), os.environ.get("HOME"), os.getcwd() == os.environ["PWD"])
print(sys.stdin.read() == "", os.getsid(0) == os.getpid(), signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)
print(sorted(int(fd) for fd in os.listdir("/proc/self/fd"))[:3], len(os.listdir("/proc/self/fd")))
sys.exit(5)
"""


async def test_a_warm_start_is_seen_from_within_as_a_cold_one(tmp_path: Path) -> None:
    (tmp_path / "told.py").write_text(SCRIPT)
    seen = []
    for is_warm in (False, True):
        processes = Processes(("numpy",))
        log = tmp_path / f"log-{is_warm}"
        argv = [sys.executable, "-m", "told", "one", "--two"]
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path), "GIVEN": "yes", "PWD": str(tmp_path)}
        process = await processes.start(Command(argv, env, tmp_path, log, is_warm))
        seen.append((await process.ended, log.read_text()))
        await processes.close()

    assert seen[0] == seen[1]
    assert seen[0][0] == 5
    assert "__main__ ['one', '--two'] yes None True" in seen[0][1]


async def test_an_exception_in_a_warm_start_is_told_in_the_log(processes: Processes, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise ValueError('as it is')")
    process = await processes.start(command(tmp_path, sys.executable, "-m", "broken", is_warm=True, PYTHONPATH=str(tmp_path)))

    assert await process.ended == 1
    assert "ValueError: as it is" in (tmp_path / "log").read_text()


async def test_warm_starts_do_not_share_their_random_numbers(tmp_path: Path) -> None:
    (tmp_path / "dice.py").write_text("import random, numpy; print(random.random(), numpy.random.rand())")
    processes = Processes(("numpy", "random"))
    logs = [tmp_path / "a", tmp_path / "b"]
    for log in logs:
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path)}
        await (await processes.start(Command([sys.executable, "-m", "dice"], env, tmp_path, log, is_warm=True))).ended
    await processes.close()
    [first, second] = [log.read_text().split() for log in logs]

    assert first[0] != second[0]
    assert first[1] != second[1]
