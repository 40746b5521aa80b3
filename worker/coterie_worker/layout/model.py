"""Between the flat vector and a whole model as a safetensors file."""

from __future__ import annotations

import numpy as np

from coterie_worker.layout.dtypes import Vector, from_bytes, to_bytes
from coterie_worker.layout.errors import Mismatch
from coterie_worker.layout.tensorfile import Tensor, read, write
from coterie_worker.layout.vector import Entry, Kind, Layout


def publish(layout: Layout, vector: Vector, fixed: bytes) -> bytes:
    """The whole model as a safetensors file that `load_state_dict(strict=True)` takes.

    Tensors of the vector are rounded to their own dtype, to nearest, ties to even; aliases are written out as copies;
    frozen parameters and integer buffers come, bit for bit, from `fixed`, the initial model's file.

    Args:
        layout: of the model.
        vector: float32[layout.size], all finite.
        fixed: the initial model, a safetensors file.

    Raises:
        Mismatch: the vector's length, or a fixed tensor, does not fit the layout.
        InvalidFile: `fixed` is no safetensors file.
    """
    if vector.shape != (layout.size,) or vector.dtype != np.float32:
        raise Mismatch(f"a vector of {vector.dtype}{list(vector.shape)}, the layout needs float32[{layout.size}]")
    initial = read(fixed)
    tensors: dict[str, Tensor] = {}
    for entry in layout.entries:
        source = entry.alias_of or entry.name
        if source in tensors:
            tensors[entry.name] = tensors[source]
        elif entry.kind is Kind.FIXED:
            tensors[entry.name] = _checked(entry, initial.get(source))
        else:
            tensors[entry.name] = _rounded(entry, vector)
    return write(tensors, {"format": "pt"})


def pack(model: bytes, layout: Layout) -> Vector:
    """The vector, float32[layout.size], of a safetensors file that fits the layout.

    Names of aliases may be missing, as `safetensors.torch.save_model` leaves them out; where present they must hold the
    same bytes as what they name.

    Raises:
        Mismatch: a tensor is missing, unknown, of another shape or dtype, or an alias differs from what it names.
        InvalidFile: `model` is no safetensors file.
    """
    tensors = read(model)
    check(tensors, layout)
    vector = np.empty(layout.size, dtype=np.float32)
    for entry in layout.in_vector:
        vector[entry.offset : entry.end] = from_bytes(tensors[entry.name].data, entry.dtype)
    return vector


def check(tensors: dict[str, Tensor], layout: Layout) -> None:
    """Raise Mismatch unless `tensors` are exactly those of the layout."""
    unknown = sorted(tensors.keys() - {entry.name for entry in layout.entries})
    if unknown:
        raise Mismatch(f"tensor {unknown[0]!r} is not in the task's model ({len(unknown)} such)")
    for entry in layout.entries:
        if entry.alias_of and entry.name not in tensors:
            continue
        tensor = _checked(entry, tensors.get(entry.name))
        if entry.alias_of and not _same(tensor.data, tensors[entry.alias_of].data):
            raise Mismatch(f"tensor {entry.name!r} differs from {entry.alias_of!r}, to which the task's model ties it", entry.name)


def _same(one: memoryview, other: memoryview) -> bool:
    return np.array_equal(np.frombuffer(one, np.uint8), np.frombuffer(other, np.uint8))


def _checked(entry: Entry, tensor: Tensor | None) -> Tensor:
    if tensor is None:
        raise Mismatch(f"tensor {entry.name!r} is missing", entry.name)
    if (tensor.dtype, tensor.shape) != (entry.dtype, entry.shape):
        found, allowed = f"{tensor.dtype}{list(tensor.shape)}", f"{entry.dtype}{list(entry.shape)}"
        raise Mismatch(f"tensor {entry.name!r} is {found}, the layout needs {allowed}", entry.name)
    return tensor


def _rounded(entry: Entry, vector: Vector) -> Tensor:
    values = vector[entry.offset : entry.end]
    if entry.minimum is not None:
        values = np.maximum(values, np.float32(entry.minimum))
    return Tensor(entry.dtype, entry.shape, to_bytes(values, entry.dtype))
