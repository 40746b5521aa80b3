"""The conditions of a job: each of them is set on every visit, from the first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from coterie_api.v1alpha1.conditions import SENTENCES, Condition, ConditionStatus, ConditionType, find_condition, set_condition
from coterie_api.v1alpha1.types import FederatedJobStatus, PrivacyMode, Reason
from coterie_operator.core.observed import Job, NamespaceState, Observed, stamp
from coterie_operator.core.obstacles import REFUSALS, of_aggregator, of_clients, told
from coterie_operator.core.rules.consent import revocation
from coterie_operator.core.rules.deadlines import is_assembled
from coterie_operator.core.verdict import Stage, Verdict

if TYPE_CHECKING:
    from coterie_operator.core.rules.started import Started

MAX_MESSAGE = 1024
YES, NO, UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN


@dataclass(frozen=True, slots=True)
class Answer:
    """A condition without its times."""

    status: ConditionStatus
    reason: str  # of the catalog, or a tenant's where the job waits for that one
    message: str = ""


PENDING = Answer(UNKNOWN, Reason.PENDING)


def conditions(seen: Observed, job: Job, verdict: Verdict, start: Started | None) -> tuple[Condition, ...]:
    """Return all conditions. A time of transition changes only with the answer."""
    answers = {
        ConditionType.SUSPENDED: _suspended(job.status, verdict),
        ConditionType.CONSENT_GRANTED: _consent(job, verdict, start),
        ConditionType.BUDGET_RESERVED: _budget(job),
        ConditionType.ADMITTED: _admitted(seen, job, verdict, start),
        ConditionType.RUNNING: _running(seen, verdict, start),
        ConditionType.SUCCEEDED: _succeeded(verdict),
        ConditionType.FAILED: _failed(verdict),
    }
    found = job.status.conditions
    for kind, answer in answers.items():
        message = (answer.message or SENTENCES[Reason(answer.reason)])[:MAX_MESSAGE]
        new = Condition(kind.value, answer.status, str(answer.reason), stamp(seen.now), message, job.metadata.generation)
        found = set_condition(found, new)
    return found


def _suspended(old: FederatedJobStatus, verdict: Verdict) -> Answer:
    if verdict.stage in (Stage.SUSPENDING, Stage.SUSPENDED):
        return Answer(YES, Reason.SUSPENDED)
    before = find_condition(old.conditions, ConditionType.SUSPENDED)
    was = verdict.stage is Stage.RESUMING or (before is not None and before.reason == Reason.RESUMED)
    return Answer(NO, Reason.RESUMED if was else Reason.NOT_SUSPENDED)


def _consent(job: Job, verdict: Verdict, start: Started | None) -> Answer:
    if verdict.stage is Stage.WAITING:
        return Answer(NO, verdict.reason, verdict.message)
    if verdict.stage is Stage.FREEZING and verdict.frozen is not None:
        return Answer(YES, Reason.CONSENT_GRANTED, _granted(job, len(verdict.frozen.datasets)))
    if start is None:
        return PENDING
    lost = [entry for entry in start.frozen.datasets if revocation(start.seen, entry, start.frozen.worker_image) is not None]
    if verdict.stage is Stage.FAILING and lost and verdict.reason in (Reason.CONSENT_REVOKED, Reason.TENANT_NAMESPACE_TERMINATING):
        return Answer(NO, Reason.CONSENT_REVOKED, verdict.message)
    return Answer(YES, Reason.CONSENT_GRANTED, _granted(job, len(start.frozen.datasets) - len(lost)))


def _granted(job: Job, there: int) -> str:
    asked = len(job.spec.participants.datasets) if job.spec is not None else there
    return f"{there} of {asked} data sets take part"


def _budget(job: Job) -> Answer:
    if job.spec is None or job.spec.privacy.mode is not PrivacyMode.NONE:
        return PENDING
    return Answer(YES, Reason.BUDGET_NOT_REQUIRED)


def _admitted(seen: Observed, job: Job, verdict: Verdict, start: Started | None) -> Answer:
    match verdict.stage:
        case Stage.WAITING:
            return Answer(NO, verdict.reason, verdict.message)
        case Stage.LETTING_GO | Stage.RESTING:
            return Answer(NO, Reason.QUORUM_NOT_MET, verdict.message)
        case Stage.SUSPENDING | Stage.SUSPENDED:
            return Answer(NO, Reason.SUSPENDED)
        case Stage.FAILING | Stage.SUCCEEDING:
            before = find_condition(job.status.conditions, ConditionType.ADMITTED)
            return Answer(before.status, before.reason, before.message) if before is not None else PENDING
        case _:
            return _hindered(seen, job, start) or Answer(YES, Reason.ADMITTED)


def _hindered(seen: Observed, job: Job, start: Started | None) -> Answer | None:
    """Return what keeps the job's children from being made or seen, if anything does."""
    if seen.troubles:
        worst = seen.troubles[0]
        return Answer(NO, worst.reason, worst.message)
    roster = job.status.frozen.datasets if job.status.frozen is not None else ()
    places = [job.key.namespace, *(entry.namespace for entry in roster)]
    closed = [name for name in places if seen.namespaces.get(name) is NamespaceState.DENIED]
    if not closed:
        return _refused(start) if start is not None else None
    return Answer(NO, Reason.TENANT_ACCESS_MISSING, f"{SENTENCES[Reason.TENANT_ACCESS_MISSING]}: {', '.join(closed)}")


def _refused(start: Started) -> Answer | None:
    """Return whom the Job controller may give no pod, by quota or by policy."""
    aggregator = of_aggregator(start)
    if aggregator is not None and aggregator.reason in REFUSALS:
        return Answer(NO, aggregator.reason, f"the aggregator in namespace {start.key.namespace}: {aggregator.message}")
    refused = {name: obstacle for name, obstacle in of_clients(start).items() if obstacle.reason in REFUSALS}
    return Answer(NO, next(iter(refused.values())).reason, told(refused)) if refused else None


def _running(seen: Observed, verdict: Verdict, start: Started | None) -> Answer:
    if verdict.stage in (Stage.FAILING, Stage.SUCCEEDING):
        return Answer(NO, Reason.FINISHED)
    if verdict.stage in (Stage.SUSPENDING, Stage.SUSPENDED):
        return Answer(NO, Reason.SUSPENDED)
    if verdict.stage in (Stage.LETTING_GO, Stage.RESTING):
        return Answer(NO, Reason.QUORUM_NOT_MET)
    if start is None:
        return Answer(NO, Reason.STARTING if verdict.stage is Stage.FREEZING else Reason.PENDING)
    return _rounds(seen, verdict, start)


def _rounds(seen: Observed, verdict: Verdict, start: Started) -> Answer:
    if verdict.stage is Stage.RENEWING:
        return Answer(NO, Reason.AGGREGATOR_RESTARTING)
    is_up = start.aggregator is not None and start.aggregator.running_pod is not None
    if is_assembled(seen.progress, start.aggregation.min_survivors):
        return Answer(YES, Reason.TRAINING, _without(start))
    if start.status.assembly_time is None:
        # It has been running: a client more or less is no news here, and silence alone does not mean that it has stopped.
        unread = Answer(YES, Reason.AGGREGATOR_UNREACHABLE) if seen.progress is None else Answer(YES, Reason.TRAINING, _without(start))
        return unread if is_up else _not_up(start, Reason.AGGREGATOR_RESTARTING)
    if not is_up or seen.progress is None:
        return _not_up(start, Reason.STARTING)
    return _assembling(start)


def _not_up(start: Started, otherwise: Reason) -> Answer:
    """Return what keeps the aggregator from running, where anything is known of it."""
    obstacle = of_aggregator(start)
    if obstacle is None:
        return Answer(NO, otherwise)
    return Answer(NO, obstacle.reason, f"the aggregator in namespace {start.key.namespace} does not run: {obstacle.message}")


def _assembling(start: Started) -> Answer:
    """Return whom the quorum waits for. How many are there changes too fast to be told here."""
    needed = f"{start.aggregation.min_survivors} of {len(start.frozen.datasets)} clients must be connected"
    hindered = of_clients(start)
    if not hindered:
        return Answer(NO, Reason.ASSEMBLING, f"{SENTENCES[Reason.ASSEMBLING]}: {needed}")
    return Answer(NO, next(iter(hindered.values())).reason, f"{needed}; {told(hindered)}")


def _without(start: Started) -> str:
    """Return whom rounds go on without; empty if all run."""
    hindered = of_clients(start)
    return f"{SENTENCES[Reason.TRAINING]}, but not with {told(hindered)}" if hindered else ""


def _succeeded(verdict: Verdict) -> Answer:
    if verdict.stage is Stage.SUCCEEDING:
        return Answer(YES, verdict.reason, verdict.message)
    return Answer(NO, verdict.reason, verdict.message) if verdict.stage is Stage.FAILING else PENDING


def _failed(verdict: Verdict) -> Answer:
    if verdict.stage is Stage.FAILING:
        return Answer(YES, verdict.reason, verdict.message)
    return Answer(NO, Reason.FINISHED) if verdict.stage is Stage.SUCCEEDING else PENDING
