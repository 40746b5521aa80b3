"""Who shares masks and secrets with whom: everybody up to 200 clients, above that a Harary graph in a random order.

Source: Bell et al. 2020, "Secure Single-Server Aggregation with (Poly)Logarithmic Overhead", §3-4. Degree and threshold are
computed here from n and c by exact integer arithmetic, so that every party gets the same numbers and nobody is told them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import comb, inf, log2
from typing import TYPE_CHECKING, Final

from coterie_worker.secagg.contexts import GRAPH, digest
from coterie_worker.secagg.errors import BelowThreshold

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

COMPLETE_UP_TO: Final = 200
SECURITY_BITS: Final = 40  # the graph fails to protect somebody with probability below 2^-40
ISOLATION_BITS: Final = 34  # drops chosen after the order is known divide the honest with probability below 2^-34; 16 orders: 2^-30
CORRECTNESS_BITS: Final = 20  # it fails to open with a tenth of the clients gone with probability below 2^-20
DROP_PERCENT: Final = 10


@dataclass(frozen=True, slots=True)
class Degree:
    """k, how many neighbors each client has, and t, how many shares rebuild a secret of one of them."""

    neighbors: int
    threshold: int


@dataclass(frozen=True)
class Graph:
    """The edges of an epoch. A client's secrets are shared among its neighbors and itself; it masks with its neighbors."""

    order: tuple[int, ...]  # members around the circle
    neighbors: int  # k, even; or all the others
    threshold: int

    @property
    def is_complete(self) -> bool:
        """Whether everybody is everybody's neighbor."""
        return self.neighbors >= len(self.order) - 1

    @cached_property
    def _neighborhoods(self) -> Mapping[int, frozenset[int]]:
        if self.is_complete:
            everyone = frozenset(self.order)
            return {member: everyone - {member} for member in self.order}
        half, circle = self.neighbors // 2, self.order + self.order[: self.neighbors]
        around = {self.order[(at + half) % len(self.order)]: circle[at : at + 2 * half + 1] for at in range(len(self.order))}
        return {member: frozenset(near) - {member} for member, near in around.items()}

    @cached_property
    def _bits(self) -> Mapping[int, int]:
        return {member: bits_of(near) for member, near in self._neighborhoods.items()}

    def neighbors_of(self, member: int) -> frozenset[int]:
        """Return with whom a member masks."""
        return self._neighborhoods[member]

    def holders(self, member: int) -> tuple[int, ...]:
        """Return who holds shares of a member's secrets, ascending: its neighbors and itself."""
        return tuple(sorted(self._neighborhoods[member] | {member}))

    def fewest_neighbors(self, chosen: Iterable[int]) -> int:
        """Return how many neighbors inside `chosen` the loneliest of them has; on the complete graph, all the others."""
        members = tuple(chosen)
        if self.is_complete or not members:
            return len(members) - 1
        inside = bits_of(members)
        return min((self._bits[member] & inside).bit_count() for member in members)

    def check_neighborhoods(self, what: str, chosen: Sequence[int]) -> None:
        """Raise BelowThreshold if any of the chosen has fewer than t neighbors among them.

        The aggregator sees the graph before it says who dropped. It could "drop" the honest neighbors of one victim and open
        the victim's vector alone; so everyone checks the neighborhoods of all, not only its own (docs/secure-aggregation.md).
        """
        if not self.is_complete and (fewest := self.fewest_neighbors(chosen)) < self.threshold:
            raise BelowThreshold(f"{what}: one has {fewest} neighbors among them, at least {self.threshold} are needed")


def bits_of(indices: Iterable[int]) -> int:
    """Return a set of indices as one number."""
    bits = 0
    for index in indices:
        bits |= 1 << index
    return bits


def complete(members: Iterable[int], threshold: int) -> Graph:
    """Return the complete graph."""
    order = tuple(sorted(members))
    return Graph(order, len(order) - 1, threshold)


def sparse(members: Iterable[int], colluders: int, quorum: int, seed: bytes) -> Graph:
    """Return the graph over the members of an epoch that `seed` orders; complete where no sparse one is safe."""
    chosen = sorted(members)
    degree = degree_for(len(chosen), colluders)
    if degree is None:
        return complete(chosen, quorum)
    return Graph(tuple(sorted(chosen, key=lambda member: digest(GRAPH, seed, member))), degree.neighbors, degree.threshold)


@lru_cache(maxsize=64)
def degree_for(members: int, colluders: int, drop_percent: int = DROP_PERCENT, *, is_malicious: bool = True) -> Degree | None:
    """Return the smallest k, and its t, that keep the bounds against `colluders` of `members`; None if no k < n - 1 does.

    The bounds: after colluders and a tenth of all are taken away, the rest is connected; no client has t corrupt neighbors
    (2^-41 each), and against a malicious aggregator two sets of t neighbors have an honest client in common; t neighbors of
    every client stay (2^-20). Source: Bell et al. 2020, Theorem 3.10 and Lemmas A.3-A.5. And ours, see `isolation_bits`: drops
    that a malicious aggregator chooses don't divide the honest (2^-34).
    """
    dropped = members * drop_percent // 100
    for neighbors in range(2, members - 1, 2):
        if not _stays_connected(members, neighbors, colluders + dropped):
            continue
        threshold = _most_corrupt(members, neighbors, colluders) + 1
        if is_malicious:
            threshold = (neighbors + threshold - 1) // 2 + 1
        degree = Degree(neighbors, max(2, threshold))
        if threshold <= _fewest_left(members, neighbors, members - dropped) and not (is_malicious and _divides(members, colluders, degree)):
            return degree
    return None


def _stays_connected(members: int, neighbors: int, gone: int) -> bool:
    """To fall apart, the circle must lose k/2 clients in a row in each of two places; a union bound over the places."""
    if neighbors > gone:
        return True
    pairs = members * (members - neighbors - 1)  # twice their number
    return pairs * comb(members - neighbors, gone - neighbors) << (SECURITY_BITS + 1) < 2 * comb(members, gone)


def _most_corrupt(members: int, neighbors: int, colluders: int) -> int:
    """Return the least a for which any client has more than a corrupt neighbors with probability at most 2^-41."""
    whole, above, most = comb(members, neighbors), 0, min(neighbors, colluders)
    for corrupt in range(most, -1, -1):
        above += comb(colluders, corrupt) * comb(members - colluders, neighbors - corrupt)
        if above * members << (SECURITY_BITS + 1) > whole:
            return corrupt
    return 0


def _fewest_left(members: int, neighbors: int, staying: int) -> int:
    """Return the most t for which any client keeps fewer than t neighbors with probability below 2^-20."""
    whole, below = comb(members, neighbors), 0
    for left in range(max(0, neighbors - (members - staying)), neighbors + 1):
        below += comb(staying, left) * comb(members - staying, neighbors - left)
        if below * members << CORRECTNESS_BITS >= whole:
            return left
    return neighbors


def isolation_bits(members: int, colluders: int, degree: Degree) -> float:
    """Return b such that drops chosen *after* the graph is known divide the honest survivors with probability below 2^-b.

    Where every survivor has t neighbors among the survivors, honest ones fall apart only if in two places at least
    t - k/2 of k/2 clients in a row are corrupt. Both together are k clients at random, at least 2t - k of them corrupt.
    """
    divided, whole = _divided(members, colluders, degree)
    return inf if divided == 0 else _log2(whole) - _log2(divided)


def _divides(members: int, colluders: int, degree: Degree) -> bool:
    """Whether `isolation_bits` are too few, in whole numbers: everyone has to come to the same answer."""
    divided, whole = _divided(members, colluders, degree)
    return divided << ISOLATION_BITS >= whole


def _divided(members: int, colluders: int, degree: Degree) -> tuple[int, int]:
    """Return the bound on the probability of `isolation_bits` as numerator and denominator."""
    half, least = degree.neighbors // 2, degree.threshold - degree.neighbors // 2
    others = members - 2 * half
    corrupt_twice = sum(
        comb(half, first) * comb(half, second) * comb(others, colluders - first - second)
        for first in range(least, min(half, colluders) + 1)
        for second in range(least, min(half, colluders - first) + 1)
    )
    pairs = members * (others - 1)  # twice their number
    return corrupt_twice * pairs, 2 * comb(members, colluders)


def _log2(number: int) -> float:
    """The logarithm of an integer of any length."""
    shift = max(0, number.bit_length() - 64)
    return log2(number >> shift) + shift
