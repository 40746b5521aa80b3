"""Which children should exist at each stage, and the actions that lead there from those that do.

```text
job's namespace                                    each tenant's namespace
  claim, Service, ConfigMap, policy  (whole job)     ConfigMap, policy   (whole job)
  Secret, batch Job                  (an attempt)    batch Job           (an attempt)
  owned by the FederatedJob                          owned by the tenant's FederatedDataset
```
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from coterie_api.podconfig import Role
from coterie_api.v1alpha1.conditions import Reason
from coterie_operator.core.actions import Action, Create, CreateCertificate, Delete, Json
from coterie_operator.core.children import BatchJob, Child, Outcome, Pod
from coterie_operator.core.observed import NamespaceState, Observed
from coterie_operator.core.rules.consent import revocation
from coterie_operator.core.rules.started import Started, dataset_key
from coterie_operator.core.verdict import Stage
from coterie_operator.manifests import aggregator, client
from coterie_operator.manifests.naming import child_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from coterie_api.v1alpha1.types import FrozenDataset
    from coterie_operator.core.rules.attempts import Turn

SECRET_PATIENCE = timedelta(seconds=20)  # a pod that waits longer than this may wait for a Secret that somebody deleted
WAITS_FOR_VOLUMES = ("", "ContainerCreating", "PodInitializing")
CLIENT_KINDS = ("ConfigMap", "NetworkPolicy")
AGGREGATOR_KINDS = ("PersistentVolumeClaim", "Service", *CLIENT_KINDS)


def actions(seen: Observed, stage: Stage, job: Started | None) -> tuple[Action, ...]:
    """Return what to do about children at a stage that is no turn."""
    strays = tuple(delete(_strays(seen)))
    if job is None:
        return strays
    if stage is Stage.RUNNING:
        return (*strays, *_run(job))
    if stage in (Stage.SUSPENDED, Stage.RESTING):
        return (*strays, *delete(batch.child for batch in job.children.batch_jobs))
    return strays


def delete(children: Iterable[Child]) -> Iterator[Delete]:
    """Yield the deletion of each child that is not going already."""
    return (Delete(child.kind, child.namespace, child.name, child.uid) for child in children if not child.is_going)


def settle(seen: Observed) -> tuple[Action, ...]:
    """Return what to do about the children of a job that has ended: what still runs is ended, what has ended keeps its logs.

    Clients are told by the aggregator that the job is over and end by themselves; `core.rules.ttl` says how long they may take.
    """
    own = seen.children.of(seen.job.key.uid) if seen.job is not None else seen.children
    running = (batch.child for batch in own.batch_jobs if batch.outcome is Outcome.ACTIVE)
    return (*delete(_strays(seen)), *delete(running))


def _strays(seen: Observed) -> Iterator[Child]:
    """Yield children of a former job of the same name."""
    uid = seen.job.key.uid if seen.job is not None else ""
    return (child for child in seen.children.everything() if child.job_uid != uid)


def _run(job: Started) -> Iterator[Action]:
    yield from _aggregator(job)
    for index, entry in enumerate(job.frozen.datasets):
        yield from _client(job, index, entry)


def _aggregator(job: Started) -> Iterator[Action]:
    namespace = job.key.namespace
    if job.seen.namespace(namespace) is not NamespaceState.ACTIVE:
        return
    yield from delete(batch.child for batch in job.children.aggregators() if batch.child.attempt != job.attempt)
    standing = child_name(job.key, Role.AGGREGATOR)
    if not all(job.children.has(kind, namespace, standing) for kind in AGGREGATOR_KINDS):
        yield from _create(job, aggregator.standing_children(job.parts))
    if _needs_secret(job):
        names = aggregator.certificate_names(job.parts)
        yield CreateCertificate(aggregator.certificate_secret(job.parts, job.attempt), job.key.uid, names)
    if not job.children.has("Job", namespace, aggregator.aggregator_name(job.key, job.attempt)):
        yield Create(aggregator.aggregator_job(job.parts, job.attempt))


def _needs_secret(job: Started) -> bool:
    """Whether the certificate's Secret may be missing. It can't be looked at, so it is created again where its absence would show."""
    batch = job.aggregator
    if batch is None:
        return True
    if batch.outcome is not Outcome.ACTIVE or batch.running_pod is not None:
        return False
    return any(_may_lack_secret(pod, job.seen.now) for pod in batch.pods)


def _may_lack_secret(pod: Pod, now: datetime) -> bool:
    """Whether a pod waits for a Secret, by what its node says, or where that says nothing, by how long it waits."""
    if pod.obstacle is not None or pod.is_explained:
        return pod.obstacle is not None and pod.obstacle.reason is Reason.SECRET_NOT_FOUND
    may_wait = pod.waiting in WAITS_FOR_VOLUMES and not pod.has_sandbox
    return pod.created is not None and may_wait and now - pod.created > SECRET_PATIENCE


def _client(job: Started, index: int, entry: FrozenDataset) -> Iterator[Action]:
    namespace = entry.namespace
    if revocation(job.seen, entry, job.frozen.worker_image) is not None:
        yield from delete(child for child in job.children.everything() if child.namespace == namespace and child.role == Role.CLIENT)
        return
    dataset = job.seen.datasets.get(dataset_key(entry))
    if dataset is None or job.seen.namespace(namespace) is not NamespaceState.ACTIVE or not may_start_clients(job):
        return
    tenant = client.Tenant(index, dataset_key(entry), dataset.metadata.uid, dataset.spec)
    now = present_turn(job, entry)
    yield from delete(batch.child for batch in job.children.clients(namespace) if batch.child.attempt != now.attempt)
    standing = client.client_name(job.key, tenant.key)
    if not all(job.children.has(kind, namespace, standing) for kind in CLIENT_KINDS):
        yield from _create(job, client.standing_children(job.parts, tenant))
    if not job.children.has("Job", namespace, client.client_name(job.key, tenant.key, now.attempt)):
        yield Create(client.client_job(job.parts, tenant, now.attempt))


def may_start_clients(job: Started) -> bool:
    """Whether the task's code has been seen to import and to make a model: before that, no tenant's pod starts."""
    batch: BatchJob | None = job.aggregator
    return job.children.has_clients or job.status.round > 0 or (batch is not None and batch.is_initialized)


def present_turn(job: Started, entry: FrozenDataset) -> Turn:
    """Return the present attempt of a client."""
    return job.turns[entry.namespace]


def _create(job: Started, wanted: list[Json]) -> Iterator[Create]:
    """Yield the creation of each object that is not there. One that is still going must be gone first."""
    for obj in wanted:
        meta = obj["metadata"]
        if not job.children.has(obj["kind"], meta["namespace"], meta["name"]):
            yield Create(obj)
