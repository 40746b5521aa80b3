"""How many clients a job needs: thresholds of secure aggregation, and the quorum to begin and to close a round."""

from __future__ import annotations

from dataclasses import dataclass

from coterie_api.v1alpha1.job import Protocol

FLOOR = 3  # with two updates in a sum, each of the two tenants learns the other's
COMPLETE_UP_TO = 200  # tenants; above it, each client shares secrets with some of the others only, in an order that all draw


@dataclass(frozen=True, slots=True)
class Minimums:
    """The least that is asked for beyond the protocol's own needs: by the job, and by its strictest tenant."""

    min_clients: int | None = None  # of the job; None: no wish
    tenants_min_clients: int = 0
    tenants_threshold: int = 0
    tenants_colluders: int = 0


NO_MINIMUMS = Minimums()


@dataclass(frozen=True, slots=True)
class Quorum:
    """Parameters in force for a roster of `members` tenants.

    Formal guarantees: with SecAggPlus, t > (n + c) / 2, so two sets of t clients meet in an honest one, and every opened sum
    holds at least `min_survivors` - `colluders` ≥ 2 updates of honest tenants.
    """

    members: int  # n
    colluders: int  # c
    threshold: int  # t: clients that must help to open a sum
    min_survivors: int  # n_eff: fewest updates in a sum
    is_masked: bool = True

    @property
    def is_possible(self) -> bool:
        """Whether the roster is large enough to open any sum at all."""
        return self.min_survivors <= self.members

    @property
    def tolerated_drops(self) -> int:
        """How many of all tenants may be missing from a round; negative if the roster is too small."""
        spare = self.members - self.min_survivors
        return min(spare, self.members // 10) if self.is_sparse else spare

    @property
    def is_sparse(self) -> bool:
        """Whether a client depends on its neighbors among the others: then nearly all must be asked, and a tenth may drop."""
        return self.is_masked and self.members > COMPLETE_UP_TO


def default_colluders(members: int) -> int:
    """Return ⌈n/3⌉ - 1: fewer than a third."""
    return max(0, -(-members // 3) - 1)


def quorum(members: int, protocol: Protocol, colluders: int | None = None, minimums: Minimums = NO_MINIMUMS) -> Quorum:
    """Return the parameters for a roster of `members` tenants; the result may be impossible, which the caller must look at.

    Without secure aggregation a sum needs no helpers, so only the wishes count, or a majority where nobody has one.

    Source: the threshold is that of Bonawitz et al. 2017 against a malicious server, t > (n + c) / 2.
    """
    wishes = max(minimums.min_clients or 0, minimums.tenants_min_clients)
    if protocol is Protocol.NONE:
        fewest = wishes or members // 2 + 1
        fewest = max(fewest, minimums.tenants_threshold)
        return Quorum(members, 0, fewest, fewest, is_masked=False)
    secret_from = max(default_colluders(members) if colluders is None else colluders, minimums.tenants_colluders)
    threshold = max((members + secret_from) // 2 + 1, minimums.tenants_threshold)
    return Quorum(members, secret_from, threshold, max(threshold, secret_from + 2, wishes, FLOOR))
