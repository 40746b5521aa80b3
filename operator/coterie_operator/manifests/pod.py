"""Parts of pods that pass `pod-security.kubernetes.io/enforce: restricted`, and the batch Job around them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from coterie_api.names import ENV_THREADS, EXIT_TERMINAL, PATH_TERMINATION
from coterie_api.podconfig import Role
from coterie_api.v1alpha1.types import EnvVar, Resources
from coterie_operator.manifests.cores import threads
from coterie_operator.manifests.volumes import scratch_volume

if TYPE_CHECKING:
    from coterie_operator.settings import ContainerResources, Settings

Json = dict[str, Any]

SCRATCH = "/tmp"  # noqa: S108 - the root file system is read-only, and Python and torch want a place for temporary files
GRACE_SECONDS = 30
ENV_POD_IP = "POD_IP"
OWN_ENV = (ENV_POD_IP, ENV_THREADS)

# Vectors are made and freed all the time, by several threads. glibc would give their memory back to the kernel after each, to
# fault it in again for the next, and let each thread hoard its own. So pods keep one arena, and what they have freed.
MALLOC = {"MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": str(128 << 20), "MALLOC_MMAP_THRESHOLD_": str(32 << 20)}


@dataclass(frozen=True, slots=True)
class Mount:
    """A volume and where one container sees it."""

    volume: str
    path: str
    read_only: bool = True

    def to_json(self) -> Json:
        found: Json = {"name": self.volume, "mountPath": self.path}
        return {**found, "readOnly": True} if self.read_only else found


@dataclass(frozen=True, slots=True)
class Container:
    """What differs between the containers that run `python -m coterie_worker`."""

    role: Role
    image: str
    resources: Json
    mounts: tuple[Mount, ...]
    ports: Mapping[str, int] = field(default_factory=dict)
    env: tuple[EnvVar, ...] = ()
    is_sidecar: bool = False


def container(parts: Container, settings: Settings) -> Json:
    """Return a container; its command, environment and security are the same for every role."""
    mounts = [*(mount.to_json() for mount in parts.mounts), Mount("scratch", SCRATCH, read_only=False).to_json()]
    built: Json = {
        "name": parts.role.value,
        "image": parts.image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["python", "-m", "coterie_worker"],
        "args": [parts.role.value, f"--host=$({ENV_POD_IP})"],
        "env": _environment(parts),
        "resources": parts.resources,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationMessagePath": PATH_TERMINATION,
        # Never FallbackToLogsOnError: a traceback in a log may hold private data.
        "terminationMessagePolicy": "File",
        "volumeMounts": mounts,
    }
    if parts.ports:
        built["ports"] = [{"name": name, "containerPort": port, "protocol": "TCP"} for name, port in sorted(parts.ports.items())]
    return {**built, "restartPolicy": "Always"} if parts.is_sidecar else built


@dataclass(frozen=True, slots=True)
class Pod:
    """Containers and volumes of a pod; `extra` are the owner's wishes, which may not touch its security."""

    containers: tuple[Json, ...]
    volumes: tuple[Json, ...]
    init: tuple[Json, ...] = ()
    extra: Json = field(default_factory=dict)


def pod_spec(parts: Pod, settings: Settings) -> Json:
    """Return a pod that holds no credentials for the cluster and can't raise its privileges."""
    security: Json = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    if settings.fs_group is not None:
        security |= {"fsGroup": settings.fs_group, "fsGroupChangePolicy": "OnRootMismatch"}
    spec: Json = {
        **parts.extra,
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": security,
        "containers": list(parts.containers),
        "volumes": [*parts.volumes, scratch_volume("scratch")],
    }
    return {**spec, "initContainers": list(parts.init)} if parts.init else spec


def batch_job(meta: Json, spec: Json, backoff_limit: int) -> Json:
    """Return a batch Job that runs one pod to its end.

    A pod is replaced only once it has fully failed, so that two pods never share a volume; evictions don't count as failures;
    exit status 64 says that a retry can't help.
    """
    rules = [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [EXIT_TERMINAL]}},
    ]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": meta,
        "spec": {
            "backoffLimit": backoff_limit,
            "completions": 1,
            "parallelism": 1,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {"rules": rules},
            "template": {"metadata": {"labels": meta["labels"]}, "spec": spec},
        },
    }


def resources(asked: Resources, default: ContainerResources, last_word: Resources | None = None) -> Json:
    """Return requests and limits, both for every resource: what was asked, completed by the defaults.

    A resource that was asked by its limit alone is requested in full, and the other way around, as Kubernetes does.
    Each entry of `last_word` takes the place of the one asked.
    """
    over = last_word or Resources()
    requests = {**asked.requests, **over.requests}
    asked_limits = {**asked.limits, **over.limits}
    limits = {**default.limits, **requests, **asked_limits}
    fallback = {key: default.requests[key] if key in default.requests and key not in asked_limits else limits[key] for key in limits}
    return {"requests": {**fallback, **requests}, "limits": limits}


def _environment(parts: Container) -> list[Json]:
    own: list[Json] = [{"name": ENV_POD_IP, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}}}]
    count = threads(parts.resources)
    if parts.role is not Role.AGGREGATOR and count is not None:  # an aggregator has no torch to tell it to
        own.append({"name": ENV_THREADS, "value": str(count)})
    asked = {entry.name: entry.value for entry in parts.env if entry.name not in OWN_ENV}
    return [*own, *({"name": name, "value": value} for name, value in {**MALLOC, **asked}.items())]
