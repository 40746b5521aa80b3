"""How much each update counts, and the mean of a sum of updates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from coterie_api.v1alpha1.training import Strategy, Weighting
from coterie_worker.rounds.chunks import chunks

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STEPS = 2**16  # weights are multiples of 1/65536, as the masked coordinate that carries them


def update_weight(strategy: Strategy, examples: int) -> float:
    """Return the factor by which a client multiplies its update before quantizing, in (0, 1].

    Uniform: 1. Examples: round(2¹⁶ · min(1, examples / weightCap)) / 2¹⁶, at least 1/2¹⁶, so that an update with any
    example behind it counts and the coordinate carries the factor exactly.

    Raises:
        ValueError: examples below 1: there is no update then.
    """
    if examples < 1:
        raise ValueError(f"update: examples is {examples}, must be at least 1")
    if strategy.weighting is Weighting.UNIFORM:
        return 1.0
    return max(1, round(_STEPS * min(1.0, examples / strategy.weight_cap))) / _STEPS


def to_mean(total: NDArray[np.float32], weight: float) -> NDArray[np.float32]:
    """Divide the sum of weighted updates by the sum of their weights, in place, and return it.

    Args:
        total: float32[d], the sum; becomes the mean.
        weight: `Decoded.weight`, the sum of the factors, or the number of survivors where that is None (Uniform).

    Raises:
        ValueError: a weight that is not finite and positive: there is no mean of nothing.
    """
    if not (np.isfinite(weight) and weight > 0):
        raise ValueError(f"sum of updates: weight is {weight!r}, must be finite and above 0")
    for part in chunks(total.size):
        np.divide(total[part], np.float64(weight), out=total[part], casting="same_kind")
    return total


def norm(vector: NDArray[np.float32]) -> float:
    """Return the Euclidean norm, summed in float64 without a copy of the vector."""
    squares = 0.0
    for part in chunks(vector.size):
        block = vector[part].astype(np.float64)
        # Not `block @ block`: BLAS wakes a thread per core for it, which then spin while clients could train.
        squares += float(np.square(block, out=block).sum())
    return float(np.sqrt(squares))
