"""What happens to a job that has ended: nothing is recreated, what runs is ended, and in the end all of it goes."""

from __future__ import annotations

from datetime import datetime, timedelta

from coterie_api.v1alpha1.conditions import find_condition
from coterie_api.v1alpha1.types import ConditionType, FederatedJobStatus, Reason
from coterie_operator.core.actions import Action, Delete
from coterie_operator.core.observed import Job, Observed, moment
from coterie_operator.core.rules.children import settle

MUST_END = frozenset({Reason.DEADLINE_EXCEEDED, Reason.CONSENT_REVOKED, Reason.TENANT_NAMESPACE_TERMINATING})


def is_finished(status: FederatedJobStatus) -> bool:
    """Whether the end has been written down. It never flips back."""
    ends = (find_condition(status.conditions, kind) for kind in (ConditionType.SUCCEEDED, ConditionType.FAILED))
    return any(end is not None and end.is_true for end in ends)


def expiry(job: Job) -> datetime | None:
    """Return when a finished job is to be deleted; None: never."""
    ttl = job.spec.ttl_seconds_after_finished if job.spec is not None else None
    if ttl is None or job.status.completion_time is None:
        return None
    return moment(job.status.completion_time) + timedelta(seconds=ttl)


def patience(seen: Observed, job: Job) -> datetime:
    """Return until when clients may end by themselves, so that their logs stay: with them goes what an incident refers to.

    Where the job ended because something must not go on, nothing goes on.
    """
    failed = find_condition(job.status.conditions, ConditionType.FAILED)
    must_end = failed is not None and failed.is_true and failed.reason in MUST_END
    if must_end or job.status.completion_time is None:
        return seen.now
    return moment(job.status.completion_time) + timedelta(seconds=seen.settings.settle_seconds)


def actions(seen: Observed, job: Job) -> tuple[Action, ...]:
    """Return what to do about a finished job."""
    end = expiry(job)
    if end is not None and seen.now >= end:
        return (Delete("FederatedJob", job.key.namespace, job.key.name, job.key.uid),)
    return settle(seen) if seen.now >= patience(seen, job) else ()


def look_again(seen: Observed, job: Job) -> datetime | None:
    """Return when something is to be done about a finished job next."""
    times = [time for time in (expiry(job), patience(seen, job)) if time is not None and time > seen.now]
    return min(times, default=None)
