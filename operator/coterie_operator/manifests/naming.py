"""Names, labels and owners of a job's children."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coterie_api.names import (
    API_VERSION,
    LABEL_ATTEMPT,
    LABEL_DATASET,
    LABEL_JOB_NAME,
    LABEL_JOB_NAMESPACE,
    LABEL_JOB_UID,
    LABEL_ROLE,
    MANAGED_BY,
)

if TYPE_CHECKING:
    from coterie_api.podconfig import Role

LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
LABEL_NAME = "app.kubernetes.io/name"
LABEL_PART_OF = "app.kubernetes.io/part-of"
LABEL_COMPONENT = "app.kubernetes.io/component"
LABEL_NAMESPACE_NAME = "kubernetes.io/metadata.name"  # the API server sets it on every namespace

MAX_JOB_NAME_IN_CHILD = 30
HASH_CHARS = 10
MAX_LABEL = 63


@dataclass(frozen=True, slots=True)
class JobKey:
    """Which job a child belongs to. Identity is the uid; the names are for people and for finding children."""

    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class DatasetKey:
    """A data set's place; `None` in its stead means the job itself."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def child_name(job: JobKey, role: Role, dataset: DatasetKey | None = None, attempt: int | None = None) -> str:
    """Return the name of a child: `<job, 30 chars>-<role>-<10 chars of a hash>[-<attempt>]`, at most 63 characters.

    The hash covers the job's uid and the data set, so that two jobs of one name never meet in a tenant's namespace. Children
    that outlive an attempt (claim, Service, configuration, policies) carry no attempt in their name.
    """
    seed = f"{job.uid}\n{dataset or ''}".encode()
    digest = base64.b32encode(hashlib.sha256(seed).digest()).decode().lower()[:HASH_CHARS]
    stem = f"{job.name[:MAX_JOB_NAME_IN_CHILD]}-{role.value}-{digest}"
    return stem if attempt is None else f"{stem}-{attempt}"


def find_labels(job_namespace: str, job_name: str) -> dict[str, str]:
    """Return the labels by which all children of a job of that name are found, whichever uid it has."""
    return {LABEL_MANAGED_BY: MANAGED_BY, LABEL_JOB_NAME: job_name, LABEL_JOB_NAMESPACE: job_namespace}


def pod_labels(job: JobKey, role: Role) -> dict[str, str]:
    """Return the labels that select the pods of one role of one job."""
    return {LABEL_JOB_UID: job.uid, LABEL_ROLE: role.value}


def labels(job: JobKey, role: Role, dataset: DatasetKey | None = None, attempt: int | None = None) -> dict[str, str]:
    """Return all labels of a child."""
    found = {
        **find_labels(job.namespace, job.name),
        **pod_labels(job, role),
        LABEL_NAME: "coterie",
        LABEL_PART_OF: "coterie",
        LABEL_COMPONENT: role.value,
    }
    if dataset is not None:
        found[LABEL_DATASET] = dataset.name[:MAX_LABEL].rstrip("-.")
    if attempt is not None:
        found[LABEL_ATTEMPT] = str(attempt)
    return found


def job_owner(job: JobKey) -> dict[str, Any]:
    """Return the owner reference of children in the job's own namespace."""
    return _owner("FederatedJob", job.name, job.uid)


def dataset_owner(dataset: DatasetKey, uid: str) -> dict[str, Any]:
    """Return the owner reference of children in a tenant's namespace, where the job itself can't be one."""
    return _owner("FederatedDataset", dataset.name, uid)


def metadata(name: str, namespace: str, found: dict[str, str], owner: dict[str, Any]) -> dict[str, Any]:
    """Return the metadata of a child."""
    return {"name": name, "namespace": namespace, "labels": found, "ownerReferences": [owner]}


def service_dns(service: str, namespace: str) -> str:
    """Return the DNS name by which clients dial, and that the aggregator's certificate holds."""
    return f"{service}.{namespace}.svc"


def _owner(kind: str, name: str, uid: str) -> dict[str, Any]:
    # blockOwnerDeletion would need the permission to set finalizers on the owner, which OpenShift checks.
    return {"apiVersion": API_VERSION, "kind": kind, "name": name, "uid": uid, "controller": True, "blockOwnerDeletion": False}
