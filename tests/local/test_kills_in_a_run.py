"""SIGKILL inside of `coterie run`: the batch Jobs start again what died, and the job ends Succeeded with every round once."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest
from tests.local.workspaces import TENANTS, dataset, job, write

from coterie_api.history import decode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.local
ROUNDS = 12
SECONDS = 180.0


@pytest.fixture
def running(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A run of a dozen rounds of a third of a second each, three of them done; its data sets keep records of used slots."""
    state = {"persistentVolumeClaim": {"claimName": "state"}}
    sleepy = job(rounds=ROUNDS, task={"entrypoint": "line_task:Line", "parameters": {"behavior": "sleep"}}, backoffLimit=3)
    workspace = write(tmp_path / "line", sleepy, *(dataset(tenant, state=state) for tenant in TENANTS))
    command = [sys.executable, "-m", "coterie_operator.cli", "run", str(workspace), "--output", str(tmp_path / "out")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    while f"round 3/{ROUNDS}" not in process.stdout.readline():
        assert process.poll() is None
    yield process
    process.kill()
    process.communicate()


def kill_the_holder(process: subprocess.Popen[str], claim: str) -> None:
    """Kill the process that holds the lock of a claim: the aggregator its checkpoint's, a client its record's."""
    found = [each for each in psutil.Process(process.pid).children(recursive=True) if any(claim in file for file in files_of(each))]
    assert len(found) == 1, found
    found[0].kill()


def files_of(process: psutil.Process) -> list[str]:
    return [file.path for file in process.open_files() if file.path.endswith("/lock")]


def ends_well(process: subprocess.Popen[str], output: Path) -> dict[str, object]:
    said, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, said
    lines = [decode(line) for line in (output / "history.jsonl").read_bytes().splitlines(keepends=True)]
    slots = [line.slot for line in lines]
    assert [line.round for line in lines] == list(range(1, ROUNDS + 1))
    assert slots == sorted(set(slots))
    status: dict[str, object] = json.loads((output / "result.json").read_text())["job"]["status"]
    return status


def test_a_killed_aggregator_goes_on_from_its_checkpoint(running, tmp_path: Path) -> None:
    kill_the_holder(running, "line-aggregator-")

    status = ends_well(running, tmp_path / "out")

    assert (status["state"], status["round"], status["survivors"]) == ("Succeeded", ROUNDS, len(TENANTS))


def test_a_killed_client_comes_back_and_the_others_wait_for_their_quorum(running, tmp_path: Path) -> None:
    kill_the_holder(running, "red/state")

    status = ends_well(running, tmp_path / "out")

    assert (status["state"], status["round"], status["survivors"]) == ("Succeeded", ROUNDS, len(TENANTS))
