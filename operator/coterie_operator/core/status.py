"""The job's status, derived anew in each pass from what was observed and decided."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from coterie_api.progress import unevaluated
from coterie_api.v1alpha1.conditions import ConditionStatus, ConditionType, find_condition
from coterie_api.v1alpha1.ring import clip_in_force
from coterie_api.v1alpha1.types import (
    Attempts,
    DropStatus,
    FederatedJobStatus,
    JobState,
    PrivacyStatus,
    SecureAggregationStatus,
    TenantStatus,
)
from coterie_operator.core.conditions import conditions
from coterie_operator.core.guarantees import guarantees
from coterie_operator.core.observed import Job, Observed, stamp
from coterie_operator.core.rules.deadlines import is_assembled
from coterie_operator.core.tenants import after_start, before_start
from coterie_operator.core.verdict import Stage, Verdict

if TYPE_CHECKING:
    from coterie_api.progress import Progress
    from coterie_operator.core.rules.started import Started

MAX_DROPS = 32
MAX_MESSAGE = 1024


def status(seen: Observed, job: Job, verdict: Verdict, start: Started | None) -> FederatedJobStatus:
    """Return the status that the job should have; equal to the present one if nothing has changed. The end is never rewritten."""
    if verdict.stage is Stage.FINISHED:
        return job.status
    progress = last_progress(seen, start)
    new = _progress(job.status, progress)
    new = _times(seen, verdict, start, new)
    new = replace(
        new,
        observed_generation=job.metadata.generation,
        rounds=job.spec.rounds if job.spec is not None else 0,
        tenants=_tenants(seen, job, verdict, start),
    )
    new = _parameters(job, start, new)
    new = replace(new, conditions=conditions(seen, job, verdict, start))
    new = replace(new, state=state(verdict, new), message=shorten(verdict.message or waits_for(new) or unevaluated(progress)))
    return new if new == job.status or progress is None else _traffic(new, progress)


def waits_for(new: FederatedJobStatus) -> str:
    """Return why a job that should run does not, in words; empty if it does."""
    admitted, running = (find_condition(new.conditions, kind) for kind in (ConditionType.ADMITTED, ConditionType.RUNNING))
    if running is None or running.is_true:
        return ""
    return admitted.message if admitted is not None and admitted.status is ConditionStatus.FALSE else running.message


def last_progress(seen: Observed, start: Started | None) -> Progress | None:
    """Return the newest numbers: what the aggregator says now, or what it said last."""
    if seen.progress is not None or start is None:
        return seen.progress
    words = [batch.termination for batch in start.children.aggregators() if batch.termination is not None]
    return words[-1].progress if words else None


def state(verdict: Verdict, new: FederatedJobStatus) -> JobState:
    """Return the one word for people."""
    fixed = {
        Stage.SUCCEEDING: JobState.SUCCEEDED,
        Stage.FAILING: JobState.FAILED,
        Stage.SUSPENDING: JobState.SUSPENDED,
        Stage.SUSPENDED: JobState.SUSPENDED,
        Stage.WAITING: JobState.PENDING,
    }
    return fixed.get(verdict.stage) or (JobState.RUNNING if new.assembly_time is None else JobState.ASSEMBLING)


def shorten(message: str) -> str:
    """Return a message of at most as many characters as the schema allows."""
    return message if len(message) <= MAX_MESSAGE else message[: MAX_MESSAGE - 1] + "…"


def _progress(old: FederatedJobStatus, seen: Progress | None) -> FederatedJobStatus:
    """Return the status with an aggregator's numbers; without any, what was known stays."""
    if seen is None:
        return old
    drops = tuple(DropStatus(drop.client, drop.reason.value, drop.error_class, drop.where, drop.incident) for drop in seen.drops)
    return replace(
        old,
        round=seen.rounds_done,
        cohort=seen.cohort,
        survivors=seen.survivors,
        accuracy=old.accuracy if seen.accuracy is None else seen.accuracy,
        loss=old.loss if seen.loss is None else seen.loss,
        best_round=seen.best_round,
        slots=max(old.slots, seen.slot),
        clamped=seen.clamped,
        epsilon_spent=old.epsilon_spent if seen.epsilon_spent is None else seen.epsilon_spent,
        update_norm=old.update_norm if seen.update_norm is None else seen.update_norm,
        round_seconds=seen.round_seconds or old.round_seconds,
        drops=drops[:MAX_DROPS],
    )


def _traffic(new: FederatedJobStatus, seen: Progress) -> FederatedJobStatus:
    """Return the status with the bytes so far. They change all the time, so they are no reason to write it."""
    return replace(new, bytes_sent=seen.bytes_sent, bytes_received=seen.bytes_received)


def _times(seen: Observed, verdict: Verdict, start: Started | None, new: FederatedJobStatus) -> FederatedJobStatus:
    now = stamp(seen.now)
    match verdict.stage:
        case Stage.FREEZING:
            return replace(new, frozen=verdict.frozen, start_time=now, active_since=now, assembly_time=now)
        case Stage.RESUMING if start is not None:
            return replace(new, active_since=now, assembly_time=now)
        case Stage.SUSPENDING if start is not None:
            return replace(new, active_since=None, assembly_time=None, attempts=_next(new.attempts))
        case Stage.LETTING_GO:
            failed = new.attempts.without_quorum + 1
            return replace(
                new, assembly_time=stamp(verdict.until or seen.now), attempts=replace(_next(new.attempts), without_quorum=failed)
            )
        case Stage.RENEWING:
            return replace(new, assembly_time=now, attempts=_next(new.attempts))
        case Stage.FAILING | Stage.SUCCEEDING:
            return replace(new, completion_time=now, assembly_time=None)
        case Stage.RUNNING if start is not None:
            return _running(seen, start, new)
        case _:
            return new


def _running(seen: Observed, start: Started, new: FederatedJobStatus) -> FederatedJobStatus:
    batch = start.aggregator
    failures = sum(1 for pod in batch.pods if pod.phase == "Failed") if batch is not None else 0
    new = replace(new, attempts=replace(new.attempts, aggregator=max(new.attempts.aggregator, failures)))
    # The end of assembly is written down: from here on, clients that leave are the round machine's business.
    if not is_assembled(seen.progress, start.aggregation.min_survivors):
        return new
    return replace(new, assembly_time=None, attempts=replace(new.attempts, without_quorum=0))


def _next(attempts: Attempts) -> Attempts:
    return Attempts(assembly=attempts.assembly + 1)


def _tenants(seen: Observed, job: Job, verdict: Verdict, start: Started | None) -> tuple[TenantStatus, ...]:
    if start is not None:
        return after_start(start, verdict.stage)
    return before_start(seen, job.spec) if job.spec is not None else ()


def _parameters(job: Job, start: Started | None, new: FederatedJobStatus) -> FederatedJobStatus:
    """Return the status with what is fixed at the start: parameters of secure aggregation, and what they guarantee."""
    if start is None or job.spec is None:
        return new
    found = start.aggregation
    clip = clip_in_force(len(start.frozen.datasets), found.ring_bits, found.scale)
    secure = SecureAggregationStatus(
        found.protocol, found.threshold, found.colluders, found.min_survivors, found.ring_bits, found.scale, clip
    )
    return replace(new, secure_aggregation=secure, privacy=PrivacyStatus(guarantees(job.spec, found, len(start.frozen.datasets))))
