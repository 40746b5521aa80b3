"""A job that is being deleted, or is gone: its children in every namespace go, and then the finalizer.

The finalizer always goes in the end: a namespace that is gone or being deleted counts as done, and what can't be cleaned up in
`cleanup_timeout_seconds` is named in an Event and left behind.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from coterie_api.names import FINALIZER
from coterie_operator.core.actions import Action, Emit, Plan, RemoveFinalizer
from coterie_operator.core.observed import Job, NamespaceState, Observed, moment
from coterie_operator.core.rules.children import delete

if TYPE_CHECKING:
    from coterie_operator.core.children import Child

CLEANUP_INCOMPLETE = "CleanupIncomplete"
MAX_NAMED = 5


def plan(seen: Observed, job: Job) -> Plan:
    """Return what to do about a job that is being deleted."""
    deletions: tuple[Action, ...] = tuple(delete(seen.children.everything()))
    if FINALIZER not in job.metadata.finalizers:
        return Plan(deletions)
    left = remaining(seen)
    if left and seen.now < deadline(seen, job):
        return Plan(deletions, look_again=deadline(seen, job))
    rest = tuple(name for name in job.metadata.finalizers if name != FINALIZER)
    return Plan((*deletions, RemoveFinalizer(job.key, rest)), events=(_incomplete(job, left),) if left else ())


def orphaned(seen: Observed) -> Plan:
    """Return what to do about children whose job does not exist."""
    return Plan(tuple(delete(seen.children.everything())))


def remaining(seen: Observed) -> tuple[str, ...]:
    """Return what is still there of what must be gone first: anything in a living namespace that no garbage collector gets."""
    waits = [*seen.children.everything(), *(pod.child for pod in seen.children.pods)]
    left = [f"{child.kind} {child.namespace}/{child.name}" for child in waits if _holds(seen, child)]
    denied = [f"namespace {name}" for name, state in sorted(seen.namespaces.items()) if state is NamespaceState.DENIED]
    return (*left, *denied)


def deadline(seen: Observed, job: Job) -> datetime:
    """Return until when the finalizer waits."""
    asked = moment(job.metadata.deletion_timestamp) if job.metadata.deletion_timestamp else seen.now
    return asked + timedelta(seconds=seen.settings.cleanup_timeout_seconds)


def _holds(seen: Observed, child: Child) -> bool:
    """Whether a child holds the finalizer back. The job's own claim and Service are collected with it and don't."""
    own = seen.job is not None and child.namespace == seen.job.key.namespace and child.kind not in ("Job", "Pod")
    return seen.namespace(child.namespace) is NamespaceState.ACTIVE and not own


def _incomplete(job: Job, left: tuple[str, ...]) -> Emit:
    more = f" and {len(left) - MAX_NAMED} more" if len(left) > MAX_NAMED else ""
    return Emit(
        job.key, CLEANUP_INCOMPLETE, f"the job is let go with children left behind: {', '.join(left[:MAX_NAMED])}{more}", is_warning=True
    )
