"""The initial model, made once: the same bits can't be had from one seed on two kinds of machine.

The aggregator's init container runs this in the worker image, without private data, before any tenant's pod starts; so
errors of the task's code that have nothing to do with the data show up here.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from coterie_api.names import PATH_CHECKPOINT
from coterie_api.progress import DropReason
from coterie_worker.durable import DISK
from coterie_worker.layout import Layout, LayoutError, pack, publish
from coterie_worker.training.batches import batches_of, in_order
from coterie_worker.training.binding import describe, snapshot
from coterie_worker.training.check import differentiate
from coterie_worker.training.device import limit_threads
from coterie_worker.training.failure import Guard
from coterie_worker.training.opening import open_model, open_task, own_collate

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from coterie_api.podconfig import JobConfig
    from coterie_worker.training.task import Task

FOLDER: Final = "initial"  # below the checkpoint
LAYOUT: Final = "layout.json"
MODEL: Final = "model.safetensors"
SYNTHETIC_EXAMPLES: Final = 8


@dataclass(frozen=True, slots=True)
class InitialModel:
    """What `initialize` leaves in the checkpoint."""

    layout: Layout
    model: bytes  # a safetensors file


def initialize(root: Path, job: JobConfig) -> InitialModel:
    """Write `initial/layout.json` and `initial/model.safetensors` below the checkpoint, both or neither, once.

    The model is the task's, initialized from the job's seed, or the job's `initial_model` checked against the task's
    layout. If both files are there already they are left as they are.

    Args:
        root: the pod's root folder.
        job: the job's configuration.

    Raises:
        TaskFailure: TASK_IMPORT_FAILED, TASK_RAISED, OUT_OF_MEMORY; WRONG_SHAPE if the model can't be laid out, if the
            initial model doesn't fit it, or if what was written before belongs to another model; NOT_FINITE.
            `termination` is the pod's last word, to exit 64 with.
    """
    limit_threads()
    guard = Guard.of(job.task.entrypoint)
    task = open_task(guard, job)
    model = open_model(guard, task, job, torch.device("cpu"))
    try:
        made = _make(root, job, model)
        if not np.isfinite(pack(made.model, made.layout)).all():
            raise guard.refuse(DropReason.NOT_FINITE, "the initial model")
        _try_synthetic(guard, task, model, job)
        return _keep(_under(root, PATH_CHECKPOINT) / FOLDER, made)
    except LayoutError as error:
        raise guard.refuse(DropReason.WRONG_SHAPE, str(error)) from None


def load_initial(checkpoint: Path) -> InitialModel:
    """What `initialize` left below `checkpoint`.

    Raises:
        OSError: it left nothing.
        LayoutError: the files are damaged.
    """
    folder = checkpoint / FOLDER
    found = InitialModel(Layout.from_json((folder / LAYOUT).read_bytes()), (folder / MODEL).read_bytes())
    pack(found.model, found.layout)
    return found


def _make(root: Path, job: JobConfig, model: nn.Module) -> InitialModel:
    layout = describe(model)
    if not job.initial_model:
        return InitialModel(layout, snapshot(model))
    given = _under(root, job.initial_model).read_bytes()
    return InitialModel(layout, publish(layout, pack(given, layout), given))  # with the aliases that the file may lack


def _try_synthetic(guard: Guard, task: Task, model: nn.Module, job: JobConfig) -> None:
    """One batch of made-up examples through the loss: a wrong shape is better found here than in every tenant's pod."""

    def attempt() -> None:  # iterating runs the task's data set and collate, the gradient whatever its loss was made of
        data = task.synthetic(SYNTHETIC_EXAMPLES, torch.Generator().manual_seed(job.seed))
        if data is None:
            return
        batches = batches_of(data, own_collate(task), torch.device("cpu"))
        for batch in batches.at(in_order(batches.size, SYNTHETIC_EXAMPLES)):
            differentiate(task.loss(model, batch))

    guard(attempt)


def _keep(folder: Path, made: InitialModel) -> InitialModel:
    """Put both files in place with one rename; a folder that is there already is complete, and wins."""
    if folder.exists():
        found = load_initial(folder.parent)
        if found.layout != made.layout:
            raise LayoutError(f"{folder} holds another model's layout; the job's checkpoint can't serve two tasks")
        return found
    draft = folder.with_name(FOLDER + ".tmp")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    DISK.write(draft / LAYOUT, [made.layout.to_json()])
    DISK.write(draft / MODEL, [made.model])
    DISK.sync(draft)
    DISK.rename(draft, folder)
    DISK.sync(folder.parent)
    return made


def _under(root: Path, path: str) -> Path:
    return root / path.lstrip("/")
