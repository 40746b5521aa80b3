"""Each tenant's part in the job, as its status tells it: states and catalog reasons, never a tenant's own words."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from coterie_api.progress import SENTENCES as DROP_SENTENCES
from coterie_api.progress import Drop, DropReason
from coterie_api.v1alpha1.conditions import SENTENCES
from coterie_api.v1alpha1.types import DatasetRef, FederatedJobSpec, FrozenDataset, Reason, TenantState, TenantStatus
from coterie_operator.core.children import BatchJob, Outcome
from coterie_operator.core.observed import NamespaceState
from coterie_operator.core.obstacles import past, present
from coterie_operator.core.rules.children import present_turn
from coterie_operator.core.rules.consent import Standing, revocation
from coterie_operator.core.rules.quorum import choose
from coterie_operator.core.rules.termination import failure_of, final_progress, tell
from coterie_operator.core.verdict import Stage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from coterie_operator.core.observed import Observed
    from coterie_operator.core.rules.attempts import Turn
    from coterie_operator.core.rules.started import Started


def before_start(seen: Observed, spec: FederatedJobSpec) -> tuple[TenantStatus, ...]:
    """Return the tenants of a job that has not started, in the order of its spec."""
    return tuple(_standing(entry) for entry in choose(seen, spec).standings)


def after_start(job: Started, stage: Stage) -> tuple[TenantStatus, ...]:
    """Return the tenants of a started job, in the order of its spec."""
    roster = {(entry.namespace, entry.name): entry for entry in job.frozen.datasets}
    tenants = tuple(_tenant(job, stage, ref, roster.get((ref.namespace, ref.name))) for ref in job.spec.participants.datasets)
    return _with_drops(job, tenants) if stage is Stage.SUCCEEDING else tenants


def _with_drops(job: Started, tenants: tuple[TenantStatus, ...]) -> tuple[TenantStatus, ...]:
    """Return the tenants with why some of them were absent in the last round: a client may run to the end and fail in each round."""
    progress = final_progress(job.seen, job.children)
    drops = {drop.client: drop for drop in progress.drops} if progress is not None else {}
    return tuple(_with_drop(tenant, drops.get(f"{tenant.namespace}/{tenant.name}")) for tenant in tenants)


def _with_drop(tenant: TenantStatus, drop: Drop | None) -> TenantStatus:
    if drop is None or tenant.state is not TenantState.DONE:
        return tenant
    return replace(tenant, reason=drop.reason.value, message=tell(drop))


def _standing(entry: Standing) -> TenantStatus:
    state = TenantState.PENDING if entry.is_able else TenantState.SKIPPED
    return TenantStatus(entry.key.namespace, entry.key.name, state, entry.reason, entry.message)


def _tenant(job: Started, stage: Stage, ref: DatasetRef, entry: FrozenDataset | None) -> TenantStatus:
    if entry is None:
        before = next((old for old in job.status.tenants if (old.namespace, old.name) == (ref.namespace, ref.name)), None)
        # Left out at the start; what its owner grants later changes nothing for this job.
        return before or TenantStatus(ref.namespace, ref.name, TenantState.SKIPPED, Reason.NOT_GRANTED.value)
    attempt = job.attempts.get(ref.namespace, 0)
    lost = revocation(job.seen, entry, job.frozen.worker_image)
    if lost is not None:
        return TenantStatus(ref.namespace, ref.name, TenantState.FAILED, *lost, attempt)
    drop = failure_of(job.children, entry)
    if drop is not None:
        newest = job.children.clients(entry.namespace)[-1]
        return TenantStatus(ref.namespace, ref.name, TenantState.FAILED, drop.reason.value, tell(drop), newest.child.attempt)
    if stage in (Stage.SUSPENDING, Stage.LETTING_GO):
        # The next attempt has another name, so that it never meets what is left of this one.
        return TenantStatus(ref.namespace, ref.name, TenantState.PENDING, attempt=present_turn(job, entry).attempt + 1)
    if stage in (Stage.SUSPENDED, Stage.RESTING, Stage.RESUMING):
        return TenantStatus(ref.namespace, ref.name, TenantState.PENDING, attempt=attempt)
    if job.seen.namespaces.get(ref.namespace) is NamespaceState.DENIED:
        # What runs there can't be seen; it may well go on.
        denied = Reason.TENANT_ACCESS_MISSING
        return TenantStatus(ref.namespace, ref.name, TenantState.PENDING, denied.value, SENTENCES[denied], attempt)
    return _present(job, stage, ref, present_turn(job, entry))


def _present(job: Started, stage: Stage, ref: DatasetRef, now: Turn) -> TenantStatus:
    state, reason, message = _state(job, stage, ref, now)
    return TenantStatus(ref.namespace, ref.name, state, reason, message, now.attempt)


def took_part(tenants: Iterable[TenantStatus]) -> int:
    """Return how many tenants of a job that succeeds were there to the end."""
    return sum(tenant.state not in (TenantState.SKIPPED, TenantState.FAILED) for tenant in tenants)


def sentences(tenants: Iterable[TenantStatus], state: TenantState) -> list[str]:
    """Return one sentence on each tenant in that state about which there is something to say."""
    return [_sentence(tenant) for tenant in tenants if tenant.state is state and tenant.message]


def _sentence(tenant: TenantStatus) -> str:
    name = f"{tenant.namespace}/{tenant.name}: "
    return name + tenant.message.removeprefix(name)


def _state(job: Started, stage: Stage, ref: DatasetRef, now: Turn) -> tuple[TenantState, str, str]:
    if stage is not Stage.SUCCEEDING:
        return _going_on(job, ref, now)
    if _is_there(now):
        return TenantState.DONE, "", ""
    reason, message = _last_failure(now.job) if now.is_backing_off else _going_on(job, ref, now)[1:]
    return TenantState.FAILED, reason, message or "the client did not run when the job ended"


def _is_there(now: Turn) -> bool:
    """Whether a client runs or has ended well."""
    if now.job is None or now.is_backing_off:
        return False
    return now.job.outcome is Outcome.COMPLETE or any(pod.phase in ("Running", "Succeeded") for pod in now.job.pods)


def _going_on(job: Started, ref: DatasetRef, now: Turn) -> tuple[TenantState, str, str]:
    if now.is_backing_off:
        reason, message = _last_failure(now.job)
        return TenantState.BACKING_OFF, reason, f"{message}; another attempt follows"
    if now.job is None:
        trouble = next((found for found in job.seen.troubles if found.namespace == ref.namespace), None)
        return (TenantState.PENDING, trouble.reason.value, trouble.message) if trouble else (TenantState.PENDING, "", "")
    if now.job.outcome is Outcome.COMPLETE:
        return TenantState.DONE, "", ""
    return _running(job, ref, now.job)


def _running(job: Started, ref: DatasetRef, batch: BatchJob) -> tuple[TenantState, str, str]:
    if batch.running_pod is not None:
        befell, drop = past(batch), _last_drop(job, ref)
        if befell is not None and (drop is None or drop.reason is DropReason.DISCONNECTED):
            return TenantState.READY, befell.reason.value, f"an earlier pod of it ended: {befell.message}"
        return (TenantState.READY, drop.reason.value, tell(drop)) if drop else (TenantState.READY, "", "")
    obstacle = present(batch, job.seen.now)
    return (TenantState.STARTING, obstacle.reason.value, obstacle.message) if obstacle else (TenantState.STARTING, "", "")


def _last_drop(job: Started, ref: DatasetRef) -> Drop | None:
    drops = job.seen.progress.drops if job.seen.progress is not None else ()
    return next((drop for drop in drops if drop.client == _client(ref)), None)


def _last_failure(batch: BatchJob | None) -> tuple[str, str]:
    said = batch.termination.drop if batch is not None and batch.termination is not None else None
    befell = past(batch)
    if befell is not None:
        return befell.reason.value, befell.message
    if said is None:
        return batch.reason if batch is not None else "", "the client's pods failed"
    return said.reason.value, DROP_SENTENCES[said.reason]


def _client(ref: DatasetRef) -> str:
    return f"{ref.namespace}/{ref.name}"
