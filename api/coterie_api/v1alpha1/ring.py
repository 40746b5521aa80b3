"""How finely updates are told: the ring that sums live in, and the scale that makes a clip of its bound.

Each of n values is clamped to ±⌊(2^(b-1) - 1)/n⌋ units, so that no sum of n can wrap around (docs/secure-aggregation.md). What
that is in the model's own numbers is decided by the scale, units per 1.0: the finest that still holds the clip.
"""

from __future__ import annotations

from fractions import Fraction
from math import ceil

NARROW, WIDE = 16, 32
DEFAULT_SCALE = 65536  # of the wide ring where a job names no clip
LEAST_CLIP, MOST_CLIP = 1e-4, 1e6
LEAST_WIDE_CLIP = 1.0  # below it the scale would not fit 31 bits
LEAST_BOUND = 127  # fewer units than eight bits hold are too coarse to train with
MOST_NARROW = ((1 << (NARROW - 1)) - 1) // LEAST_BOUND  # data sets on the narrow ring


def bound(members: int, ring_bits: int) -> int:
    """Return the most units, either way, of one coordinate of one of `members` clients."""
    return ((1 << (ring_bits - 1)) - 1) // members


def scale(members: int, ring_bits: int, clip: float | None) -> int:
    """Return units per 1.0: as many as hold `clip` within the bound, in exact arithmetic; the default without a clip."""
    return DEFAULT_SCALE if clip is None else max(1, ceil(Fraction(bound(members, ring_bits)) / Fraction(clip)))


def clip_in_force(members: int, ring_bits: int, units: int) -> float:
    """Return the largest magnitude of one client's coordinate in a sum, at a scale of `units` per 1.0."""
    return bound(members, ring_bits) / units
