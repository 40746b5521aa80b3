"""What a cluster administrator decides for the whole operator, read once in `cli` and passed down.

Nothing here may weaken what a job or a tenant asked for: whatever privacy depends on stands in the objects themselves.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast, get_type_hints

from coterie_api.names import ENV_ROOT, ENV_THREADS


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

    namespaces: tuple[str, ...] = ()
    """The only namespaces that the operator sees and serves, separated by commas; empty: all that its roles and the tenants allow."""

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
    """Namespace whose pods may scrape `/metrics` of aggregators; empty: only the operator's own namespace."""

    aggregator_resources: ContainerResources = field(default_factory=_light)
    """Of aggregators whose job names none."""

    worker_resources: ContainerResources = field(default_factory=_training)
    """Of `initialize`, clients and evaluators whose job and tenant name none."""

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

    identity: str = ""
    """Name of this replica in the election, such as its pod's name; empty: the machine's. A random part is added at each start."""

    listen: str = "0.0.0.0"  # noqa: S104 - probes and Prometheus come from outside of the pod
    """Address of the two ports below."""

    health_port: int = 8080
    """Port of `/healthz` and `/readyz`."""

    metrics_port: int = 9090
    """Port of the operator's own `/metrics`."""

    workers: int = 4
    """How many jobs are worked on at once."""


PREFIX: Final = "COTERIE_"
OTHERS: Final = frozenset({ENV_ROOT, ENV_THREADS})  # of workers; they may stand in the same environment


def from_environment(variables: Mapping[str, str]) -> Settings:
    """Return the settings that `COTERIE_<FIELD>` variables give, such as `COTERIE_RESYNC_SECONDS=60`; defaults for the rest.

    Structures are JSON. An empty value is text alone, or None where that is allowed.

    Raises:
        ValueError: a variable names no setting, or its value is of another type; the message names variable, value and type.
    """
    known = {PREFIX + name.upper(): (name, kind) for name, kind in get_type_hints(Settings).items()}
    given = {name: value for name, value in variables.items() if name.startswith(PREFIX) and name not in OTHERS}
    if unknown := sorted(given.keys() - known.keys()):
        raise ValueError(f"{', '.join(unknown)}: no such setting; the settings are {', '.join(sorted(known))}")
    return Settings(**{known[name][0]: _read(name, value, known[name][1]) for name, value in given.items()})


def _read(variable: str, value: str, kind: object) -> Any:
    try:
        if kind is ContainerResources:
            return ContainerResources(**json.loads(value))
        if kind == int | None:
            return int(value) if value and value != "null" else None
        if kind == tuple[str, ...]:
            return tuple(part.strip() for part in value.split(",") if part.strip())
        reader: Callable[[str], object] = {str: str, int: int, float: float}[cast("type", kind)]
        return reader(value)
    except (ValueError, TypeError) as error:
        allowed = "JSON with requests and limits" if kind is ContainerResources else getattr(kind, "__name__", str(kind))
        raise ValueError(f"{variable}={value}: allowed is {allowed}") from error
