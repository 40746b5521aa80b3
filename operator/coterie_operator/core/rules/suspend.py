"""Suspension: the pods go, the checkpoint stays, and the next attempt goes on from it."""

from __future__ import annotations

from coterie_api.v1alpha1.conditions import SENTENCES, find_condition
from coterie_api.v1alpha1.types import ConditionType, FederatedJobSpec, FederatedJobStatus, Reason
from coterie_operator.core.verdict import Stage, Verdict


def is_suspended(status: FederatedJobStatus) -> bool:
    """Whether the suspension has been written down."""
    found = find_condition(status.conditions, ConditionType.SUSPENDED)
    return found is not None and found.is_true


def verdict(spec: FederatedJobSpec, status: FederatedJobStatus) -> Verdict | None:
    """Return the stage of a job that is, becomes or no longer is suspended; None if suspension does not come into it."""
    if spec.suspend:
        stage = Stage.SUSPENDED if is_suspended(status) else Stage.SUSPENDING
        return Verdict(stage, Reason.SUSPENDED, SENTENCES[Reason.SUSPENDED])
    return Verdict(Stage.RESUMING, Reason.RESUMED, SENTENCES[Reason.RESUMED]) if is_suspended(status) else None
