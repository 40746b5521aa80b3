"""What holds for a job, in plain sentences, and what does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coterie_api.v1alpha1.quorum import COMPLETE_UP_TO
from coterie_api.v1alpha1.ring import clip_in_force
from coterie_api.v1alpha1.types import FederatedJobSpec, PrivacyMode, Protocol, Weighting

if TYPE_CHECKING:
    from coterie_api.podconfig import Aggregation

TRUST = (
    "The operator and the cluster's administrator are trusted to start nothing but the granted image on the data; "
    "this job's guarantees do not hold against them."
)
MODEL = (
    "Differential privacy is off (privacy.mode None): nothing bounds what the sums of updates or the trained model tell about "
    "single records or tenants."
)
COUNTS = "Updates are weighted by examples: how many examples a tenant has may be inferred from sums over changing cohorts."
GRAPH = (
    f"With more than {COMPLETE_UP_TO} tenants each client is hidden by some of the others, in an order that all of them draw: this holds "
    "except with a probability below one in a billion."
)
CLEAR = "Secure aggregation is off (protocol None): the aggregator sees each tenant's update, and whoever controls it can too."


def guarantees(spec: FederatedJobSpec, aggregation: Aggregation, members: int) -> tuple[str, ...]:
    """Return the sentences for `status.privacy.guarantees`. No sentence promises anything that no mechanism of the job enforces.

    Args:
      members: tenants in the roster.
    """
    told = [*_sums(spec, aggregation, members), _rounding(aggregation, members)]
    if spec.privacy.mode is PrivacyMode.NONE:
        told.append(MODEL)
    if spec.strategy.weighting is Weighting.EXAMPLES:
        told.append(COUNTS)
    return (*told, TRUST)


def _sums(spec: FederatedJobSpec, aggregation: Aggregation, members: int) -> list[str]:
    """The adversary, what it can learn, and who must help it."""
    if spec.secure_aggregation.protocol is Protocol.NONE:
        return [CLEAR]
    colluders = aggregation.colluders
    some = (
        f"together with up to {colluders} of the {members} tenants" if colluders else f"as long as none of the {members} tenants helps it"
    )
    adversary = f"Each update is hidden from the aggregator, even if it breaks the protocol in any way, {some}."
    learned = (
        f"What it learns of a round is one sum of at least {aggregation.min_survivors} updates; with the colluders' own taken away, still "
        f"one of at least {aggregation.min_survivors - colluders} updates of others, never a single one. {aggregation.threshold} clients "
        "must help to open it."
    )
    return [adversary, learned, GRAPH] if members > COMPLETE_UP_TO else [adversary, learned]


def _rounding(aggregation: Aggregation, members: int) -> str:
    clip = clip_in_force(members, aggregation.ring_bits, aggregation.scale)
    return (
        f"Before an update leaves its client it is clamped to ±{clip:.6g} and rounded at random to steps of 1/{aggregation.scale}, for a "
        f"ring of {aggregation.ring_bits} bits."
    )
