"""Follows the newest model: waits for one, scores it, writes what it found, and never looks back.

A model that comes while another is being scored waits; if a newer one comes meanwhile, it is skipped. So the evaluator is
never further behind than one score, however slow it is, and training never waits for it.
"""

from __future__ import annotations

import json
import signal
import sys
from dataclasses import asdict
from threading import Event
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from coterie_api.history import bounded
from coterie_api.names import PATH_CHECKPOINT, PATH_DATA, PATH_EVALUATION
from coterie_worker.durable import DISK, replace
from coterie_worker.training import Score, Scorer, TaskFailure, load_initial

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from coterie_api.podconfig import JobConfig

POLL_SECONDS: Final = 0.02  # one look into a folder of two or three files: some 20 microseconds
MODELS: Final = "models"  # below the checkpoint; <version>.f32, version = rounds done
SUFFIX: Final = ".f32"
NO_MODEL: Final = 0  # the version that no round makes: its file says why nothing is scored, and takes no model's place


def run(root: Path, job: JobConfig) -> None:
    """Score models until SIGTERM or SIGINT.

    Args:
        root: the pod's root folder.
        job: the job's configuration.

    Raises:
        TaskFailure: the task can't be imported, or the public data can't be loaded: nothing will ever be scored.
        OSError, LayoutError: `initialize` left no whole initial model.
    """
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    follow(root, job, stop.wait)


def follow(root: Path, job: JobConfig, wait: Callable[[float], bool]) -> None:
    """Score models until `wait`, which sleeps for at most the seconds it is given, returns True. Raises as `run`."""
    checkpoint = _under(root, PATH_CHECKPOINT)
    initial = load_initial(checkpoint)
    try:
        scorer = Scorer(job, _under(root, PATH_DATA), initial.layout, initial.model)
    except TaskFailure as failure:
        _say(_under(root, PATH_EVALUATION), NO_MODEL, failure)
        raise
    scored = -1
    while not wait(0):
        version = newest(checkpoint / MODELS)
        if version > scored:
            _score(scorer, checkpoint / MODELS, version, _under(root, PATH_EVALUATION))
            scored = version
        elif wait(POLL_SECONDS):
            return


def newest(models: Path) -> int:
    """The highest version that the folder holds, -1 if none."""
    try:
        names = [entry.name for entry in models.iterdir()]
    except FileNotFoundError:
        return -1  # no model was published yet
    return max((int(stem) for stem, dot, end in map(_split, names) if dot + end == SUFFIX and stem.isdecimal()), default=-1)


def _split(name: str) -> tuple[str, str, str]:
    return name.rpartition(".")


def _score(scorer: Scorer, models: Path, version: int, evaluation: Path) -> None:
    target = evaluation / f"{version}.json"
    if target.exists():
        return  # this process was restarted
    try:
        parameters = np.fromfile(models / f"{version}{SUFFIX}", dtype="<f4")
    except FileNotFoundError:
        return  # a newer one took its place
    try:
        document = _document(version, scorer.score(parameters))
    except TaskFailure as failure:
        # Said instead of a score, so that nobody waits for one. The data is public, and the message holds none of it.
        sys.stderr.write(f"model {version} could not be scored: {failure.message}\n")
        _say(evaluation, version, failure)
    else:
        replace(DISK, target, [json.dumps(document).encode()])


def _say(evaluation: Path, version: int, failure: TaskFailure) -> None:
    document = {
        "version": version,
        "accuracy": None,
        "loss": None,
        "metrics": {},
        "examples": 0,
        "error": failure.message,
        "failure": asdict(failure.drop),
    }
    replace(DISK, evaluation / f"{version}.json", [json.dumps(document).encode()])


def _document(version: int, score: Score) -> dict[str, Any]:
    return {
        "version": version,
        "accuracy": score.accuracy,
        "loss": score.loss,
        "metrics": bounded(score.metrics),
        "examples": score.examples,
    }


def _under(root: Path, path: str) -> Path:
    return root / path.lstrip("/")
