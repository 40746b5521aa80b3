"""The decision about one job: pure, total, level-based. The same world always leads to the same plan, however it came about.

```text
            ┌── deleted ──► clean up in every namespace, then let the finalizer go
observed ───┼── ended ────► end what runs; ttl
            └── alive ────► first rule that has something to say ─► stage ─┬─ turn ──► status alone
                                                                           └─ other ─► children, then status
```
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from coterie_api.names import FINALIZER
from coterie_api.progress import unevaluated
from coterie_api.v1alpha1.conditions import ConditionType, find_condition
from coterie_api.v1alpha1.types import Condition, FederatedJobStatus, Reason, TenantState
from coterie_operator.core.actions import Action, AddFinalizer, Create, CreateCertificate, Delete, Emit, Plan
from coterie_operator.core.observed import Job, NamespaceState, Observed, moment
from coterie_operator.core.obstacles import causes
from coterie_operator.core.rules import children, consent, deadlines, deletion, quorum, suspend, termination, ttl
from coterie_operator.core.rules.started import Started, dataset_key, started
from coterie_operator.core.status import shorten, status
from coterie_operator.core.tenants import after_start, sentences, took_part
from coterie_operator.core.verdict import Stage, Verdict

ASSEMBLY_SECONDS = 2.0
WRITES = (Create, CreateCertificate, Delete)  # that the API server may refuse one by one
CAUSED = (  # ends whose causes may lie with pods
    Reason.QUORUM_NOT_MET,
    Reason.DEADLINE_EXCEEDED,
    Reason.TOO_FEW_SURVIVORS,
    Reason.BACKOFF_LIMIT_EXCEEDED,
    Reason.OUT_OF_MEMORY,
)

Rule = Callable[[Observed, Job, Started | None], Verdict | None]


def reconcile(seen: Observed) -> Plan:
    """Return what to do about a job, given all that is known about it."""
    if seen.job is None:
        return deletion.orphaned(seen)
    if seen.job.is_going:
        return deletion.plan(seen, seen.job)
    start = started(seen)
    found = judge(seen, seen.job, start)
    new = status(seen, seen.job, found, start)
    wanted = _actions(seen, seen.job, found, start)
    held = frozenset(action.write for action in wanted if isinstance(action, WRITES) and action.write in seen.held)
    return Plan(
        actions=tuple(action for action in wanted if not (isinstance(action, WRITES) and action.write in held)),
        status=new if new != seen.job.status else None,
        events=_events(seen.job, new),
        look_again=_look_again(seen, seen.job, found, start),
        held=held,
    )


def judge(seen: Observed, job: Job, start: Started | None) -> Verdict:
    """Return the verdict of the first rule that has something to say. The order of `RULES` is part of the contract."""
    found = next((found for rule in RULES if (found := rule(seen, job, start)) is not None), Verdict(Stage.RUNNING, Reason.ADMITTED))
    return _with_causes(found, start) if found.stage in (Stage.FAILING, Stage.LETTING_GO) and start is not None else found


def _with_causes(found: Verdict, start: Started) -> Verdict:
    """Return the verdict with what befell those that don't run, where that is why it came to this."""
    told = causes(start) if found.reason in CAUSED else ""
    return replace(found, message=shorten(f"{found.message}; {told}")) if told else found


def _finished(_: Observed, job: Job, __: Started | None) -> Verdict | None:
    return Verdict(Stage.FINISHED, Reason.FINISHED) if ttl.is_finished(job.status) else None


def _invalid(_: Observed, job: Job, start: Started | None) -> Verdict | None:
    """A spec that can't run. Most of it can't be changed, so the job ends: it is to be written anew.

    A job that has started was valid then, and goes on even if a newer operator would refuse it.
    """
    if start is not None or (not job.errors and job.spec is not None):
        return None
    first = job.errors[0] if job.errors else None
    reason = Reason(first.fault.value) if first is not None else Reason.INVALID_SPEC
    told = "; ".join(str(error) for error in job.errors) or "the spec does not parse"
    return Verdict(Stage.FAILING, reason, shorten(told))


def _aggregator_ended(seen: Observed, _: Job, start: Started | None) -> Verdict | None:
    found = termination.aggregator_ended(start.children, start.attempt) if start is not None else None
    if found is None or start is None or found.stage is not Stage.SUCCEEDING:
        return found
    tenants = after_start(start, Stage.SUCCEEDING)
    there, dropped = took_part(tenants), sentences(tenants, TenantState.DONE)
    # A model that some of the data is missing from is no failure, but its author must not have to look for it.
    told = [
        found.message,
        f"{there} of {len(tenants)} data sets took part to the end" if there < len(tenants) else "",
        termination.some(sentences(tenants, TenantState.FAILED)),
        f"absent in the last round: {termination.some(dropped)}" if dropped else "",
        unevaluated(termination.final_progress(seen, start.children)),
    ]
    return replace(found, message=shorten("; ".join(part for part in told if part)))


def _suspended(_: Observed, job: Job, __: Started | None) -> Verdict | None:
    return suspend.verdict(job.spec, job.status) if job.spec is not None else None


def _over_deadline(seen: Observed, job: Job, _: Started | None) -> Verdict | None:
    return deadlines.over_active_deadline(seen, job.spec, job.status) if job.spec is not None else None


def _not_started(seen: Observed, job: Job, start: Started | None) -> Verdict | None:
    return quorum.verdict(seen, job.key, job.spec) if start is None and job.spec is not None else None


def _too_few_left(seen: Observed, _: Job, start: Started | None) -> Verdict | None:
    if start is None:
        return None
    return termination.too_few_left(seen, start.children, start.frozen.worker_image, start.aggregation.min_survivors)


def _resting(seen: Observed, job: Job, _: Started | None) -> Verdict | None:
    return deadlines.resting(seen, job.status)


def _over_assembly_deadline(seen: Observed, job: Job, start: Started | None) -> Verdict | None:
    if start is None or job.spec is None:
        return None
    return deadlines.over_assembly_deadline(seen, job.spec, start.aggregator, start.aggregation.min_survivors)


def _certificate_due(seen: Observed, _: Job, start: Started | None) -> Verdict | None:
    return deadlines.certificate_due(seen, start.aggregator) if start is not None else None


RULES: tuple[Rule, ...] = (
    _finished,  # before all others: the end never flips back
    _invalid,
    _aggregator_ended,  # before suspension and deadlines: what has been achieved counts
    _suspended,
    _over_deadline,
    _not_started,
    _too_few_left,
    _resting,
    _over_assembly_deadline,
    _certificate_due,
)


def _actions(seen: Observed, job: Job, found: Verdict, start: Started | None) -> tuple[Action, ...]:
    if found.stage is Stage.FINISHED:
        return ttl.actions(seen, job)
    if found.stage is Stage.FREEZING:
        return _hold(seen, job)
    if found.stage.is_turn:
        return ()
    return (*(_hold(seen, job) if start is not None else ()), *children.actions(seen, found.stage, start))


def _hold(seen: Observed, job: Job) -> tuple[Action, ...]:
    """Return the addition of the finalizer, which comes before anything in another namespace."""
    if FINALIZER in job.metadata.finalizers or seen.namespace(job.key.namespace) is not NamespaceState.ACTIVE:
        return ()
    return (AddFinalizer(job.key, (*job.metadata.finalizers, FINALIZER)),)


def _look_again(seen: Observed, job: Job, found: Verdict, start: Started | None) -> datetime | None:
    if found.stage is Stage.FINISHED:
        return ttl.look_again(seen, job)
    if start is None or found.stage not in (Stage.RUNNING, Stage.RESTING):
        return None
    times = [deadlines.active_deadline(start.spec, start.status), *_expiries(seen, start)]
    if found.stage is Stage.RESTING:
        times.append(moment(job.status.assembly_time) if job.status.assembly_time else None)
    else:
        times += [seen.now + timedelta(seconds=_pace(seen, start)), deadlines.assembly_deadline(start.spec, start.status)]
        times += [children.present_turn(start, entry).retry_at for entry in start.frozen.datasets]
    return min((time for time in times if time is not None and time > seen.now), default=None)


def _expiries(seen: Observed, start: Started) -> list[datetime | None]:
    """Return when the grants of the roster end, at which moment their tenants' part does."""
    datasets = [seen.datasets.get(dataset_key(entry)) for entry in start.frozen.datasets]
    namespace, image = start.key.namespace, start.frozen.worker_image
    return [consent.expiry(dataset, namespace, image) for dataset in datasets if dataset is not None]


def _pace(seen: Observed, start: Started) -> float:
    """Return how soon a running job is worth another look, in seconds: sooner while people wait for it to begin."""
    return seen.probe_seconds if start.status.assembly_time is None else min(seen.probe_seconds, ASSEMBLY_SECONDS)


TOLD = (
    ConditionType.SUSPENDED,
    ConditionType.CONSENT_GRANTED,
    ConditionType.ADMITTED,
    ConditionType.RUNNING,
    ConditionType.SUCCEEDED,
    ConditionType.FAILED,
)


def _events(job: Job, new: FederatedJobStatus) -> tuple[Emit, ...]:
    """Return an event for each condition whose answer has changed; the API's own events of children tell the rest."""
    changed = [find_condition(new.conditions, kind) for kind in TOLD]
    return tuple(_event(job, answer) for answer in changed if answer is not None and _is_news(job, answer))


def _is_news(job: Job, answer: Condition) -> bool:
    before = find_condition(job.status.conditions, ConditionType(answer.type))
    if before is not None and before.status is answer.status:
        return False
    is_end = answer.type in (ConditionType.SUCCEEDED, ConditionType.FAILED)
    is_first = before is None and not answer.is_true
    return not is_first and (answer.is_true or not is_end)


def _event(job: Job, answer: Condition) -> Emit:
    is_warning = answer.type == ConditionType.FAILED or (
        not answer.is_true and answer.type in (ConditionType.CONSENT_GRANTED, ConditionType.ADMITTED)
    )
    return Emit(job.key, answer.reason, answer.message, is_warning)
