"""How a job ends: by its aggregator's last word, or because too many clients can't go on.

A client's own words never reach the job's author: they could hold its data. What is told is a reason of the catalog with its
sentence, and the names that `observe` has held to a narrow alphabet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from coterie_api.progress import Drop, DropReason, Progress, Termination, sentence
from coterie_api.v1alpha1.conditions import SENTENCES
from coterie_api.v1alpha1.types import FrozenDataset, Reason
from coterie_operator.core.children import BatchJob, Children, Outcome
from coterie_operator.core.rules.consent import Objection, revocation
from coterie_operator.core.verdict import Stage, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coterie_operator.core.observed import Observed

MAX_NAMED = 3  # tenants named in one message
POD_FAILURE_POLICY = "PodFailurePolicy"  # the batch Job's own reason for exit status 64
GOOD_ENDS = (Reason.ROUNDS_COMPLETED, Reason.STOPPED_EARLY)
REFUSALS = (DropReason.WRONG_SHAPE, DropReason.NOT_FINITE)  # what `initialize` says of a model that it can't take
FAILURES = frozenset(
    {
        Reason.TOO_FEW_SURVIVORS,
        Reason.TASK_IMPORT_FAILED,
        Reason.TASK_RAISED,
        Reason.MODEL_REFUSED,
        Reason.OUTPUT_FAILED,
        Reason.OUT_OF_MEMORY,
        Reason.INVALID_SPEC,
        Reason.NOT_IMPLEMENTED,
        Reason.QUORUM_NOT_MET,
    }
)


def aggregator_ended(children: Children, attempt: int) -> Verdict | None:
    """Return the end of the job if its aggregator has ended for good: well in any attempt, or badly in the present one."""
    jobs = children.aggregators()
    complete = next((job for job in jobs if job.outcome is Outcome.COMPLETE), None)
    if complete is not None:
        return _succeeded(complete.termination)
    failed = next((job for job in jobs if job.outcome is Outcome.FAILED and job.child.attempt == attempt), None)
    return _failed(failed) if failed is not None else None


def tell(drop: Drop) -> str:
    """Return one sentence on a client's absence."""
    incident = f", incident {drop.incident}" if drop.incident else ""
    return f"{drop.client}: {sentence(drop)}{incident}"


def final_progress(seen: Observed, children: Children) -> Progress | None:
    """Return the numbers of a job that succeeds: those in the last word of the aggregator that has ended well, or what one says now."""
    words = (job.termination for job in children.aggregators() if job.outcome is Outcome.COMPLETE)
    return next((word.progress for word in words if word is not None and word.progress is not None), seen.progress)


def client_failure(job: BatchJob | None, client: str) -> Drop | None:
    """Return why a client can't go on whatever is tried, or None if it can."""
    if job is None or job.outcome is not Outcome.FAILED or job.reason != POD_FAILURE_POLICY:
        return None
    said = job.termination.drop if job.termination is not None else None
    if said is None:
        return Drop(client, DropReason.DISCONNECTED)
    # Whose pod it was is known from the pod, not from what it says.
    return Drop(client, said.reason, said.error_class, said.where, said.incident)


def too_few_left(seen: Observed, children: Children, image: str, min_survivors: int) -> Verdict | None:
    """Return the end of a started job whose remaining clients can't make a quorum any more."""
    frozen = seen.job.status.frozen if seen.job is not None else None
    if frozen is None:
        return None
    lost = {entry: objection for entry in frozen.datasets if (objection := revocation(seen, entry, image)) is not None}
    drops = [drop for entry in frozen.datasets if entry not in lost and (drop := failure_of(children, entry)) is not None]
    left = len(frozen.datasets) - len(lost) - len(drops)
    required = _required_lost(seen, lost)
    if left >= min_survivors and not required:
        return None
    told = [*(f"{entry.namespace}/{entry.name}: {sentence}" for entry, (_, sentence) in lost.items()), *map(tell, drops)]
    message = f"{left} of {len(frozen.datasets)} clients can go on and {min_survivors} are needed; {some(told)}"
    if required and left >= min_survivors:
        message = f"a required data set can't go on; {some(told)}"
    return Verdict(Stage.FAILING, _reason(lost, drops), message)


def failure_of(children: Children, entry: FrozenDataset) -> Drop | None:
    """Return why the client of an entry of the roster can't go on, or None if it can."""
    jobs = children.clients(entry.namespace)
    return client_failure(jobs[-1] if jobs else None, f"{entry.namespace}/{entry.name}")


def _required_lost(seen: Observed, lost: dict[FrozenDataset, Objection]) -> bool:
    spec = seen.job.spec if seen.job is not None else None
    refs = spec.participants.datasets if spec is not None else ()
    gone = {(entry.namespace, entry.name) for entry in lost}
    return any(ref.required and (ref.namespace, ref.name) in gone for ref in refs)


def _reason(lost: dict[FrozenDataset, Objection], drops: list[Drop]) -> Reason:
    if lost:
        return Reason(next(iter(lost.values()))[0])
    return _as_reason(drops[0].reason, Reason.QUORUM_NOT_MET) if drops else Reason.QUORUM_NOT_MET


def _succeeded(said: Termination | None) -> Verdict:
    reason = _as_reason(said.reason, Reason.ROUNDS_COMPLETED) if said is not None else Reason.ROUNDS_COMPLETED
    if reason not in GOOD_ENDS:
        reason = Reason.ROUNDS_COMPLETED
    return Verdict(Stage.SUCCEEDING, reason, SENTENCES[reason])


def _failed(job: BatchJob) -> Verdict:
    said = job.termination
    if said is None:
        return Verdict(Stage.FAILING, Reason.BACKOFF_LIMIT_EXCEEDED, SENTENCES[Reason.BACKOFF_LIMIT_EXCEEDED])
    reason = Reason.MODEL_REFUSED if said.reason in REFUSALS else _as_reason(said.reason, Reason.BACKOFF_LIMIT_EXCEEDED)
    message = said.message or SENTENCES[reason]
    # The aggregator's own sentence may have named them already.
    drops = [drop for drop in (said.progress.drops if said.progress is not None else ()) if drop.client not in message]
    return Verdict(Stage.FAILING, reason, f"{message}; {some([tell(drop) for drop in drops])}" if drops else message)


def _as_reason(text: str, otherwise: Reason) -> Reason:
    return next((reason for reason in (*FAILURES, *GOOD_ENDS) if reason.value == text), otherwise)


def some(told: Sequence[str]) -> str:
    """Return the first few in one message, and how many more there are."""
    rest = len(told) - MAX_NAMED
    return "; ".join(told[:MAX_NAMED]) + (f"; and {rest} more" if rest > 0 else "")
