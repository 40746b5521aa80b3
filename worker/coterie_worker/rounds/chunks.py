"""A long vector as pieces that fit the cache, so that arithmetic needs no second vector."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 1 << 16  # elements: 256 KiB of float32


def chunks(length: int, size: int = CHUNK) -> Iterator[slice]:
    """Yield the slices that cover `range(length)` in order."""
    for start in range(0, length, size):
        yield slice(start, min(start + size, length))
