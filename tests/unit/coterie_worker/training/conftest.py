"""Jobs and task modules for the tests of the training room."""

from __future__ import annotations

import itertools
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest
import torch

from coterie_api.podconfig import Aggregation, JobConfig, RosterEntry
from coterie_api.v1alpha1.types import Evaluation, Optimizer, Strategy, Task, Training

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NUMBERS = itertools.count()

LINEAR = """
import torch
from torch import nn
from coterie_worker.training import Task

class Line(Task):
    def build_model(self, parameters):
        return nn.Linear(2, 3)

    def load_data(self, path, split):
        generator = torch.Generator().manual_seed(5)
        return torch.randn(20, 2, generator=generator), torch.randint(3, (20,), generator=generator)
"""


@pytest.fixture(autouse=True)
def _own_randomness():
    """`open_model` seeds torch's global generator; no test sees what another did to it."""
    with torch.random.fork_rng():
        yield


@pytest.fixture
def task_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Writes a module of task code and returns its name, new each time."""
    home = tmp_path / "code"
    home.mkdir()
    monkeypatch.syspath_prepend(home)
    made: list[str] = []

    def write(source: str = LINEAR, name: str = "") -> str:
        name = name or f"task_{next(NUMBERS)}"
        (home / f"{name}.py").write_text(textwrap.dedent(source))
        made.append(name)
        return name

    yield write
    for name in made:
        sys.modules.pop(name, None)


@pytest.fixture
def line(task_module) -> str:
    """Entrypoint of a linear model on twenty examples."""
    return f"{task_module()}:Line"


@pytest.fixture
def job_of() -> Callable[..., JobConfig]:
    """A job of two clients; any field may be given."""

    def make(entrypoint: str, training: Training | None = None, **changes: Any) -> JobConfig:
        fields: dict[str, Any] = {
            "job_uid": "uid",
            "job_namespace": "research",
            "job_name": "job",
            "rounds": 10,
            "seed": 3,
            "task": Task(entrypoint, changes.pop("parameters", {})),
            "training": training or Training(batch_size=4, optimizer=Optimizer(learning_rate=0.1)),
            "strategy": Strategy(),
            "aggregation": Aggregation("None", 1, 0, 1),
            "roster": (RosterEntry("tenant-a", "visits", ""), RosterEntry("tenant-b", "visits", "")),
            "min_clients": 1,
            "round_deadline_seconds": 60,
            "assembly_deadline_seconds": 60,
            "evaluation": Evaluation(),
        }
        return JobConfig(**(fields | changes))

    return make


@pytest.fixture
def trainer_of(tmp_path: Path, job_of):
    """A Trainer of the task, with the initial model that `initialize` made, and that model's vector."""
    from coterie_worker.layout import pack
    from coterie_worker.training import Trainer, initialize

    def make(entrypoint: str, *args: Any, index: int = 0, **changes: Any):
        job = job_of(entrypoint, *args, **changes)
        made = initialize(tmp_path / f"root-{next(NUMBERS)}", job)
        return Trainer(job, tmp_path, made.layout, made.model, index=index), pack(made.model, made.layout)

    return make
