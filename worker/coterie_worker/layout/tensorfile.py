"""Safetensors files as bytes, read and written without torch.

The format is a little-endian length, a JSON header and the tensors' bytes
(https://huggingface.co/docs/safetensors/index#format). It is written here, not through the `safetensors` package, because
that package's interface for raw bytes changed between releases; the tests hold the two against each other.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, Final

from coterie_worker.layout.dtypes import CODES, NAMES
from coterie_worker.layout.errors import InvalidFile

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_HEADER_BYTES: Final = 100_000_000  # the limit of the format's reference reader
_ALIGNMENT: Final = 8
_MAX_BYTES: Final = 2**63 - 1  # of a file, anywhere; a number far beyond could not even be printed


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor as raw little-endian bytes in row-major order; `dtype` as torch spells it."""

    dtype: str
    shape: tuple[int, ...]
    data: memoryview


def write(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """The safetensors file of `tensors`; equal tensors and metadata give equal bytes."""
    # Widest elements first, as the reference writer does: every tensor then starts at a multiple of its element's width.
    names = sorted(tensors, key=lambda name: (-CODES[tensors[name].dtype][1], name))
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    offset = 0
    for name in names:
        tensor = tensors[name]
        end = offset + tensor.data.nbytes
        header[name] = {"dtype": CODES[tensor.dtype][0], "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return b"".join([len(text).to_bytes(8, "little"), text, *(tensors[name].data for name in names)])


def read(data: bytes) -> dict[str, Tensor]:
    """The tensors of a safetensors file, as views of `data`.

    Raises:
        InvalidFile: the file is cut short, its header is not what the format says, or a tensor's bytes don't match its shape.
    """
    view = memoryview(data)
    start, header = _header(view)
    body = view[start:]
    tensors = {name: _tensor(name, entry, body) for name, entry in header.items() if name != "__metadata__"}
    used = sum(tensor.data.nbytes for tensor in tensors.values())
    if used != body.nbytes:
        raise InvalidFile(f"the tensors take {used} bytes, the file holds {body.nbytes}")
    return tensors


def _header(view: memoryview) -> tuple[int, dict[str, Any]]:
    if view.nbytes < 8:
        raise InvalidFile(f"{view.nbytes} bytes, a safetensors file has at least 8")
    length = int.from_bytes(view[:8], "little")
    if length > min(MAX_HEADER_BYTES, view.nbytes - 8):
        raise InvalidFile(f"the header claims {length} bytes, the file holds {view.nbytes - 8} after its length")
    try:
        header = json.loads(bytes(view[8 : 8 + length]), object_pairs_hook=_unique)
    except InvalidFile:
        raise
    except (ValueError, RecursionError) as error:  # no UTF-8, no JSON, a number of thousands of digits; too deep
        raise InvalidFile(f"the header is not JSON ({type(error).__name__})") from None
    if not isinstance(header, dict):
        raise InvalidFile(f"the header is a JSON {type(header).__name__}, not an object")
    return 8 + length, header


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if len(set(keys)) != len(keys):
        raise InvalidFile("the header names one thing twice")
    return dict(pairs)


def _tensor(name: str, entry: object, body: memoryview) -> Tensor:
    match entry:
        case {"dtype": str(code), "shape": [*shape], "data_offsets": [int(begin), int(end)]}:
            pass
        case _:
            raise InvalidFile(f"tensor {name!r}: its header entry lacks dtype, shape or data_offsets")
    if code not in NAMES:
        raise InvalidFile(f"tensor {name!r}: dtype {code!r} is none of {', '.join(sorted(NAMES))}")
    if not all(type(n) is int and n >= 0 for n in shape):
        raise InvalidFile(f"tensor {name!r}: shape {shape} holds something other than sizes")
    expected = prod(shape) * CODES[NAMES[code]][1]
    if max(expected, *shape, 0) > _MAX_BYTES:
        raise InvalidFile(f"tensor {name!r}: its shape has more elements than any file")
    if not 0 <= begin <= end <= body.nbytes or end - begin != expected:
        raise InvalidFile(f"tensor {name!r}: bytes {begin} to {end} of {body.nbytes}, its shape and dtype need {expected}")
    return Tensor(NAMES[code], tuple(shape), body[begin:end])
