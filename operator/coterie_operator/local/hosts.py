"""Names of Services: one hosts file for all pods of a runner, kept current, in the place of a cluster's DNS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coterie_operator.local.store import has_labels

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from coterie_operator.cluster import Object

_HEAD = "127.0.0.1 localhost\n"


def hosts_text(services: Iterable[Object], pods: Iterable[Object]) -> str:
    """Return the lines `address service.namespace.svc` for each running pod that a Service selects."""
    running = [pod for pod in pods if _is_running(pod)]
    lines = [line for service in services for line in _lines(service, running)]
    return _HEAD + "".join(f"{line}\n" for line in sorted(lines))


def _is_running(pod: Object) -> bool:
    status = pod.get("status", {})
    return status.get("phase") == "Running" and bool(status.get("podIP")) and "deletionTimestamp" not in pod["metadata"]


def _lines(service: Object, pods: list[Object]) -> list[str]:
    name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
    selector = service.get("spec", {}).get("selector")
    if not selector:
        return []
    chosen = [pod for pod in pods if pod["metadata"]["namespace"] == namespace and has_labels(pod, selector)]
    return [f"{pod['status']['podIP']} {name}.{namespace}.svc {name}.{namespace}.svc.cluster.local" for pod in chosen]


def write_hosts(path: Path, text: str) -> None:
    """Replace the hosts file at once, so that a reader sees the old or the new one."""
    beside = path.with_suffix(".new")
    beside.write_text(text, encoding="ascii")
    beside.replace(path)
