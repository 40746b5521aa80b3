"""Fashion-MNIST, ten clients: our job against plain training on the same machine, and against Flower's simulation."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import psutil

from bench import jobs, peer, plain
from bench.table import Row
from coterie_operator.local.workspace import open_workspace

if TYPE_CHECKING:
    from collections.abc import Iterable

    from coterie_api.v1alpha1.types import FederatedJobSpec

EXAMPLE = Path(__file__).parents[1] / "examples" / "fashion-mnist"
FLOWER_TRAINED = 0.8  # accuracy that a model which trained has in the end
LAST = 5  # rounds whose mean accuracy is compared


def rows(scratch: Path) -> Iterable[Row]:
    """A round of each in turn: the machine's speed changes within minutes, and all three must have their share of it.

    Ours is first: its initial model and its job configuration are what plain training starts from.
    """
    folder = scratch / "fashion-mnist"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("volumes", "__pycache__"))
    spec = open_workspace(folder, {}).job.spec  # its data is prepared with it
    with jobs.Job(folder, scratch / "out") as job, Flower(folder, spec.rounds, scratch / "flower.log") as flower:
        job.next_round()  # carries the start of every client
        test = folder / "volumes" / "research" / "fashion-test"
        plainly = plain.Training(spec, folder, _initial(scratch / "out"), _shards(spec, folder), test)
        accuracy = [plainly.next_round()[1]]
        flower.next_round()
        seconds = []
        for _ in range(spec.rounds - 1):
            ours = job.next_round()
            ideal, tested = plainly.next_round()
            seconds.append((ours, ideal, flower.next_round()))
            accuracy.append(tested)
        flower.finish()
        outcome = job.finish()
    yield from _rows(outcome.accuracy, accuracy, *(statistics.mean(each) for each in zip(*seconds, strict=True)))


def _rows(ours: list[float], ideal: list[float], pace: float, plainly: float, simulated: float) -> Iterable[Row]:
    yield Row("fashion: seconds a round, secure aggregation on, vs two plain processes", pace, plainly, "s", 1.15)
    yield Row("fashion: seconds a round, vs Flower's simulation without secure aggregation", pace, simulated, "s", 0.65)
    yield Row("its limit: the two plain processes, vs Flower's simulation", plainly, simulated, "s", 0.65)
    yield Row("fashion: accuracy of the last round", ours[-1], 0.86, "", 1, at_most=False)
    gap = abs(statistics.mean(ours[-LAST:]) - statistics.mean(ideal[-LAST:]))
    yield Row("fashion: mean accuracy of the last 5 rounds, distance from plain averaging", 100 * gap, 0.3, "points", 1)


def _initial(output: Path) -> bytes:
    """The model that `initialize` made, which the run keeps with the checkpoint."""
    return next(output.rglob("initial/model.safetensors")).read_bytes()


def _shards(spec: FederatedJobSpec, folder: Path) -> list[plain.Shard]:
    """In the roster's order: a client's place in it seeds its shuffling."""
    paths = sorted(folder / "volumes" / each.namespace / each.name for each in spec.participants.datasets)
    return [plain.Shard(path, len(np.load(path / "train-labels.npy", mmap_mode="r"))) for path in paths]


class Flower:
    """Flower's simulation of the same job; it needs an environment of its own (its protobuf is older than ours)."""

    def __init__(self, folder: Path, rounds: int, log: Path) -> None:
        python = peer.flower() / "bin" / "python"
        self._command = [str(python), str(Path(__file__).with_name("flower_peer.py")), str(folder), str(rounds)]
        self._log = log

    def __enter__(self) -> Self:
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        with self._log.open("wb") as log:
            self._process = psutil.Popen(
                self._command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )
        return self

    def __exit__(self, *_: object) -> None:
        jobs.each(self._process, psutil.Process.resume)
        self._process.terminate()
        self._process.communicate()

    def next_round(self) -> float:
        """Run one more round; return its seconds. Its processes stand still before and after: idle ones of it look around all the time."""
        assert self._process.stdin is not None
        jobs.each(self._process, psutil.Process.resume)
        print(file=self._process.stdin, flush=True)
        seconds = self._found("SECONDS")
        jobs.each(self._process, psutil.Process.suspend)
        return seconds

    def finish(self) -> None:
        """Raises RuntimeError if its model has not learned: then its rounds are worth nothing."""
        jobs.each(self._process, psutil.Process.resume)
        accuracy = self._found("ACCURACY")
        if accuracy < FLOWER_TRAINED:
            raise RuntimeError(f"Flower's model has accuracy {accuracy} in the end, expected {FLOWER_TRAINED}: did its clients train?")

    def _found(self, word: str) -> float:
        """What stands behind a word at the beginning of a line: others print, too."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(word):
                return float(line.split()[1])
        raise RuntimeError(f"Flower's simulation ended early: {self._log.read_text()[-4000:]}")
