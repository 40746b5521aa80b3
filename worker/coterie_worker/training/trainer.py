"""A client's side of a round, seen as numbers: parameters in, update out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from coterie_api.progress import DropReason
from coterie_worker.layout import Layout, LayoutError
from coterie_worker.layout.dtypes import Vector
from coterie_worker.training.device import choose_device, limit_threads
from coterie_worker.training.failure import Guard
from coterie_worker.training.opening import bind, open_batches, open_model, open_task
from coterie_worker.training.round import Round, round_seed, seeded

if TYPE_CHECKING:
    from pathlib import Path

    from coterie_api.podconfig import JobConfig
    from coterie_worker.training.binding import Binding


@dataclass(frozen=True, slots=True)
class Update:
    """What one client's round changed.

    Attributes:
        values: float32[layout.size], parameters and float buffers after minus before; all finite.
        examples: behind it, for weighting by examples.
    """

    values: Vector
    examples: int


class Trainer:
    """Trains one client's model on its own data; made once, then asked once a round.

    The same parameters and round give the same update on the same machine, whatever was trained before, as long as the
    task keeps no state of its own outside the model's `state_dict`.
    """

    def __init__(self, job: JobConfig, data: Path, layout: Layout, initial: bytes, *, index: int) -> None:
        """Import the task, build its model, load the data.

        Args:
            job: the job's configuration.
            data: the folder of the client's data.
            layout: of the job's vector, as `initialize` made it.
            initial: the initial model, a safetensors file.
            index: of the client in the roster: seeds its shuffling, names it in a Drop.

        Raises:
            TaskFailure: TASK_IMPORT_FAILED, TASK_RAISED, NO_DATA, WRONG_SHAPE or OUT_OF_MEMORY.
        """
        limit_threads()
        self._job, self._layout, self._initial = job, layout, initial
        self._index = index
        self._device = choose_device()
        self._guard = Guard.of(job.task.entrypoint, job.roster[index].client)
        self._task = open_task(self._guard, job)
        self._open: tuple[nn.Module, Binding] | None = self._build()
        self._batches = open_batches(self._guard, self._task, data, "train", self._device)

    @property
    def examples(self) -> int:
        """Number of examples of the client."""
        return self._batches.size

    def train(self, parameters: Vector, round_index: int) -> Update:
        """Train from `parameters`, float32[layout.size], through round `round_index`.

        Raises:
            TaskFailure: TASK_RAISED, WRONG_SHAPE, NOT_FINITE or OUT_OF_MEMORY; the next round may be asked for.
        """
        if parameters.shape != (self._layout.size,):
            raise self._guard.refuse(DropReason.WRONG_SHAPE, f"parameters of shape {parameters.shape}, allowed ({self._layout.size},)")
        model, binding = self._open or self._build()
        self._open = None  # until the round has gone well: what a failed one leaves of the model is not trained on
        values = self._changed(model, binding, parameters, round_index)
        self._open = model, binding
        return Update(values, self.examples)

    def _changed(self, model: nn.Module, binding: Binding, parameters: Vector, round_index: int) -> Vector:
        before = binding.write(parameters)
        model.train()
        seed = round_seed(self._job.seed, self._index, round_index)
        with seeded(seed):
            self._guard(lambda: self._task.train_round(model, self._round(model, round_index, seed)))
        try:
            binding.require_intact(model)
        except LayoutError as error:
            raise self._guard.misfit(error) from None
        values = binding.read_change(before)
        if not _is_finite(values):
            raise self._guard.refuse(DropReason.NOT_FINITE)
        return values

    def _round(self, model: nn.Module, index: int, seed: int) -> Round:
        # BatchNorm can't train on one example; which one is left out changes with the order.
        smallest = 2 if any(isinstance(module, _BatchNorm) for module in model.modules()) else 1
        job = self._job
        generator = torch.Generator().manual_seed(seed)
        return Round(index, job.rounds, job.training, job.strategy.pull, generator, self._device, self._batches, smallest)

    def _build(self) -> tuple[nn.Module, Binding]:
        model = open_model(self._guard, self._task, self._job, self._device)
        return model, bind(self._guard, model, self._layout, self._initial)


def _is_finite(values: Vector) -> bool:
    # One pass decides it for all but sums that overflow. Through torch: its sum heeds our thread limit and warns of nothing.
    tensor = torch.from_numpy(values)
    return bool(torch.isfinite(tensor.sum())) or bool(np.isfinite(values).all())
