"""Element types of tensors, and float32 ↔ each float type with numpy alone.

numpy has no bfloat16, so the published file's bfloat16 tensors are rounded here, to nearest, ties to even (IEEE 754-2019,
§4.3.1), as torch rounds.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]

# Name (as torch spells it) → code in a safetensors header, bytes an element.
CODES: Final[dict[str, tuple[str, int]]] = {
    "float64": ("F64", 8),
    "float32": ("F32", 4),
    "float16": ("F16", 2),
    "bfloat16": ("BF16", 2),
    "int64": ("I64", 8),
    "int32": ("I32", 4),
    "int16": ("I16", 2),
    "int8": ("I8", 1),
    "uint64": ("U64", 8),
    "uint32": ("U32", 4),
    "uint16": ("U16", 2),
    "uint8": ("U8", 1),
    "bool": ("BOOL", 1),
    "complex64": ("C64", 8),
    "float8_e4m3fn": ("F8_E4M3", 1),
    "float8_e5m2": ("F8_E5M2", 1),
}
NAMES: Final[dict[str, str]] = {code: name for name, (code, _) in CODES.items()}
FLOATS: Final = frozenset({"float64", "float32", "float16", "bfloat16"})  # what may lie in the vector
_NUMPY: Final = {"float64": "<f8", "float32": "<f4", "float16": "<f2"}


def to_bytes(values: Vector, dtype: str) -> memoryview:
    """The little-endian bytes of `values` rounded to `dtype`, to nearest, ties to even.

    What exceeds the range of a narrower type becomes infinity, as in torch; NaN stays NaN. float32 is not copied.
    """
    if dtype == "bfloat16":
        return _to_bfloat16(values).view(np.uint8).data
    with np.errstate(over="ignore", invalid="ignore"):
        return np.ascontiguousarray(values, dtype=_NUMPY[dtype]).view(np.uint8).data


def from_bytes(data: memoryview, dtype: str) -> Vector:
    """The flat float32 values of little-endian `data`; exact except from float64, which is rounded."""
    if dtype == "bfloat16":
        return (np.frombuffer(data, dtype="<u2").astype(np.uint32) << 16).view(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.frombuffer(data, dtype=_NUMPY[dtype]).astype(np.float32)


def _to_bfloat16(values: Vector) -> NDArray[np.uint16]:
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    # Adding just under half a unit, plus the lowest kept bit, carries exactly when rounding to even goes up.
    rounded = ((bits + (np.uint32(0x7FFF) + ((bits >> 16) & 1))) >> 16).astype(np.uint16)
    nan = np.isnan(values)  # the carry could turn a NaN's bits into infinity or minus zero
    rounded[nan] = ((bits[nan] >> 16) | 0x0040).astype(np.uint16)
    return rounded.astype("<u2", copy=False)
