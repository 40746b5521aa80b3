"""Performs a plan. Each write can be repeated: what is already there or already gone is success."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from coterie_api.fields import dump
from coterie_api.names import API_VERSION, LABEL_JOB_UID
from coterie_api.v1alpha1.types import FederatedDatasetStatus, FederatedJobStatus, ObjectMeta, Reason
from coterie_operator import cluster as port
from coterie_operator.act.authority import secret_data
from coterie_operator.act.patches import merge_patch
from coterie_operator.cluster import (
    EVENT,
    FEDERATED_DATASET,
    FEDERATED_JOB,
    AlreadyExists,
    Cluster,
    Conflict,
    Forbidden,
    Invalid,
    Kind,
    NotFound,
    Object,
)
from coterie_operator.core.actions import Action, AddFinalizer, Create, CreateCertificate, Delete, Emit, RemoveFinalizer
from coterie_operator.core.observed import Job, Trouble, Write, stamp
from coterie_operator.core.refusals import refusal
from coterie_operator.manifests.naming import JobKey, job_owner
from coterie_operator.pki import Authority, aggregator_request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from coterie_operator.core.datasets import Dataset
    from coterie_operator.settings import Settings

LOG = logging.getLogger(__name__)
A = TypeVar("A")

IN_FLIGHT = 16  # writes of one plan at one time
WEBHOOK_FAILED = "failed calling webhook"  # the API server's words for an admission webhook that it can't ask
KINDS = {
    kind.kind: kind
    for kind in (
        port.BATCH_JOB,
        port.CLAIM,
        port.CONFIG_MAP,
        port.NETWORK_POLICY,
        port.POD,
        port.SECRET,
        port.SERVICE,
        FEDERATED_JOB,
    )
}


class NotLeader(Exception):
    """This replica no longer leads: nothing may be written."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of the actions of a plan."""

    version: str  # of the job, for the status
    troubles: tuple[Trouble, ...] = ()
    wrote: bool = False


class Actor:
    """Writes to the cluster on behalf of the leader."""

    def __init__(self, cluster: Cluster, settings: Settings, authority: Authority, may_write: Callable[[], bool]) -> None:
        self._cluster = cluster
        self._settings = settings
        self._authority = authority
        self._may_write = may_write

    async def perform(self, actions: tuple[Action, ...], job: Job | None, now: datetime) -> Outcome:
        """Perform the actions: the finalizer's addition, deletions, creations, the finalizer's removal.

        Raises:
            Conflict: the job has changed since it was observed; the pass is to be repeated.
            Unavailable: the API can't be reached now.
            NotLeader: not allowed to write; what was written before that is no harm.
        """
        version = job.metadata.resource_version if job is not None else ""
        for added in _of(actions, AddFinalizer):
            version = await self._set_finalizers(added.job, added.finalizers, version)
        troubles = await self._each(self._delete, _of(actions, Delete))
        troubles += await self._each(self._create, [creation.obj for creation in _of(actions, Create)])
        troubles += await self._each(partial(self._certify, now=now), _of(actions, CreateCertificate))
        if not troubles:
            for removed in _of(actions, RemoveFinalizer):
                await self._set_finalizers(removed.job, removed.finalizers, version)
        wrote = any(not isinstance(action, CreateCertificate) for action in actions)
        return Outcome(version, tuple(dict.fromkeys(troubles)), wrote)

    async def write_status(self, job: Job, new: FederatedJobStatus, version: str) -> None:
        """Write the difference to the status, on condition that the job still has that version. Raises Conflict if it hasn't."""
        await self._write_status(FEDERATED_JOB, job.metadata, version, merge_patch(dump(job.status), dump(new)))

    async def write_dataset_status(self, dataset: Dataset, new: FederatedDatasetStatus) -> None:
        """Write the difference to the status, on condition that the data set is as it was read. Raises Conflict if it isn't."""
        meta = dataset.metadata
        await self._write_status(FEDERATED_DATASET, meta, meta.resource_version, merge_patch(dump(dataset.status), dump(new)))

    async def emit(self, events: tuple[Emit, ...], now: datetime) -> None:
        """Tell people. An event that can't be written is logged: nothing depends on it."""
        for event in events:
            self._check()
            try:
                await self._cluster.create(EVENT, _event(event, now))
            except AlreadyExists:
                continue  # told before
            except port.ApiError as error:
                LOG.warning("event %s of job %s/%s not written: %s", event.reason, event.job.namespace, event.job.name, error)

    async def _write_status(self, kind: Kind, meta: ObjectMeta, version: str, patch: Object) -> None:
        body: Object = {"metadata": {"resourceVersion": version, "uid": meta.uid}, "status": patch}
        self._check()
        try:
            await self._cluster.patch(kind, meta.namespace, meta.name, body, status=True)
        except NotFound:
            LOG.debug("%s %s/%s went before its status was written", kind.kind, meta.namespace, meta.name)

    def _check(self) -> None:
        if not self._may_write():
            raise NotLeader

    async def _set_finalizers(self, job: JobKey, finalizers: tuple[str, ...], version: str) -> str:
        self._check()
        body: Object = {"metadata": {"resourceVersion": version, "uid": job.uid, "finalizers": list(finalizers)}}
        try:
            patched = await self._cluster.patch(FEDERATED_JOB, job.namespace, job.name, body)
        except NotFound:
            return version
        return str(patched["metadata"]["resourceVersion"])

    @staticmethod
    async def _each(perform: Callable[[A], Awaitable[Trouble | None]], actions: list[A]) -> list[Trouble]:
        """Perform actions side by side, all of them to their end, and raise the first error only then: nothing runs on unseen."""
        gate = asyncio.Semaphore(IN_FLIGHT)

        async def one(action: A) -> Trouble | None:
            async with gate:
                return await perform(action)

        results = await asyncio.gather(*(one(action) for action in actions), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return [result for result in results if isinstance(result, Trouble)]

    async def _delete(self, action: Delete) -> Trouble | None:
        self._check()
        try:
            await self._cluster.delete(KINDS[action.kind], action.namespace, action.name, uid=action.uid)
        except (Conflict, NotFound):
            return None  # another object of that name, or none: what was meant is gone
        except Forbidden as error:
            LOG.warning("deletion of %s %s/%s: %s", action.kind, action.namespace, action.name, error)
            return Trouble(
                action.namespace, Reason.TENANT_ACCESS_MISSING, f"the operator may not delete {action.kind} {action.name}", action.write
            )
        return None

    async def _certify(self, action: CreateCertificate, now: datetime) -> Trouble | None:
        self._check()
        issued = self._authority.issue(aggregator_request(action.job_uid, action.dns_names), now, self._settings.certificate_days)
        data = secret_data({"tls.crt": issued.certificate, "tls.key": issued.key, "ca.crt": issued.authority})
        return await self._create({**action.obj, "data": data})

    async def _create(self, obj: Object) -> Trouble | None:
        self._check()
        kind = KINDS[obj["kind"]]
        write = Create(obj).write
        what = f"{kind.kind} {write.namespace}/{write.name}"
        try:
            await self._cluster.create(kind, obj)
        except AlreadyExists:
            return await self._claim(kind, obj)
        except NotFound:
            return None  # the namespace is gone; the next pass sees that
        except (Forbidden, Invalid) as error:
            LOG.warning("creation of %s: %s", what, error)
            return _refused(error, write, what)
        except port.Unavailable as error:
            if WEBHOOK_FAILED not in str(error):
                raise
            # One namespace's broken webhook is that namespace's trouble, and no reason to stop the job's pass.
            LOG.warning("creation of %s: %s", what, error)
            return _refused(error, write, what)
        return None

    async def _claim(self, kind: Kind, obj: Object) -> Trouble | None:
        """Return a trouble unless the object that is there belongs to the same job.

        A Secret can't be looked at; its name has the job's uid in it.
        """
        meta = obj["metadata"]
        if kind is port.SECRET:
            return None
        try:
            there = await self._cluster.get(kind, meta["namespace"], meta["name"])
        except NotFound:
            return None
        found = (there["metadata"].get("labels") or {}).get(LABEL_JOB_UID)
        if found == meta["labels"][LABEL_JOB_UID]:
            return None
        what = f"{kind.kind} {meta['namespace']}/{meta['name']}"
        told = f"{what} exists and does not belong to this job"
        return Trouble(meta["namespace"], Reason.CREATION_FAILED, told, Create(obj).write)


def _of(actions: tuple[Action, ...], cls: type[A]) -> list[A]:
    return [action for action in actions if isinstance(action, cls)]


def _refused(error: port.ApiError, write: Write, what: str) -> Trouble | None:
    """Return what a refusal means. The API's own words stay in the operator's log: they speak of a tenant's quota and policies."""
    text = str(error)
    if "being terminated" in text:
        return None  # the next pass sees the namespace as it is
    known = refusal(text)
    if known is not None:
        return Trouble(write.namespace, known.reason, f"{what} is refused: {known.message}", write)
    if isinstance(error, Forbidden):
        return Trouble(write.namespace, Reason.TENANT_ACCESS_MISSING, f"the operator may not create {what}", write)
    return Trouble(write.namespace, Reason.CREATION_FAILED, f"the API server refuses {what}", write)


def _event(event: Emit, now: datetime) -> Object:
    """Return an event whose name follows from what it says, so that the same news is told once."""
    job = event.job
    digest = hashlib.sha256(f"{job.uid}\n{event.reason}\n{event.message}".encode()).hexdigest()[:16]
    involved = {"apiVersion": API_VERSION, "kind": FEDERATED_JOB.kind, "name": job.name, "namespace": job.namespace, "uid": job.uid}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{job.name}.{digest}", "namespace": job.namespace, "ownerReferences": [job_owner(job)]},
        "involvedObject": involved,
        "reason": event.reason,
        "message": event.message,
        "type": "Warning" if event.is_warning else "Normal",
        "source": {"component": "coterie"},
        "firstTimestamp": stamp(now),
        "lastTimestamp": stamp(now),
        "count": 1,
    }
