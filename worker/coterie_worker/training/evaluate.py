"""A model's score on data that is not private: the task's metrics, added up over all batches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch

from coterie_api.progress import DropReason
from coterie_worker.training.batches import Batches, in_order
from coterie_worker.training.device import choose_device, limit_threads
from coterie_worker.training.failure import Guard
from coterie_worker.training.opening import bind, open_batches, open_model, open_task

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from coterie_api.podconfig import JobConfig
    from coterie_worker.layout import Layout
    from coterie_worker.layout.dtypes import Vector
    from coterie_worker.training.task import Task

BATCH_SIZE: Final = 256  # without gradients a batch needs little memory, and small ones waste time


@dataclass(frozen=True, slots=True)
class Score:
    """What the task's metrics say of one model; a metric that is not finite is None.

    Attributes:
        accuracy, loss: the metrics of these names, None if the task has none.
        metrics: every metric: sum over count.
        examples: tested on.
    """

    accuracy: float | None
    loss: float | None
    metrics: Mapping[str, float | None]
    examples: int


class Scorer:
    """Scores models of one job on the split "test" of one folder; made once."""

    def __init__(self, job: JobConfig, data: Path, layout: Layout, initial: bytes) -> None:
        """Import the task, build its model, load the data.

        Raises:
            TaskFailure: TASK_IMPORT_FAILED, TASK_RAISED, NO_DATA, WRONG_SHAPE or OUT_OF_MEMORY.
        """
        limit_threads()
        device = choose_device()
        self._guard = Guard.of(job.task.entrypoint)
        self._layout = layout
        self._task = open_task(self._guard, job)
        self._model = open_model(self._guard, self._task, job, device)
        self._binding = bind(self._guard, self._model, layout, initial)
        self._batches = open_batches(self._guard, self._task, data, "test", device)

    def score(self, parameters: Vector) -> Score:
        """The score of the model with `parameters`, float32[layout.size].

        Raises:
            TaskFailure: TASK_RAISED, WRONG_SHAPE or OUT_OF_MEMORY.
        """
        if parameters.shape != (self._layout.size,):
            raise self._guard.refuse(DropReason.WRONG_SHAPE, f"parameters of shape {parameters.shape}, allowed ({self._layout.size},)")
        self._binding.write(parameters)
        metrics = self._guard(lambda: measure(self._task, self._model, self._batches))
        return Score(metrics.get("accuracy"), metrics.get("loss"), metrics, self._batches.size)


@torch.no_grad()
def measure(task: Task, model: nn.Module, batches: Batches) -> dict[str, float | None]:
    """Each metric's sum over its count, over all of `batches`, with the model in evaluation mode."""
    model.eval()
    sums: dict[str, float] = {}
    counts: dict[str, float] = {}
    for batch in batches.at(in_order(batches.size, BATCH_SIZE)):
        for name, (total, count) in task.metrics(model, batch).items():
            sums[name] = sums.get(name, 0.0) + _number(total)
            counts[name] = counts.get(name, 0.0) + _number(count)
    return {name: _ratio(total, counts[name]) for name, total in sums.items()}


def _number(value: Any) -> float:
    return float(value.item() if isinstance(value, torch.Tensor) else value)


def _ratio(total: float, count: float) -> float | None:
    mean = total / count if count else math.nan
    return mean if math.isfinite(mean) else None
