"""The Pod Security Standard "restricted", written down once more from the page "Pod Security Standards" of Kubernetes' docs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret"}
HOST_FIELDS = ("hostNetwork", "hostPID", "hostIPC", "hostUsers")


def violations(pod: Json) -> list[str]:
    """Return what an API server with `enforce: restricted` would say against a pod's spec."""
    return [*_of_pod(pod), *(said for container in containers(pod) for said in _of_container(pod, container))]


def containers(pod: Json) -> list[Json]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def _of_pod(pod: Json) -> Iterator[str]:
    yield from (f"{field} is set" for field in HOST_FIELDS if pod.get(field))
    for volume in pod.get("volumes", []):
        kinds = set(volume) - {"name"}
        if not kinds <= VOLUMES:
            yield f"volume {volume['name']}: {kinds - VOLUMES}"
    if pod.get("securityContext", {}).get("runAsUser") == 0:
        yield "runAsUser is 0"


def _of_container(pod: Json, container: Json) -> Iterator[str]:
    name, own, outer = container["name"], container.get("securityContext", {}), pod.get("securityContext", {})
    if own.get("privileged") or own.get("procMount", "Default") != "Default":
        yield f"{name}: privileged or procMount"
    if own.get("allowPrivilegeEscalation") is not False:
        yield f"{name}: allowPrivilegeEscalation is not false"
    if own.get("runAsNonRoot", outer.get("runAsNonRoot")) is not True:
        yield f"{name}: runAsNonRoot is not true"
    if own.get("runAsUser") == 0:
        yield f"{name}: runAsUser is 0"
    capabilities = own.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []) or set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield f"{name}: capabilities {capabilities}"
    profile = own.get("seccompProfile", outer.get("seccompProfile", {})).get("type")
    if profile not in ("RuntimeDefault", "Localhost"):
        yield f"{name}: seccompProfile {profile}"
    if any("hostPort" in port for port in container.get("ports", [])):
        yield f"{name}: hostPort"
