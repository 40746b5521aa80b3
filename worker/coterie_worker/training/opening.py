"""From a job's configuration to the task's model and data, with every failure of the task's code caught."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from coterie_api.progress import DropReason
from coterie_worker.layout import Layout, LayoutError
from coterie_worker.training.batches import Batches, batches_of
from coterie_worker.training.binding import Binding
from coterie_worker.training.failure import EmptyDataError, Guard
from coterie_worker.training.task import Task, resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from coterie_api.podconfig import JobConfig


def load_task(entrypoint: str, parameters: Mapping[str, Any], client: str = "") -> Task:
    """The task that `pkg.module:Class` names, made with `parameters`.

    Raises:
        TaskFailure: TASK_IMPORT_FAILED; `client` is named in it.
    """
    return Guard.of(entrypoint, client)(lambda: resolve(entrypoint)(parameters), DropReason.TASK_IMPORT_FAILED)


def open_task(guard: Guard, job: JobConfig) -> Task:
    """The job's task. Raises TaskFailure with TASK_IMPORT_FAILED."""
    return load_task(job.task.entrypoint, job.task.parameters, guard.client)


def open_model(guard: Guard, task: Task, job: JobConfig, device: torch.device) -> nn.Module:
    """The task's model, initialized from the job's seed.

    Raises:
        TaskFailure: TASK_RAISED or OUT_OF_MEMORY.
    """
    torch.manual_seed(job.seed)
    return guard(lambda: _module(task.build_model(job.task.parameters)).to(device))


def bind(guard: Guard, model: nn.Module, layout: Layout, initial: bytes) -> Binding:
    """The model bound to the job's layout, with the initial model's fixed tensors. Raises TaskFailure with WRONG_SHAPE."""
    try:
        return Binding.of(model, layout, initial)
    except LayoutError as error:
        raise guard.misfit(error) from None


def open_batches(guard: Guard, task: Task, path: Path, split: str, device: torch.device) -> Batches:
    """The examples that `Task.load_data` returns.

    Raises:
        TaskFailure: TASK_RAISED, OUT_OF_MEMORY, or NO_DATA when there are none, or a file is missing.
    """
    return guard(lambda: batches_of(_load(task, path, split), own_collate(task), device))


def own_collate(task: Task) -> Callable[[list[Any]], Any] | None:
    """The task's `collate` if it has one of its own: without it, tensors are batched whole."""
    return None if type(task).collate is Task.collate else task.collate


def _load(task: Task, path: Path, split: str) -> Any:
    try:
        return task.load_data(path, split)
    except FileNotFoundError as error:
        raise EmptyDataError(f"a file that load_data reads is missing below {path}") from error


def _module(model: object) -> nn.Module:
    if not isinstance(model, nn.Module):
        raise TypeError(f"build_model returned a {type(model).__name__}, allowed: a torch.nn.Module")
    return model
