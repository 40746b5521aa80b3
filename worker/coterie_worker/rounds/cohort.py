"""Which clients are asked in a round: the same answer in every process, from public numbers alone."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_LABEL = b"coterie/v1/cohort"


def cohort(seed: int, round_index: int, population: Iterable[int], size: int | None = None) -> frozenset[int]:
    """Return `size` clients of `population`, uniformly without replacement; all of them if `size` is None or too large.

    Each client gets the rank SHA-256(label, seed, round, client), and the lowest ranks are taken. So the answer doesn't
    depend on the order of `population`, and a client outside the cohort that comes or goes doesn't change who is in it
    otherwise than by taking or leaving its own place.

    Args:
        seed: the job's seed, any 64-bit signed integer. Public: never the seed of anything private.
        round_index: from 0.
        population: indices in the roster.

    Raises:
        ValueError: a negative round, a size below 1, or a seed that is no 64-bit integer.
    """
    clients = frozenset(population)
    if round_index < 0:
        raise ValueError(f"cohort: round_index is {round_index}, must be at least 0")
    if not -(2**63) <= seed < 2**63:
        raise ValueError(f"cohort: seed is {seed}, must fit 64 bits")
    if size is not None and size < 1:
        raise ValueError(f"cohort: size is {size}, must be at least 1")
    if size is None or size >= len(clients):
        return clients
    prefix = _LABEL + seed.to_bytes(8, "big", signed=True) + round_index.to_bytes(8, "big")
    ranked = sorted(clients, key=lambda client: hashlib.sha256(prefix + client.to_bytes(8, "big")).digest())
    return frozenset(ranked[:size])
