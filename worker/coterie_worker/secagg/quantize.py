"""Updates as ring elements: fixed scale, stochastic rounding, clamping, and counted clamps.

Coordinates are clamped, never wrapped, to ±⌊(2^(b-1) - 1)/n⌋ on the ring Z_2^b, so the sum of n of them fits the signed ring
whatever they are: no abort depends on data. How many were clamped is one more coordinate (clamped itself), so that only its
sum is ever seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from coterie_worker.secagg.errors import BadVector, InvalidParameters, NotFinite
from coterie_worker.secagg.masks import CHUNK, keystream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cryptography.hazmat.primitives.ciphers import CipherContext

WEIGHT_SCALE: Final = 2**16  # ring units of weight 1
_SIGNED: Final = {16: "<i2", 32: "<i4"}
PART: Final = 1 << 20  # words of a part: 4 MiB
_UNIT: Final = 2.0**-32
_ZEROS: Final = bytes(CHUNK * 4)


def _limit(ring_bits: int) -> int:
    return (1 << (ring_bits - 1)) - 1


@dataclass(frozen=True, slots=True)
class Decoded:
    """The opened sum."""

    sum: NDArray[np.float32]  # of update * weight, d values
    weight: float | None  # sum of weights; None where updates are not weighted: divide by the number of survivors
    clamped: int  # coordinates that clients clamped


@dataclass(frozen=True, slots=True)
class Encoding:
    """How one client's update of `length` values becomes `size` words, and a sum of them floats again.

    scale: ring units per 1.0; members: n, the most updates in a sum; weighted: whether the weight is a coordinate;
    ring_bits: 32, or 16 for two coordinates in a word (and no weights, whose sums would not fit).
    """

    scale: int
    members: int
    length: int
    weighted: bool
    ring_bits: int = 32

    def __post_init__(self) -> None:
        if self.members < 1 or self.length < 0 or self.scale < 1:
            raise InvalidParameters(f"encoding: scale {self.scale}, members {self.members}, length {self.length} must be positive")
        if self.ring_bits not in _SIGNED or self.bound < 1:
            raise InvalidParameters(f"encoding: {self.ring_bits} bits for {self.members} members, allowed is 16 or 32 and fewer members")
        if self.weighted and self.bound < WEIGHT_SCALE:
            most = _limit(self.ring_bits) // WEIGHT_SCALE
            raise InvalidParameters(f"encoding: {self.members} members, at most {most} fit with weights in {self.ring_bits} bits")

    @property
    def coordinates(self) -> int:
        """The values, the weight if weighted, the count of clamps."""
        return self.length + int(self.weighted) + 1

    @property
    def size(self) -> int:
        """32-bit words of an encoded vector."""
        return -(-self.coordinates * self.ring_bits // 32)

    @property
    def bound(self) -> int:
        """The largest magnitude of one client's coordinate."""
        return _limit(self.ring_bits) // self.members

    def encode(self, update: NDArray[np.float32], factor: float, entropy: Callable[[int], bytes]) -> NDArray[np.uint32]:
        """Return the ring elements of `update * factor`, rounded at random so that their expectation is exact.

        Args: update: float32[length]. factor: the update's weight in [0, 1], min(1, examples / cap); 1 where not weighted.
            It is rounded to 1/2^16 first, so that values and weight coordinate agree. entropy: 32 bytes are drawn.
        Raises: NotFinite, BadVector.
        Formal guarantees: each coordinate is in ±bound; an unclamped one differs from update * factor * scale by less than 1.
        """
        encoded = np.empty(self.size, np.uint32)
        self._check(update, factor)
        rounding = _Rounding(self, factor, keystream(entropy(32)))
        rounding.fill(encoded, 0, update)
        return encoded

    def parts(
        self, update: NDArray[np.float32], factor: float, entropy: Callable[[int], bytes], words: int = PART
    ) -> Iterator[NDArray[np.uint32]]:
        """Yield the same words as `encode`, at most `words` (a multiple of 4) at a time; each part is a new array.

        Args: update: may be a memory map, of which only a part is read at a time.
        """
        self._check(update, factor)
        rounding = _Rounding(self, factor, keystream(entropy(32)))
        for low in range(0, self.size, words):
            part = np.empty(min(words, self.size - low), np.uint32)
            rounding.fill(part, low, update)
            yield part

    def _check(self, update: NDArray[np.float32], factor: float) -> None:
        if update.shape != (self.length,) or update.dtype != np.float32:
            raise BadVector(f"update: {update.dtype}{update.shape}, expected float32({self.length},)")
        if not 0 <= factor <= 1 or (factor != 1 and not self.weighted):
            raise BadVector(f"weight: {factor}, allowed is {'0 to 1' if self.weighted else '1, updates are not weighted'}")

    def decode(self, summed: NDArray[np.uint32]) -> Decoded:
        """Return the floats of an opened sum: uint32[size].

        Raises: BadVector.
        """
        if summed.shape != (self.size,) or summed.dtype != np.uint32:
            raise BadVector(f"sum: {summed.dtype}{summed.shape}, expected uint32({self.size},)")
        signed = summed.view(_SIGNED[self.ring_bits])[: self.coordinates]
        values = np.empty(self.length, np.float32)
        np.multiply(signed[: self.length], 1.0 / self.scale, out=values, casting="same_kind", dtype=np.float64)
        weight = float(signed[self.length]) / WEIGHT_SCALE if self.weighted else None
        return Decoded(values, weight, int(signed[-1]))


class _Rounding:
    """Fills words front to back: the keystream that decides about rounding up, and how many values were clamped so far."""

    def __init__(self, encoding: Encoding, factor: float, stream: CipherContext) -> None:
        self._encoding = encoding
        self._weight = round(WEIGHT_SCALE * factor)
        self._factor = encoding.scale * self._weight / WEIGHT_SCALE
        self._stream = stream
        size = min(CHUNK, max(1, encoding.length))
        self._values, self._fractions, self._words = np.empty(size), np.empty(size), np.empty(size, np.uint32)
        self._clamped = 0

    def fill(self, words: NDArray[np.uint32], low: int, update: NDArray[np.float32]) -> None:
        """Fill the words from `low` on."""
        encoding = self._encoding
        lanes = words.view(_SIGNED[encoding.ring_bits])
        first = low * 32 // encoding.ring_bits
        count = max(0, min(len(lanes), encoding.length - first))
        for at in range(0, count, CHUNK):
            part = update[first + at : first + min(at + CHUNK, count)]
            np.copyto(lanes[at : at + len(part)], self._round(part), casting="unsafe")
        tail = lanes[count:]
        tail[:] = 0
        extras = [self._weight] * encoding.weighted + [min(self._clamped, encoding.bound)]
        for place, extra in enumerate(extras, start=encoding.length - first - count):
            if 0 <= place < len(tail):
                tail[place] = extra

    def _round(self, part: NDArray[np.float32]) -> NDArray[np.float64]:
        # float64 throughout: in float32 the random fraction would vanish beside large values.
        values, fractions, words = self._values[: len(part)], self._fractions[: len(part)], self._words[: len(part)]
        with np.errstate(invalid="ignore"):  # a signaling NaN; what is not finite is refused below, by name
            np.multiply(part, self._factor, out=values, dtype=np.float64)
        self._stream.update_into(memoryview(_ZEROS)[: 4 * len(part)], words.data.cast("B"))
        np.multiply(words, _UNIT, out=fractions)
        np.add(values, fractions, out=values)
        np.floor(values, out=values)
        self._clamped += self._clamp(values)
        return values

    def _clamp(self, values: NDArray[np.float64]) -> int:
        bound, low, high = self._encoding.bound, float(values.min()), float(values.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise NotFinite("the update holds NaN or infinity")
        if -bound <= low and high <= bound:
            return 0
        outside = int(np.count_nonzero(np.abs(values) > bound))
        np.clip(values, -bound, bound, out=values)
        return outside
