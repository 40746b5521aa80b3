"""Shamir's secret sharing of 32-byte secrets over GF(2^257 - 93).

Source: A. Shamir, "How to share a secret", CACM 22(11), 1979. The holder with roster index i evaluates at x = i + 1.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from coterie_worker.secagg.field import BITS, PRIME, random_elements

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

SECRET_BYTES = 32


def split(secret: bytes, threshold: int, holders: Sequence[int], entropy: Callable[[int], bytes]) -> list[int]:
    """Return one share per holder, any `threshold` of which rebuild the secret and fewer of which say nothing.

    Args: secret: 32 bytes. threshold: t >= 1. holders: distinct roster indices. entropy: uniform bytes, fresh for each call.
    """
    return split_many([secret], threshold, holders, entropy)[0]


def split_many(secrets: Sequence[bytes], threshold: int, holders: Sequence[int], entropy: Callable[[int], bytes]) -> list[list[int]]:
    """Return `split` of each secret, in time for many: all polynomials run through Horner's rule in one long number.

    Each has a lane that its value can't outgrow (x is small), so it is reduced once, at the end.
    """
    # The highest coefficient first, the secret last, so that Horner's rule runs forward.
    polynomials = [[*random_elements(threshold - 1, entropy), int.from_bytes(secret)] for secret in secrets]
    lane = (2 * BITS + threshold * (max(holders) + 1).bit_length()) // 8
    steps = [_pack(coefficients, lane) for coefficients in zip(*polynomials, strict=True)]
    columns = [_evaluate(steps, holder + 1, lane, len(secrets)) for holder in holders]
    return [list(row) for row in zip(*columns, strict=True)]


def _pack(values: Sequence[int], lane: int) -> int:
    return int.from_bytes(b"".join(value.to_bytes(lane, "little") for value in values), "little")


def _evaluate(steps: Sequence[int], x: int, lane: int, count: int) -> list[int]:
    whole = 0
    for step in steps:
        whole = whole * x + step
    lanes = whole.to_bytes(lane * count, "little")
    return [int.from_bytes(lanes[at : at + lane], "little") % PRIME for at in range(0, len(lanes), lane)]


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
