"""The chart as Helm renders it, and as an administrator installs it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Final

import yaml
from tests.cluster import binaries

CHART: Final = Path(__file__).parents[2] / "charts" / "coterie"
RELEASE: Final = "coterie"
NAMESPACE: Final = "coterie-system"
SERVICE_ACCOUNT: Final = "coterie"
KUBE_VERSION: Final = binaries.KUBERNETES_VERSION

Manifest = dict[str, Any]


class ChartRefusedError(Exception):
    """Helm refuses to render; the message is its own."""


def render(values: Manifest | None = None, *, release: str = RELEASE, namespace: str = NAMESPACE) -> list[Manifest]:
    """Return every object that the chart makes of `values`. Raises ChartRefusedError."""
    command = [str(binaries.locate(binaries.HELM)), "template", release, str(CHART), "--namespace", namespace]
    command += ["--kube-version", KUBE_VERSION, "--values", "-"]
    done = subprocess.run(command, input=json.dumps(values or {}), capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        raise ChartRefusedError(done.stderr)
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    """Return the manifests of some kinds."""
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def to_yaml(manifests: list[Manifest]) -> str:
    """Return one stream of documents, for `kubectl apply -f -`."""
    return yaml.safe_dump_all(manifests)
