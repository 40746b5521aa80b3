"""What a cluster administrator decides for the whole operator, read once in `cli` and passed down.

Nothing here may weaken what a job or a tenant asked for: whatever privacy depends on stands in the objects themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ContainerResources:
    """Requests and limits of a container whose author gave none; a quota refuses pods without them."""

    requests: Mapping[str, str]
    limits: Mapping[str, str]


def _light() -> ContainerResources:
    return ContainerResources({"cpu": "100m", "memory": "256Mi"}, {"cpu": "2", "memory": "2Gi"})


def _training() -> ContainerResources:
    return ContainerResources({"cpu": "500m", "memory": "1Gi"}, {"cpu": "4", "memory": "4Gi"})


@dataclass(frozen=True, slots=True)
class Settings:
    """The operator's settings."""

    namespace: str = "coterie-system"
    """Where the operator runs; its certificate authority lies in a Secret there, and `/status` may be read from its pods alone."""

    authority_secret: str = "coterie-ca"  # noqa: S105 - the name of a Secret
    """Name of that Secret. It is created at the first start."""

    operator_image: str = "ghcr.io/coterie/operator:0.1.0"
    """Image of aggregators (no torch). Pin it by digest in production."""

    worker_image: str = "ghcr.io/coterie/worker:0.1.0"
    """Image of `initialize`, clients and evaluators of jobs that name none. Grants that list images must list this one to allow it."""

    image_pull_policy: str = "IfNotPresent"
    """Kubernetes' own policy for all containers that the operator starts."""

    fs_group: int | None = 65532
    """Group that owns the volumes of a pod, so that a pod of any uid can write to them. None on OpenShift, which chooses one itself."""

    monitoring_namespace: str = ""
    """Namespace whose pods may scrape `/metrics` of aggregators and clients; empty: only the operator's own namespace."""

    aggregator_resources: ContainerResources = field(default_factory=_light)
    """Of aggregators whose job names none."""

    worker_resources: ContainerResources = field(default_factory=_training)
    """Of `initialize`, clients and evaluators whose job and tenant name none."""

    checkpoint_size: str = "4Gi"
    """Size of a checkpoint volume whose job names none."""

    certificate_days: int = 90
    """Validity of the certificates that the operator issues. An aggregator is restarted from its checkpoint at two thirds of it."""

    probe_seconds: float = 10.0
    """Least interval between two readings of one aggregator's `/status`; it grows with the number of running jobs (a fiftieth of it)."""

    probe_timeout_seconds: float = 5.0
    """How long an aggregator may take to answer."""

    resync_seconds: float = 300.0
    """Every job is looked at again this often even when nothing seems to happen: level, never edge."""

    settle_seconds: float = 30.0
    """How long clients of a job that has ended may take to end by themselves, before their batch Jobs are deleted."""

    cleanup_timeout_seconds: float = 300.0
    """After this long the finalizer goes even where a namespace can't be read or a pod won't die; an Event says what was left."""

    client_backoff_limit: int = 2
    """Pod retries of one attempt of a client before the next attempt."""

    client_backoff_seconds: float = 10.0
    """Wait before a client's attempt 1; it doubles with each attempt."""

    client_backoff_max_seconds: float = 300.0
    """Longest such wait."""

    assembly_retry_seconds: float = 30.0
    """Least wait before a job that found no quorum assembles again; up to as much again is added as jitter, derived from its uid."""

    coalesce_seconds: float = 0.05
    """How long a change waits for others of the same job, so that a burst of events is one pass."""

    retry_seconds: float = 1.0
    """Wait after a failed pass over one job; it doubles with each failure in a row."""

    retry_max_seconds: float = 120.0
    """Longest such wait."""

    workers: int = 4
    """How many jobs are worked on at once."""
