"""Which namespaces and data sets a job has to do with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coterie_operator.core.rules.ttl import is_finished
from coterie_operator.manifests.naming import DatasetKey

if TYPE_CHECKING:
    from coterie_api.v1alpha1.types import FederatedDataset
    from coterie_operator.core.observed import Job


def referenced(job: Job) -> tuple[DatasetKey, ...]:
    """Return the data sets that a job names, and those that it has frozen."""
    asked = job.spec.participants.datasets if job.spec is not None else ()
    frozen = job.status.frozen.datasets if job.status.frozen is not None else ()
    keys = [DatasetKey(ref.namespace, ref.name) for ref in asked] + [DatasetKey(entry.namespace, entry.name) for entry in frozen]
    return tuple(dict.fromkeys(keys))


def worth_reading(job: Job) -> tuple[DatasetKey, ...]:
    """Return the data sets whose contents matter now: none once the job has ended."""
    return () if job.is_going or is_finished(job.status) else referenced(job)


def worth_visiting(job: Job, datasets: dict[DatasetKey, FederatedDataset]) -> tuple[str, ...]:
    """Return the namespaces to look into: the job's own, and those of tenants that the job has, or may get, children with.

    A namespace whose owner does not name this job's namespace in any grant is none of this job's business.
    """
    if job.status.frozen is not None:
        tenants = [entry.namespace for entry in job.status.frozen.datasets]
    else:
        tenants = [key.namespace for key, dataset in datasets.items() if _names(dataset, job.metadata.namespace)]
    return tuple(dict.fromkeys([job.metadata.namespace, *tenants]))


def _names(dataset: FederatedDataset, namespace: str) -> bool:
    return any(namespace in grant.jobs.namespaces for grant in dataset.spec.grants)
