"""A job that has frozen its roster: what most rules need to know about it, worked out once per pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from coterie_api.podconfig import Aggregation
from coterie_api.v1alpha1.types import FederatedJobSpec, FederatedJobStatus, Frozen, FrozenDataset
from coterie_operator.core.children import BatchJob, Children
from coterie_operator.core.observed import Observed
from coterie_operator.core.rules.attempts import Turn, turn, written_attempts
from coterie_operator.core.rules.quorum import aggregation
from coterie_operator.manifests.naming import DatasetKey, JobKey
from coterie_operator.manifests.parts import Parts, Place, parts


@dataclass(frozen=True, slots=True)
class Started:
    """The frozen facts of a job, with its own children among all that were seen."""

    seen: Observed
    key: JobKey
    spec: FederatedJobSpec
    status: FederatedJobStatus
    frozen: Frozen
    children: Children
    aggregation: Aggregation
    parts: Parts  # what the builders of manifests need
    attempts: Mapping[str, int]  # that the status names, by the tenant's namespace
    turns: Mapping[str, Turn]  # the present attempt of each client, by the same

    @property
    def attempt(self) -> int:
        """The present attempt of the aggregator."""
        return self.status.attempts.assembly

    @property
    def aggregator(self) -> BatchJob | None:
        """The aggregator's batch Job of the present attempt."""
        jobs = (job for job in self.children.aggregators() if job.child.attempt == self.attempt and not job.child.is_going)
        return next(jobs, None)


def started(seen: Observed) -> Started | None:
    """Return the job as a started one, or None if it is not."""
    job = seen.job
    if job is None or job.spec is None or job.status.frozen is None:
        return None
    frozen = job.status.frozen
    secure = aggregation(job.spec, frozen.datasets)
    made = parts(job.key, job.spec, frozen, secure, Place(seen.settings, seen.authority))
    own = seen.children.of(job.key.uid)
    attempts = written_attempts(job.status)
    turns = {entry.namespace: turn(entry, own, attempts.get(entry.namespace, 0), seen.settings, seen.now) for entry in frozen.datasets}
    return Started(seen, job.key, job.spec, job.status, frozen, own, secure, made, attempts, turns)


def dataset_key(entry: FrozenDataset) -> DatasetKey:
    """Return the key of an entry of the roster."""
    return DatasetKey(entry.namespace, entry.name)
