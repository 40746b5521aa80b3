"""What holds for a job, in plain sentences, and what does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
CLEAR = "Secure aggregation is off (protocol None): the aggregator sees each tenant's update, and whoever controls it can too."


def guarantees(spec: FederatedJobSpec, aggregation: Aggregation) -> tuple[str, ...]:
    """Return the sentences for `status.privacy.guarantees`. No sentence promises anything that no mechanism of the job enforces."""
    told = [_sums(spec, aggregation)]
    if spec.privacy.mode is PrivacyMode.NONE:
        told.append(MODEL)
    if spec.strategy.weighting is Weighting.EXAMPLES:
        told.append(COUNTS)
    return (*told, TRUST)


def _sums(spec: FederatedJobSpec, aggregation: Aggregation) -> str:
    if spec.secure_aggregation.protocol is Protocol.NONE:
        return CLEAR
    some = f"{aggregation.colluders} colluding tenant{'s' if aggregation.colluders > 1 else ''}"
    together = f" together with {some}" if aggregation.colluders else ""
    honest = aggregation.min_survivors - aggregation.colluders
    return (
        f"The aggregator, even if it cheats{together}, can open only sums that hold at least {honest} updates of other tenants, never a "
        f"single one; a sum has at least {aggregation.min_survivors} updates, and {aggregation.threshold} clients must help to open it."
    )
