"""Updates as ring elements: fixed scale, stochastic rounding, clamping, and counted clamps.

Coordinates are clamped, never wrapped, to ±⌊(2^31 - 1)/n⌋, so the sum of n of them fits the signed ring whatever they are:
no abort depends on data. How many were clamped is one more coordinate, so that only its sum is ever seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from coterie_worker.secagg.errors import BadVector, InvalidParameters, NotFinite
from coterie_worker.secagg.masks import CHUNK, keystream

if TYPE_CHECKING:
    from collections.abc import Callable

WEIGHT_SCALE: Final = 2**16  # ring units of weight 1
_RING_LIMIT: Final = 2**31 - 1
_UNIT: Final = 2.0**-32
_ZEROS: Final = bytes(CHUNK * 4)


@dataclass(frozen=True, slots=True)
class Decoded:
    """The opened sum."""

    sum: NDArray[np.float32]  # of update * weight, d values
    weight: float | None  # sum of weights; None where updates are not weighted: divide by the number of survivors
    clamped: int  # coordinates that clients clamped


@dataclass(frozen=True, slots=True)
class Encoding:
    """How one client's update of `length` values becomes `size` ring elements, and a sum of them floats again.

    scale: ring units per 1.0; members: n, the most updates in a sum; weighted: whether the weight is a coordinate.
    """

    scale: int
    members: int
    length: int
    weighted: bool

    def __post_init__(self) -> None:
        if self.members < 1 or self.length < 0 or self.scale < 1:
            raise InvalidParameters(f"encoding: scale {self.scale}, members {self.members}, length {self.length} must be positive")
        if self.weighted and self.bound < WEIGHT_SCALE:
            raise InvalidParameters(f"encoding: {self.members} members, at most {_RING_LIMIT // WEIGHT_SCALE} fit with weights")

    @property
    def size(self) -> int:
        """Coordinates of an encoded vector: the values, the weight if weighted, the count of clamps."""
        return self.length + int(self.weighted) + 1

    @property
    def bound(self) -> int:
        """The largest magnitude of one client's coordinate."""
        return _RING_LIMIT // self.members

    def encode(self, update: NDArray[np.float32], factor: float, entropy: Callable[[int], bytes]) -> NDArray[np.uint32]:
        """Return the ring elements of `update * factor`, rounded at random so that their expectation is exact.

        Args: update: float32[length]. factor: the update's weight in [0, 1], min(1, examples / cap); 1 where not weighted.
            It is rounded to 1/2^16 first, so that values and weight coordinate agree. entropy: 32 bytes are drawn.
        Raises: NotFinite, BadVector.
        Formal guarantees: each coordinate is in ±bound; an unclamped one differs from update * factor * scale by less than 1.
        """
        if update.shape != (self.length,) or update.dtype != np.float32:
            raise BadVector(f"update: {update.dtype}{update.shape}, expected float32({self.length},)")
        if not 0 <= factor <= 1 or (factor != 1 and not self.weighted):
            raise BadVector(f"weight: {factor}, allowed is {'0 to 1' if self.weighted else '1, updates are not weighted'}")
        weight = round(WEIGHT_SCALE * factor)
        encoded = np.empty(self.size, np.uint32)
        clamped = self._round(update, self.scale * weight / WEIGHT_SCALE, encoded[: self.length].view(np.int32), entropy(32))
        if self.weighted:
            encoded[self.length] = weight
        encoded[-1] = min(clamped, self.bound)
        return encoded

    def _round(self, update: NDArray[np.float32], factor: float, out: NDArray[np.int32], seed: bytes) -> int:
        stream = keystream(seed)
        size = min(CHUNK, max(1, self.length))
        values, fractions, words = np.empty(size), np.empty(size), np.empty(size, np.uint32)
        clamped = 0
        for low in range(0, self.length, CHUNK):
            part = update[low : low + CHUNK]
            count = len(part)
            # float64 throughout: in float32 the random fraction would vanish beside large values.
            np.multiply(part, factor, out=values[:count], dtype=np.float64)
            stream.update_into(memoryview(_ZEROS)[: 4 * count], words[:count].data.cast("B"))
            np.multiply(words[:count], _UNIT, out=fractions[:count])
            np.add(values[:count], fractions[:count], out=values[:count])
            np.floor(values[:count], out=values[:count])
            clamped += self._clamp(values[:count])
            np.copyto(out[low : low + CHUNK], values[:count], casting="unsafe")
        return clamped

    def _clamp(self, values: NDArray[np.float64]) -> int:
        low, high = float(values.min()), float(values.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise NotFinite("the update holds NaN or infinity")
        if -self.bound <= low and high <= self.bound:
            return 0
        outside = int(np.count_nonzero(np.abs(values) > self.bound))
        np.clip(values, -self.bound, self.bound, out=values)
        return outside

    def decode(self, summed: NDArray[np.uint32]) -> Decoded:
        """Return the floats of an opened sum: uint32[size].

        Raises: BadVector.
        """
        if summed.shape != (self.size,) or summed.dtype != np.uint32:
            raise BadVector(f"sum: {summed.dtype}{summed.shape}, expected uint32({self.size},)")
        signed = summed.view(np.int32)
        values = np.empty(self.length, np.float32)
        np.multiply(signed[: self.length], 1.0 / self.scale, out=values, casting="same_kind")
        weight = float(signed[self.length]) / WEIGHT_SCALE if self.weighted else None
        return Decoded(values, weight, int(signed[-1]))
