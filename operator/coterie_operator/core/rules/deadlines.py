"""Deadlines, recomputed from timestamps in each pass; nothing here keeps a timer."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from coterie_api.v1alpha1.types import FederatedJobSpec, FederatedJobStatus, Reason
from coterie_operator.core.observed import Observed, moment
from coterie_operator.core.verdict import Stage, Verdict
from coterie_operator.pki import Validity

if TYPE_CHECKING:
    from coterie_api.progress import Progress
    from coterie_operator.core.children import BatchJob
    from coterie_operator.manifests.naming import JobKey

ASSEMBLING_PHASES = ("Starting", "Assembling")


def active_deadline(spec: FederatedJobSpec, status: FederatedJobStatus) -> datetime | None:
    """Return when the job is over at the latest; it starts anew with each resume, as that of a batch Job does."""
    if spec.active_deadline_seconds is None or status.active_since is None:
        return None
    return moment(status.active_since) + timedelta(seconds=spec.active_deadline_seconds)


def over_active_deadline(seen: Observed, spec: FederatedJobSpec, status: FederatedJobStatus) -> Verdict | None:
    """Return the end of a job that has used up its time."""
    deadline = active_deadline(spec, status)
    if deadline is None or seen.now < deadline:
        return None
    longest = f"spec.activeDeadlineSeconds of {spec.active_deadline_seconds}"
    message = f"the job ran longer than its {longest} and ended after round {status.round} of {spec.rounds}"
    return Verdict(Stage.FAILING, Reason.DEADLINE_EXCEEDED, message)


def is_assembled(progress: Progress | None, min_survivors: int) -> bool:
    """Whether a quorum of clients is connected."""
    if progress is None:
        return False
    return progress.phase not in ASSEMBLING_PHASES or progress.connected >= min_survivors


def assembly_deadline(spec: FederatedJobSpec, status: FederatedJobStatus) -> datetime | None:
    """Return by when a quorum of clients must be connected; None if no assembly is going on."""
    if status.assembly_time is None:
        return None
    return moment(status.assembly_time) + timedelta(seconds=spec.participants.assembly_deadline_seconds)


def resting(seen: Observed, status: FederatedJobStatus) -> Verdict | None:
    """Return that the job waits for its next assembly, if that lies ahead."""
    if status.assembly_time is None or seen.now >= moment(status.assembly_time):
        return None
    return Verdict(Stage.RESTING, Reason.QUORUM_NOT_MET, status.message)


def over_assembly_deadline(seen: Observed, spec: FederatedJobSpec, aggregator: BatchJob | None, min_survivors: int) -> Verdict | None:
    """Return that all clients are let go, so that two half-assembled jobs don't wait for each other's pods; in the end, for good.

    As long as the aggregator runs but can't be read, nobody knows that the quorum is *not* there, and nothing is let go.
    """
    job = seen.job
    deadline = assembly_deadline(spec, job.status) if job is not None else None
    if job is None or deadline is None or seen.now < deadline or is_assembled(seen.progress, min_survivors):
        return None
    if seen.progress is None and aggregator is not None and aggregator.running_pod is not None:
        return None
    connected = seen.progress.connected if seen.progress is not None else 0
    waited = spec.participants.assembly_deadline_seconds
    message = f"{connected} clients were connected {waited} seconds after the start of assembly; {min_survivors} are needed"
    failed, limit = job.status.attempts.without_quorum + 1, spec.participants.assembly_backoff_limit
    if failed > limit:
        tried = f"assembly {failed} in a row without a quorum, spec.participants.assemblyBackoffLimit is {limit}"
        return Verdict(Stage.FAILING, Reason.QUORUM_NOT_MET, f"{message}; {tried}")
    return Verdict(Stage.LETTING_GO, Reason.QUORUM_NOT_MET, message, until=next_assembly(seen, job.key, job.status.attempts.assembly))


def next_assembly(seen: Observed, job: JobKey, attempt: int) -> datetime:
    """Return when to assemble again: at least the configured wait, at most twice that, the same for every operator."""
    digest = hashlib.sha256(f"{job.uid}\n{attempt}".encode()).digest()
    jitter = int.from_bytes(digest[:4], "big") / 2**32
    return seen.now + timedelta(seconds=seen.settings.assembly_retry_seconds * (1 + jitter))


def certificate_renewal(seen: Observed, aggregator: BatchJob) -> datetime:
    """Return when the aggregator needs a new certificate. It can't be older than the batch Job that mounts it by name."""
    return Validity.of_days(aggregator.created, seen.settings.certificate_days).renewal


def certificate_due(seen: Observed, aggregator: BatchJob | None) -> Verdict | None:
    """Return that the aggregator needs a new certificate, if it does."""
    if aggregator is None or seen.now < certificate_renewal(seen, aggregator):
        return None
    return Verdict(Stage.RENEWING, Reason.AGGREGATOR_RESTARTING, "the aggregator starts again from its checkpoint with a new certificate")
