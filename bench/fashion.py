"""Fashion-MNIST, ten clients: our job against plain training on the same machine, and against Flower's simulation."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench import jobs, peer, plain
from bench.table import Row
from coterie_api.fields import parse
from coterie_api.v1alpha1.types import FederatedJobSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

EXAMPLE = Path(__file__).parents[1] / "examples" / "fashion-mnist"
FLOWER_ROUNDS = 6
FLOWER_TRAINED = 0.75  # accuracy that a model which trained has by then
LAST = 5  # rounds whose mean accuracy is compared


def rows(scratch: Path) -> Iterable[Row]:
    """Our run first: its initial model and its job configuration are what plain training starts from."""
    folder = scratch / "fashion-mnist"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("volumes", "__pycache__"))
    subprocess.run([sys.executable, str(folder / "prepare.py"), str(folder)], check=True)
    ours = jobs.run(folder, scratch / "out")
    spec = parse(FederatedJobSpec, ours.result["job"]["spec"])
    test = folder / "volumes" / "research" / "fashion-test"
    ideal = plain.train(spec, folder, _initial(scratch / "out"), _shards(spec, folder), test)
    flower = _flower(folder, FLOWER_ROUNDS)
    pace, plainly, simulated = (statistics.mean(seconds) for seconds in (ours.seconds, ideal.seconds[1:], flower[1:]))
    yield Row("fashion: seconds a round, secure aggregation on, vs two plain processes", pace, plainly, "s", 1.15)
    yield Row("fashion: seconds a round, vs Flower's simulation without secure aggregation", pace, simulated, "s", 0.65)
    yield Row("its limit: the two plain processes, vs Flower's simulation", plainly, simulated, "s", 0.65)
    yield Row("fashion: accuracy of the last round", ours.accuracy[-1], 0.86, "", 1, at_most=False)
    gap = abs(statistics.mean(ours.accuracy[-LAST:]) - statistics.mean(ideal.accuracy[-LAST:]))
    yield Row("fashion: mean accuracy of the last 5 rounds, distance from plain averaging", 100 * gap, 0.3, "points", 1)


def _initial(output: Path) -> bytes:
    """The model that `initialize` made, which the run keeps with the checkpoint."""
    return next(output.rglob("initial/model.safetensors")).read_bytes()


def _shards(spec: FederatedJobSpec, folder: Path) -> list[plain.Shard]:
    """In the roster's order: a client's place in it seeds its shuffling."""
    paths = sorted(folder / "volumes" / each.namespace / each.name for each in spec.participants.datasets)
    return [plain.Shard(path, len(np.load(path / "train-labels.npy", mmap_mode="r"))) for path in paths]


def _flower(folder: Path, rounds: int) -> list[float]:
    """Seconds of each round in Flower's simulation; it needs an environment of its own (its protobuf is older than ours)."""
    python = peer.flower() / "bin" / "python"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    script = Path(__file__).with_name("flower_peer.py")
    said = subprocess.run(
        [str(python), str(script), str(folder), str(rounds)], env=environment, check=True, capture_output=True, text=True
    ).stdout
    found = dict(line.split(" ", 1) for line in said.splitlines() if line.startswith(("SECONDS ", "ACCURACY ")))
    if float(found["ACCURACY"]) < FLOWER_TRAINED:
        raise RuntimeError(
            f"Flower's model has accuracy {found['ACCURACY']} after {rounds} rounds, expected {FLOWER_TRAINED}: did its clients train?"
        )
    seconds: list[float] = json.loads(found["SECONDS"])
    return seconds
