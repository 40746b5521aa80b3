"""Does a task understand a data set? Asked by its owner, inside the tenant, where the whole answer may be read."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

import torch

from coterie_worker.training.batches import batches_of, in_order
from coterie_worker.training.device import limit_threads
from coterie_worker.training.evaluate import measure
from coterie_worker.training.opening import own_collate
from coterie_worker.training.task import Task, resolve

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from coterie_worker.training.batches import Batches


def check_data(entrypoint: str, parameters: Mapping[str, Any], path: Path, split: str = "train", batch_size: int = 32) -> tuple[str, ...]:
    """What is wrong with the data below `path`, in words for its owner; empty if nothing is.

    Loads the data and puts one batch through loss, gradient and metrics. Unlike everything else that leaves this room, the
    answer quotes exceptions in full: it may hold data, and must not leave the tenant.
    """
    limit_threads()
    try:
        _try(resolve(entrypoint)(parameters), path, split, batch_size)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the task's code may raise anything
        return tuple(line.rstrip() for line in traceback.format_exception(error))
    return ()


def _try(task: Task, path: Path, split: str, batch_size: int) -> None:
    model = task.build_model(task.parameters)
    batches = batches_of(task.load_data(path, split), own_collate(task), torch.device("cpu"))
    first = next(iter(batches.at(in_order(batches.size, batch_size))))
    differentiate(task.loss(model, first))
    measure(task, model, _First(first, batches))


def differentiate(loss: Tensor) -> None:
    """Take the gradient of the loss of a batch.

    Raises:
        TypeError, ValueError: it is no tensor, no scalar, or not finite.
        RuntimeError: it doesn't depend on the model's parameters.
    """
    if not isinstance(loss, torch.Tensor):
        raise TypeError(f"loss returned a {type(loss).__name__}, allowed: a scalar tensor")
    if loss.shape != ():
        raise ValueError(f"loss returned a tensor of shape {tuple(loss.shape)}, allowed: a scalar")
    if not torch.isfinite(loss):
        raise ValueError(f"loss returned {loss.item()} on the first batch, allowed: a finite number")
    torch.autograd.backward(loss)


class _First:
    """The first batch alone."""

    def __init__(self, batch: Any, batches: Batches) -> None:
        self.size = min(1, batches.size)
        self._batch = batch

    def at(self, _: object) -> Any:
        return iter([self._batch])
