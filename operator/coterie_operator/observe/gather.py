"""One gathering of the world for one job."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from coterie_api.errors import FieldError, InvalidObject
from coterie_api.fields import parse
from coterie_api.podconfig import Role
from coterie_api.progress import Progress
from coterie_api.v1alpha1.types import (
    FederatedDataset,
    FederatedDatasetStatus,
    FederatedJob,
    FederatedJobSpec,
    FederatedJobStatus,
    ObjectMeta,
)
from coterie_api.v1alpha1.validate import validate_dataset, validate_job
from coterie_operator.cluster import (
    BATCH_JOB,
    CLAIM,
    CONFIG_MAP,
    FEDERATED_DATASET,
    FEDERATED_JOB,
    NAMESPACE,
    NETWORK_POLICY,
    POD,
    SERVICE,
    Cluster,
    Forbidden,
    Kind,
    NotFound,
    Object,
)
from coterie_operator.core.datasets import Dataset
from coterie_operator.core.observed import Job, NamespaceState, Observed, Trouble, Write
from coterie_operator.manifests.aggregator import aggregator_name
from coterie_operator.manifests.naming import DatasetKey, child_name, find_labels, service_dns
from coterie_operator.observe.children import children
from coterie_operator.observe.events import Explainer
from coterie_operator.observe.references import worth_reading, worth_visiting
from coterie_operator.observe.words import hold_all
from coterie_operator.settings import Settings

if TYPE_CHECKING:
    from coterie_operator.core.children import Children

LOG = logging.getLogger(__name__)
K = TypeVar("K")
T = TypeVar("T")
S = TypeVar("S", FederatedJobStatus, FederatedDatasetStatus)

IN_FLIGHT = 16  # requests of one gathering at one time
TENANT_KINDS = (BATCH_JOB, POD, CONFIG_MAP, NETWORK_POLICY)
JOB_KINDS = (*TENANT_KINDS, SERVICE, CLAIM)

ReadProgress = Callable[[str, str], Awaitable[Progress | None]]  # address of the aggregator's pod, name to verify


@dataclass(frozen=True, slots=True)
class Gathering:
    """What every gathering needs beside the job's key."""

    cluster: Cluster
    settings: Settings
    authority: str  # certificate, PEM
    read_progress: ReadProgress
    now: datetime
    troubles: tuple[Trouble, ...] = ()
    probe_seconds: float = 10.0
    namespaces: tuple[str, ...] = ()  # where to look for children of a job that is gone
    held: frozenset[Write] = frozenset()
    explainer: Explainer = field(default_factory=Explainer)


async def observe(context: Gathering, namespace: str, name: str) -> Observed:
    """Return the world as far as one job is concerned.

    Raises:
        Unavailable: the API can't be asked; the pass is to be repeated. A namespace without access is an observation.
    """
    job = await _job(context.cluster, namespace, name)
    datasets = await _datasets(context.cluster, worth_reading(job)) if job is not None else {}
    visits = worth_visiting(job, datasets) if job is not None else tuple(dict.fromkeys([namespace, *context.namespaces]))
    found = await _in_turn(partial(_visit, context.cluster, find_labels(namespace, name), namespace), visits)
    objects = [obj for visit in found for obj in visit[1]]
    there = children(objects, await context.explainer.explain(context.cluster, objects, context.now))
    return Observed(
        now=context.now,
        settings=context.settings,
        job=job,
        datasets=datasets,
        namespaces={visit: state for visit, (state, _) in zip(visits, found, strict=True)},
        children=there,
        progress=await _progress(context, job, there),
        authority=context.authority,
        troubles=context.troubles,
        held=context.held,
        probe_seconds=context.probe_seconds,
    )


async def _job(cluster: Cluster, namespace: str, name: str) -> Job | None:
    try:
        raw = await cluster.get(FEDERATED_JOB, namespace, name)
    except NotFound:
        return None
    return read_job(raw)


def read_job(raw: Object) -> Job:
    """Return the job of an object; what does not parse in its spec is kept as errors, since the job must be told so."""
    metadata = parse(ObjectMeta, raw["metadata"], "metadata", strict=False)
    status = _lenient(FederatedJobStatus, raw.get("status"))
    try:
        whole = parse(FederatedJob, {**raw, "status": {}}, "", strict=False)
    except InvalidObject as invalid:
        return Job(metadata, _lenient_spec(raw), status, invalid.errors)
    return Job(metadata, whole.spec, status, _errors(whole))


def _errors(job: FederatedJob) -> tuple[FieldError, ...]:
    return tuple(validate_job(job))


def read_dataset(raw: Object) -> Dataset:
    """Return the data set of an object, with all that keeps it from taking part, so that its owner can be told."""
    metadata = parse(ObjectMeta, raw["metadata"], "metadata", strict=False)
    status = _lenient(FederatedDatasetStatus, raw.get("status"))
    try:
        whole = parse(FederatedDataset, {**raw, "status": {}}, "", strict=False)
    except InvalidObject as invalid:
        return Dataset(metadata, status, invalid.errors)
    return Dataset(metadata, status, tuple(validate_dataset(whole)))


def _lenient(cls: type[S], raw: Any) -> S:
    """Return the status; one that does not parse was not written by us, and is written anew from what is observed."""
    try:
        return parse(cls, raw or {}, "status", strict=False)
    except InvalidObject as invalid:
        LOG.warning("a status does not parse and is made anew: %s", invalid)
        return cls()


def _lenient_spec(raw: Object) -> FederatedJobSpec | None:
    try:
        return parse(FederatedJobSpec, raw.get("spec") or {}, "spec", strict=False)
    except InvalidObject:
        return None


async def _datasets(cluster: Cluster, keys: tuple[DatasetKey, ...]) -> dict[DatasetKey, FederatedDataset]:
    found = await _in_turn(partial(_dataset, cluster), keys)
    return {key: dataset for key, dataset in zip(keys, found, strict=True) if dataset is not None}


async def _dataset(cluster: Cluster, key: DatasetKey) -> FederatedDataset | None:
    try:
        return parse(FederatedDataset, await cluster.get(FEDERATED_DATASET, key.namespace, key.name), "", strict=False)
    except NotFound:
        return None
    except InvalidObject as invalid:
        # It reads as absent: consent that can't be read is no consent.
        LOG.warning("FederatedDataset %s does not parse and counts as absent: %s", key, invalid)
        return None


async def _visit(cluster: Cluster, labels: dict[str, str], own: str, visit: str) -> tuple[NamespaceState, list[Object]]:
    """Return a namespace's state, and the children of jobs of that name in it."""
    try:
        state = await _state(cluster, visit)
        if state is NamespaceState.ABSENT:
            return state, []
        kinds = JOB_KINDS if visit == own else TENANT_KINDS
        lists = [await _list(cluster, kind, visit, labels) for kind in kinds]
    except Forbidden as error:
        LOG.warning("no access to namespace %s: %s", visit, error)
        return NamespaceState.DENIED, []
    return state, [obj for found in lists for obj in found]


async def _state(cluster: Cluster, name: str) -> NamespaceState:
    try:
        raw = await cluster.get(NAMESPACE, "", name)
    except NotFound:
        return NamespaceState.ABSENT
    is_going = "deletionTimestamp" in raw["metadata"] or (raw.get("status") or {}).get("phase") == "Terminating"
    return NamespaceState.TERMINATING if is_going else NamespaceState.ACTIVE


async def _list(cluster: Cluster, kind: Kind, namespace: str, labels: dict[str, str]) -> list[Object]:
    # Items of a list come without their kind from a real API server.
    return [{**obj, "kind": kind.kind} for obj in await cluster.list(kind, namespace, labels)]


async def _progress(context: Gathering, job: Job | None, there: Children) -> Progress | None:
    if job is None or job.status.frozen is None:
        return None
    present = aggregator_name(job.key, job.status.attempts.assembly)
    batch = next((batch for batch in there.of(job.key.uid).aggregators() if batch.child.name == present), None)
    pod = batch.running_pod if batch is not None else None
    if pod is None:
        return None
    server_name = service_dns(child_name(job.key, Role.AGGREGATOR), job.key.namespace)
    found = await context.read_progress(pod.ip, server_name)
    return hold_all(found) if found is not None else None


async def _in_turn(ask: Callable[[K], Awaitable[T]], keys: Sequence[K]) -> list[T]:
    """Ask for each key, a bounded number at one time; answers in order. The first error is raised once all have been asked."""
    gate = asyncio.Semaphore(IN_FLIGHT)

    async def one(key: K) -> T:
        async with gate:
            return await ask(key)

    answers = await asyncio.gather(*(one(key) for key in keys), return_exceptions=True)
    found: list[T] = []
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
        found.append(answer)
    return found
