"""Batches of a task's data: in seeded order for training, in plain order for tests.

Tensors are batched by indexing them whole, which costs a few microseconds a batch; any other map-style data set goes
through a DataLoader in this process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset, default_collate

from coterie_worker.training.failure import EmptyDataError


class Batches(Protocol):
    """Data that can be batched by lists of positions."""

    @property
    def size(self) -> int:
        """Number of examples."""

    def at(self, positions: Iterable[Tensor]) -> Iterator[Any]:
        """A batch for each tensor of positions (int64), on the device."""


@dataclass(frozen=True, slots=True)
class TensorBatches:
    """Tensors of equal length, on the device as a whole."""

    tensors: tuple[Tensor, ...]
    size: int

    def at(self, positions: Iterable[Tensor]) -> Iterator[tuple[Tensor, ...]]:
        device = self.tensors[0].device
        for rows in positions:
            there = rows.to(device)
            yield tuple(tensor.index_select(0, there) for tensor in self.tensors)


@dataclass(frozen=True, slots=True)
class LoadedBatches:
    """A map-style data set, loaded example by example."""

    data: Dataset[Any]
    size: int
    collate: Callable[[list[Any]], Any]
    device: torch.device

    def at(self, positions: Iterable[Tensor]) -> Iterator[Any]:
        order = (rows.tolist() for rows in positions)  # drawn as the loader asks: a round may have millions of steps
        for batch in DataLoader(self.data, batch_sampler=order, collate_fn=self.collate):
            yield _to(batch, self.device)


def batches_of(data: object, collate: Callable[[list[Any]], Any] | None, device: torch.device) -> Batches:
    """The batches of what `Task.load_data` returned; `collate` is the task's own, if it has one.

    Raises:
        EmptyDataError: it has no examples.
        TypeError, ValueError: it is no map-style data set, nor tensors of equal length.
    """
    _refuse_lookalikes(data)
    tensors = _tensors(data)
    if tensors is not None:
        if len({len(tensor) for tensor in tensors}) > 1:
            raise ValueError(f"load_data returned tensors of lengths {[len(tensor) for tensor in tensors]}, allowed: equal ones")
        if collate is None:
            return TensorBatches(tuple(tensor.to(device) for tensor in tensors), _positive(len(tensors[0])))
        data = TensorDataset(*tensors)
    if isinstance(data, IterableDataset) or not (hasattr(data, "__len__") and hasattr(data, "__getitem__")):
        raise TypeError(f"load_data returned a {type(data).__name__}, allowed: tensors, or a data set with __len__ and __getitem__")
    dataset = cast("Dataset[Any]", data)
    return LoadedBatches(dataset, _positive(len(data)), collate or default_collate, device)


def shuffled(size: int, batch_size: int, generator: torch.Generator, *, least: int = 1) -> Iterator[Tensor]:
    """One epoch: positions in random order, `batch_size` at a time; a last batch of fewer than `least` is left out."""
    order = torch.split(torch.randperm(size, generator=generator), batch_size)
    yield from order[:-1] if len(order) > 1 and len(order[-1]) < least else order


def in_order(size: int, batch_size: int) -> Iterator[Tensor]:
    """All positions in order, `batch_size` at a time."""
    yield from torch.split(torch.arange(size), batch_size)


def _positive(size: int) -> int:
    if size == 0:
        raise EmptyDataError("load_data returned no examples")
    return size


def _tensors(data: object) -> tuple[Tensor, ...] | None:
    """The tensors that `data` is made of, if its examples are exactly their rows."""
    if type(data) is TensorDataset:
        return data.tensors
    if type(data) is Subset and type(data.dataset) is TensorDataset:
        rows = torch.as_tensor(data.indices, dtype=torch.int64)
        return tuple(tensor.index_select(0, rows) for tensor in data.dataset.tensors)
    if isinstance(data, Tensor):
        return (data,)
    if isinstance(data, tuple | list) and data and all(isinstance(part, Tensor) for part in data):
        return tuple(data)
    return None


def _refuse_lookalikes(data: object) -> None:
    """Refuse what has a length and can be indexed, but not by examples: `(x, y)` of arrays would be a data set of two."""
    if isinstance(data, Mapping):
        raise TypeError(f"load_data returned a {type(data).__name__}, allowed: a tuple of tensors; for arrays use torch.from_numpy")
    parts = data if isinstance(data, tuple | list) else [data]
    if any(isinstance(part, np.ndarray) for part in parts):
        raise TypeError("load_data returned a numpy array, or several, allowed: tensors; use torch.from_numpy")
    if isinstance(data, tuple | list) and 0 < sum(isinstance(part, Tensor) for part in data) < len(data):
        raise TypeError(f"load_data returned a {type(data).__name__} of tensors and other things, allowed: tensors alone")


def _to(batch: Any, device: torch.device) -> Any:
    if device.type == "cpu":
        return batch
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, Mapping):
        return {key: _to(value, device) for key, value in batch.items()}
    if isinstance(batch, Sequence) and not isinstance(batch, str | bytes):
        return tuple(_to(value, device) for value in batch)
    return batch
