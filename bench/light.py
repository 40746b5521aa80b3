"""A real aggregator process on loopback, with light clients: what a job's data plane costs without any training."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from tests.local.dataplane.pods import DataPlane

from bench.jobs import high_water
from bench.light_clients import STEP
from coterie_api.podconfig import Aggregation
from coterie_api.v1alpha1.types import Task
from coterie_operator.manifests.pod import MALLOC
from coterie_worker.secagg import default_colluders, least_threshold

TASKS: Final = Path(__file__).with_name("tasks")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to: each round but the first in seconds, and the aggregator's high-water mark in bytes."""

    seconds: list[float]
    aggregator_peak: int


@dataclass(frozen=True, slots=True)
class Size:
    """How large a job is, and how its clients are spread over processes."""

    clients: int
    values: int
    rounds: int
    slots_per_epoch: int = 8
    processes: int = 1
    uploads: int = 1  # that a process makes at a time


class WrongSum(Exception):
    """The released model is not the sum of what the clients sent."""


def run(folder: Path, size: Size) -> Outcome:
    """Run a job to its end; raises WrongSum, CalledProcessError."""
    plane = _plane(folder, size)
    plane.initialize()
    plane.aggregator.log_level = "INFO"
    plane.aggregator.environment.update(MALLOC)
    plane.aggregator.start()
    roots = [member.root for member in plane.members]
    clients = [_start(roots[first :: size.processes], size.uploads, folder) for first in range(size.processes)]
    peak = 0
    assert plane.aggregator.process is not None
    while plane.aggregator.process.poll() is None:
        peak = max(peak, high_water(plane.aggregator.process.pid))
        _look(clients)
    if plane.aggregator.process.returncode:
        raise RuntimeError(plane.aggregator.log[-4000:])
    for process in clients:
        process.wait()
    _check(plane, size)
    return Outcome([line["seconds"] for line in plane.history[1:]], peak)


def _plane(folder: Path, size: Size) -> DataPlane:
    colluders = default_colluders(size.clients)
    threshold = least_threshold(size.clients, colluders)
    aggregation = Aggregation("SecAggPlus", threshold, colluders, max(threshold, colluders + 2))
    changes: dict[str, Any] = {
        "rounds": size.rounds,
        "task": Task("flat:Flat", parameters={"values": size.values}),
        "aggregation": replace(aggregation, slots_per_epoch=size.slots_per_epoch),
        "min_clients": size.clients,
        "round_deadline_seconds": 3000,
    }
    return DataPlane(folder / "plane", size.clients, changes, tasks=TASKS)


def _start(roots: list[Path], uploads: int, folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "bench.light_clients", str(uploads), *map(str, roots)]
    with (folder / "clients.log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, cwd=Path(__file__).parents[1], env={**os.environ, **MALLOC})


def _look(clients: list[subprocess.Popen[bytes]]) -> None:
    """Wait a moment; raise CalledProcessError if clients broke down meanwhile."""
    for process in clients:
        if process.poll():
            raise subprocess.CalledProcessError(process.returncode, process.args)
    try:
        clients[0].wait(0.1)
    except subprocess.TimeoutExpired:
        return


def _check(plane: DataPlane, size: Size) -> None:
    """Each round moved every parameter by the mean of the clients' updates, exactly."""
    expected = size.rounds * STEP * (size.clients + 1) / 2
    found = plane.model()["flat"]
    if not np.all(found == np.float32(expected)):
        raise WrongSum(f"parameters from {found.min()} to {found.max()}, expected {expected}")
