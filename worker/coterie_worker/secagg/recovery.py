"""R4: secrets from revealed shares, checked against what their owner committed to."""

from __future__ import annotations

from itertools import chain, combinations, islice
from typing import TYPE_CHECKING

from coterie_worker.secagg.shamir import combine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

# Shares reach this point only if they match the dealer's signed commitments, so one subset is enough unless the dealer
# dealt nonsense. Then the tries are bounded: a dealer must not keep the aggregator busy.
MAX_TRIES = 256


def recover(shares: Mapping[int, int], threshold: int, is_right: Callable[[bytes], bool], tries: int = MAX_TRIES) -> bytes | None:
    """Return the secret, or None if none of the first `tries` subsets rebuilds the committed one.

    Args: shares: holder -> value, at least `threshold` of them. is_right: compares a candidate with the commitment.
    """
    for subset in islice(_subsets(sorted(shares), threshold), tries):
        secret = combine({holder: shares[holder] for holder in subset})
        if secret is not None and is_right(secret):
            return secret
    return None


def first_subset(shares: Mapping[int, int], threshold: int) -> dict[int, int]:
    """Return the shares that `recover` tries first."""
    return {holder: shares[holder] for holder in sorted(shares)[:threshold]}


def _subsets(holders: Sequence[int], size: int) -> Iterator[tuple[int, ...]]:
    """Yield subsets of a size: runs around the circle first, so that a bad share is soon left out, then all."""
    count = len(holders)
    doubled = [*holders, *holders]
    runs = (tuple(sorted(doubled[at : at + size])) for at in range(count if count > size else 1))
    return chain(runs, combinations(holders, size))
