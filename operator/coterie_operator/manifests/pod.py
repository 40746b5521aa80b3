"""Parts of pods that pass `pod-security.kubernetes.io/enforce: restricted`, and the batch Job around them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from coterie_api.names import EXIT_TERMINAL, PATH_CONFIG, PATH_TERMINATION, PORT_METRICS
from coterie_api.podconfig import Role
from coterie_operator.settings import ContainerResources, Settings

Json = dict[str, Any]

SCRATCH = "/tmp"  # noqa: S108 - the root file system is read-only, and Python and torch want a place for temporary files
GRACE_SECONDS = 30


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
    resources: Mapping[str, Any]
    mounts: tuple[Mount, ...]
    ports: Mapping[str, int] = field(default_factory=dict)
    is_sidecar: bool = False


def container(parts: Container, settings: Settings) -> Json:
    """Return a container; its command, environment and security are the same for every role."""
    built: Json = {
        "name": parts.role.value,
        "image": parts.image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["python", "-m", "coterie_worker"],
        "args": [parts.role.value, "--host=$(POD_IP)"],
        "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}}}],
        "resources": dict(parts.resources),
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
        "volumeMounts": [*(mount.to_json() for mount in parts.mounts), Mount("scratch", SCRATCH, read_only=False).to_json()],
    }
    if parts.ports:
        built["ports"] = [{"name": name, "containerPort": port, "protocol": "TCP"} for name, port in sorted(parts.ports.items())]
    if parts.is_sidecar:
        built["restartPolicy"] = "Always"
    return built


def pod_spec(containers: list[Json], volumes: list[Json], settings: Settings, init: list[Json] | None = None) -> Json:
    """Return a pod that holds no credentials for the cluster and can't raise its privileges."""
    security: Json = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    if settings.fs_group is not None:
        security |= {"fsGroup": settings.fs_group, "fsGroupChangePolicy": "OnRootMismatch"}
    spec: Json = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": security,
        "containers": containers,
        "volumes": [*volumes, {"name": "scratch", "emptyDir": {}}],
    }
    return {**spec, "initContainers": init} if init else spec


def batch_job(meta: Json, spec: Json, backoff_limit: int) -> Json:
    """Return a batch Job that runs one pod to its end.

    A pod is replaced only once it has fully failed, so that two pods never share a volume; evictions don't count as failures;
    exit status 64 says that a retry can't help.
    """
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": meta,
        "spec": {
            "backoffLimit": backoff_limit,
            "completions": 1,
            "parallelism": 1,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                    {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [EXIT_TERMINAL]}},
                ]
            },
            "template": {"metadata": {"labels": meta["labels"]}, "spec": spec},
        },
    }


def resources(asked: Mapping[str, Any] | None, default: ContainerResources) -> Json:
    """Return requests and limits, both for every resource: what was asked, completed by the defaults.

    A resource that was asked by its limit alone is requested in full, and the other way around, as Kubernetes does.
    """
    wanted = {key: dict((asked or {}).get(key) or {}) for key in ("requests", "limits")}
    limits = {**default.limits, **wanted["requests"], **wanted["limits"]}
    fallback = {**limits, **{key: value for key, value in default.requests.items() if key not in wanted["limits"]}}
    return {"requests": {**fallback, **wanted["requests"]}, "limits": limits}


def claim_volume(name: str, claim: str, *, read_only: bool = False) -> Json:
    """Return a volume that is a persistent volume claim of the pod's own namespace."""
    source: Json = {"claimName": claim}
    return {"name": name, "persistentVolumeClaim": {**source, "readOnly": True} if read_only else source}


def config_volumes(config_map: str) -> list[Json]:
    """Return the volumes of `job.json` and `role.json`, and of the authority's certificate, all from one ConfigMap."""
    return [
        {"name": "config", "configMap": {"name": config_map, "items": [{"key": key, "path": key} for key in ("job.json", "role.json")]}},
        {"name": "authority", "configMap": {"name": config_map, "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    ]


CONFIG = Mount("config", PATH_CONFIG)
METRICS = {"metrics": PORT_METRICS}
