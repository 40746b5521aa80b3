"""A torch model bound to the flat vector: where its tensors lie, in and out."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.parameter import is_lazy

from coterie_worker.layout import Entry, Kind, Layout, Mismatch
from coterie_worker.layout.dtypes import CODES, FLOATS
from coterie_worker.layout.model import check
from coterie_worker.layout.tensorfile import Tensor as RawTensor
from coterie_worker.layout.tensorfile import read, write

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coterie_worker.layout.dtypes import Vector

_DTYPES: Final[dict[str, torch.dtype]] = {name: getattr(torch, name) for name in CODES if hasattr(torch, name)}
_NAMES: Final = {dtype: name for name, dtype in _DTYPES.items()}


def describe(model: nn.Module) -> Layout:
    """The layout of a model: what its `state_dict` names, each tensor once.

    Raises:
        Mismatch: the model can't be one flat vector plus fixed tensors; the message names the tensor.
    """
    return Layout.of(_entries(model))


def snapshot(model: nn.Module) -> bytes:
    """The model's whole `state_dict`, tied names included, as a safetensors file."""
    return write({name: _raw(tensor) for name, tensor in _state(model).items()}, {"format": "pt"})


@dataclass(frozen=True, slots=True)
class Binding:
    """A model's tensors, in the order of the vector."""

    layout: Layout
    tensors: tuple[Tensor, ...]  # of layout.in_vector
    counters: tuple[tuple[Tensor, Tensor], ...]  # integer buffers, and what the initial model has for each

    @classmethod
    def of(cls, model: nn.Module, layout: Layout, initial: bytes) -> Binding:
        """Bind `model`, and give its fixed tensors the values of the initial model.

        Raises:
            Mismatch: the model or the initial model is not of this layout.
            InvalidFile: `initial` is no safetensors file.
        """
        require(model, layout)
        stored = read(initial)
        check(stored, layout)
        state = _state(model)
        fixed = {entry.name: _tensor(stored[entry.name], state[entry.name].device) for entry in layout.fixed}
        with torch.no_grad():
            for name, value in fixed.items():
                state[name].copy_(value)
        counters = tuple((state[name], value) for name, value in fixed.items() if not isinstance(state[name], nn.Parameter))
        return cls(layout, tuple(state[entry.name] for entry in layout.in_vector), counters)

    @torch.no_grad()
    def write(self, vector: Vector) -> Vector:
        """Give the model the values of `vector`; what it then holds, as float32[size], rounded to each tensor's dtype.

        Where nothing is rounded or raised, that is `vector` itself.
        """
        # Without a copy where the model holds just what it is given; torch.from_numpy asks for a vector that may be written to.
        held = vector if self._holds_as_given and vector.flags.writeable else vector.copy()
        views = self._views(held)
        for entry, view in zip(self.layout.in_vector, views, strict=True):
            if entry.minimum is not None:
                view.clamp_(min=entry.minimum)
        _copy(self.tensors, views)
        if any(tensor.dtype != torch.float32 for tensor in self.tensors):
            _copy(views, self.tensors)
        for tensor, value in self.counters:
            tensor.copy_(value)
        return held

    @torch.no_grad()
    def read(self) -> Vector:
        """The model's values, float32[size]."""
        vector = np.empty(self.layout.size, dtype=np.float32)
        _copy(self._views(vector), self.tensors)
        return vector

    @torch.no_grad()
    def read_change(self, before: Vector) -> Vector:
        """The model's values minus `before`, which `write` returned; float32[size]."""
        if not (self._holds_as_given and before.flags.writeable and all(tensor.device.type == "cpu" for tensor in self.tensors)):
            vector = self.read()
            vector -= before
            return vector
        vector = np.empty(self.layout.size, dtype=np.float32)
        for tensor, old, change in zip(self.tensors, self._views(before), self._views(vector), strict=True):
            torch.sub(tensor, old, out=change)
        return vector

    @property
    def _holds_as_given(self) -> bool:
        is_raised = any(entry.minimum is not None for entry in self.layout.in_vector)
        return not is_raised and all(tensor.dtype == torch.float32 for tensor in self.tensors)

    def require_intact(self, model: nn.Module) -> None:
        """Raise Mismatch unless `model` still is what was bound, tensor by tensor."""
        require(model, self.layout)
        state = _state(model)
        for entry, tensor in zip(self.layout.in_vector, self.tensors, strict=True):
            if state[entry.name] is not tensor:
                raise Mismatch(f"tensor {entry.name!r} was replaced by another during training; training changes it in place", entry.name)

    def _views(self, vector: Vector) -> list[Tensor]:
        flat = torch.from_numpy(vector)
        return [flat[entry.offset : entry.end].view(entry.shape) for entry in self.layout.in_vector]


def require(model: nn.Module, layout: Layout) -> None:
    """Raise Mismatch, naming the first difference, unless `model` is of this layout."""
    found = describe(model)
    if found == layout:
        return
    theirs = {entry.name: entry for entry in layout.entries}
    for entry in found.entries:
        if entry.name not in theirs:
            raise Mismatch(f"tensor {entry.name!r} of the model is not in the layout")
        if entry != theirs[entry.name]:
            raise Mismatch(f"tensor {entry.name!r} is {_words(entry)}, the layout needs {_words(theirs[entry.name])}", entry.name)
    missing = sorted(theirs.keys() - {entry.name for entry in found.entries})
    if missing:
        raise Mismatch(f"tensor {missing[0]!r} of the layout is not in the model", missing[0])
    raise Mismatch("the tensors stand in another order")


def _words(entry: Entry) -> str:
    alias = f", tied to {entry.alias_of!r}" if entry.alias_of else ""
    return f"a {entry.kind} {entry.dtype}{list(entry.shape)} at {entry.offset}{alias}"


def _copy(targets: list[Tensor] | tuple[Tensor, ...], sources: list[Tensor] | tuple[Tensor, ...]) -> None:
    if targets:
        torch._foreach_copy_(targets, sources)


def _state(model: nn.Module) -> Mapping[str, Tensor]:
    state: dict[str, object] = model.state_dict(keep_vars=True)
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise Mismatch(f"{name!r} in the model's state_dict is a {type(value).__name__}, only tensors can be averaged")
        if is_lazy(value) or value.is_meta or value.layout is not torch.strided:
            raise Mismatch(f"tensor {name!r} is lazy, on the meta device or not dense: it has no values to lay out")
    return state  # type: ignore[return-value]  # all values were just seen to be tensors


def _entries(model: nn.Module) -> list[Entry]:
    state = _state(model)
    _check_reachable(model, state)
    variances = {id(module.running_var) for module in model.modules() if isinstance(module, _NormBase)}
    first: dict[int, str] = {}
    entries = []
    for name, tensor in state.items():
        alias_of = first.setdefault(id(tensor), name)
        minimum = 0.0 if id(tensor) in variances else None
        kind = _kind(name, tensor)
        entries.append(Entry(name, tuple(tensor.shape), _dtype(name, tensor), kind, "" if alias_of == name else alias_of, minimum))
    _check_apart({name: state[name] for name in first.values()})
    return entries


def _kind(name: str, tensor: Tensor) -> Kind:
    if isinstance(tensor, nn.Parameter):
        if not tensor.requires_grad:
            return Kind.FIXED
        if _dtype(name, tensor) not in FLOATS:
            raise Mismatch(f"parameter {name!r} is {tensor.dtype}, trainable ones may be {', '.join(sorted(FLOATS))}")
        return Kind.PARAMETER
    return Kind.BUFFER if _dtype(name, tensor) in FLOATS else Kind.FIXED


def _dtype(name: str, tensor: Tensor) -> str:
    if tensor.dtype not in _NAMES:
        raise Mismatch(f"tensor {name!r} is {tensor.dtype}, a safetensors file may hold {', '.join(sorted(_DTYPES))}")
    return _NAMES[tensor.dtype]


def _check_reachable(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """A parameter that `state_dict` hides would be trained by each client and shared by none."""
    shown = {id(tensor) for tensor in state.values()}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and id(parameter) not in shown:
            raise Mismatch(f"parameter {name!r} is not in the model's state_dict under its own storage")


def _check_apart(tensors: Mapping[str, Tensor]) -> None:
    """Two tensors that share memory without being the same one have two places in the vector, and one value."""
    spans = sorted((tensor.data_ptr(), name, tensor) for name, tensor in tensors.items() if tensor.numel())
    for (start, name, tensor), (other_start, other, _) in pairwise(spans):
        if other_start < start + tensor.element_size() * _extent(tensor):
            raise Mismatch(f"tensors {name!r} and {other!r} share memory but are not one; assign the same Parameter to both")


def _extent(tensor: Tensor) -> int:
    return 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))


def _raw(tensor: Tensor) -> RawTensor:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    data = flat.view(torch.uint8).numpy().data if flat.numel() else memoryview(b"")
    return RawTensor(_NAMES[tensor.dtype], tuple(tensor.shape), data)


def _tensor(raw: RawTensor, device: torch.device) -> Tensor:
    flat = torch.frombuffer(bytearray(raw.data), dtype=_DTYPES[raw.dtype]) if raw.data else torch.empty(0, dtype=_DTYPES[raw.dtype])
    return flat.reshape(raw.shape).to(device)
