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

from bench import jobs, plain
from bench.table import Row
from coterie_api.fields import parse
from coterie_api.podconfig import JobConfig

if TYPE_CHECKING:
    from collections.abc import Iterable

EXAMPLE = Path(__file__).parents[1] / "examples" / "fashion-mnist"
FLOWER_ROUNDS = 6
LAST = 5  # rounds whose mean accuracy is compared


def rows(scratch: Path) -> Iterable[Row]:
    """Our run first: its initial model and its job configuration are what plain training starts from."""
    folder = scratch / "fashion-mnist"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("volumes", "__pycache__"))
    subprocess.run([sys.executable, str(folder / "prepare.py"), str(folder)], check=True)
    ours = jobs.run(folder, scratch / "out")
    job, initial = _frozen(scratch / "out")
    ideal = plain.train(job, folder, initial, _shards(job, folder), folder / "volumes" / "research" / "fashion-test")
    flower = _flower(folder, FLOWER_ROUNDS)
    pace = statistics.mean(ours.seconds)
    yield Row(
        "fashion: seconds a round, secure aggregation on, vs two plain processes", pace, statistics.mean(ideal.seconds[1:]), "s", 1.15
    )
    yield Row("fashion: seconds a round, vs Flower's simulation without secure aggregation", pace, statistics.mean(flower[1:]), "s", 0.65)
    yield Row("fashion: accuracy of the last round", ours.accuracy[-1], 0.86, "", 1, at_most=False)
    gap = abs(statistics.mean(ours.accuracy[-LAST:]) - statistics.mean(ideal.accuracy[-LAST:]))
    yield Row("fashion: mean accuracy of the last 5 rounds, distance from plain averaging", 100 * gap, 0.3, "points", 1)


def _frozen(output: Path) -> tuple[JobConfig, bytes]:
    """The job as its pods saw it, and the model that `initialize` made."""
    pods = next(output.rglob("job.json"))
    initial = next(output.rglob("initial/model.safetensors"))
    return parse(JobConfig, json.loads(pods.read_text())), initial.read_bytes()


def _shards(job: JobConfig, folder: Path) -> list[plain.Shard]:
    import numpy as np

    paths = [folder / "volumes" / entry.namespace / entry.dataset for entry in job.roster]
    return [plain.Shard(path, len(np.load(path / "train-labels.npy", mmap_mode="r"))) for path in paths]


def _flower(folder: Path, rounds: int) -> list[float]:
    """Seconds of each round in Flower's simulation; it needs an environment of its own (its protobuf is older than ours)."""
    python = _environment() / "bin" / "python"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    script = Path(__file__).with_name("flower_peer.py")
    said = subprocess.run(
        [str(python), str(script), str(folder), str(rounds)], env=environment, check=True, capture_output=True, text=True
    ).stdout
    line = next(line for line in said.splitlines() if line.startswith("SECONDS "))
    seconds: list[float] = json.loads(line.removeprefix("SECONDS "))
    return seconds


def _environment() -> Path:
    from bench.peer import flower

    return flower()
