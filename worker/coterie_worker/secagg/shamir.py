"""Shamir's secret sharing of 32-byte secrets over GF(2^257 - 93).

Source: A. Shamir, "How to share a secret", CACM 22(11), 1979. The holder with roster index i evaluates at x = i + 1.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from coterie_worker.secagg.field import PRIME, random_elements

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

SECRET_BYTES = 32


def split(secret: bytes, threshold: int, holders: Sequence[int], entropy: Callable[[int], bytes]) -> list[int]:
    """Return one share per holder, any `threshold` of which rebuild the secret and fewer of which say nothing.

    Args: secret: 32 bytes. threshold: t >= 1. holders: distinct roster indices. entropy: uniform bytes, fresh for each call.
    """
    # The highest coefficient first, the secret last, so that Horner's rule runs forward.
    coefficients = [*random_elements(threshold - 1, entropy), int.from_bytes(secret)]
    return [_evaluate(coefficients, holder + 1) for holder in holders]


def _evaluate(coefficients: Sequence[int], x: int) -> int:
    value = 0
    for coefficient in coefficients:
        value = (value * x + coefficient) % PRIME
    return value


def combine(shares: Mapping[int, int]) -> bytes | None:
    """Return the secret of exactly the shares given (index -> value), or None when it is no 32-byte value.

    Formal guarantees: with at least t correct shares and no wrong one, this is the secret that was split.
    """
    holders = tuple(sorted(shares))
    coefficients = lagrange_at_zero(holders)
    secret = sum(coefficient * shares[holder] for coefficient, holder in zip(coefficients, holders, strict=True)) % PRIME
    return secret.to_bytes(SECRET_BYTES) if secret < 2 ** (8 * SECRET_BYTES) else None


@lru_cache(maxsize=64)
def lagrange_at_zero(holders: tuple[int, ...]) -> tuple[int, ...]:
    """Return the weights that turn the holders' shares into the polynomial's value at 0. Public numbers, so cached."""
    points = [holder + 1 for holder in holders]
    return tuple(_weight(point, points) for point in points)


def _weight(point: int, points: Sequence[int]) -> int:
    above, below = 1, 1
    for other in points:
        if other != point:
            above = above * other % PRIME
            below = below * (other - point) % PRIME
    return above * pow(below, -1, PRIME) % PRIME
