"""The chart as Helm renders it, and as an administrator installs it."""

from __future__ import annotations

import functools
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
# What administrators ask of the chart; each set is linted, judged by the API server's schemas, tried on it, and kept as rendered.
VALUE_SETS: Final = ("default", "production", "single-namespace")

Manifest = dict[str, Any]


class ChartRefusedError(Exception):
    """Helm refuses to render; the message is its own."""


def render(
    values: Manifest | None = None,
    *,
    release: str = RELEASE,
    namespace: str = NAMESPACE,
    tests: bool = False,
    helm: binaries.Program = binaries.HELM,
    folder: Path = CHART,
) -> list[Manifest]:
    """Return every object that the chart makes of `values`, those of `helm test` only if asked for. Raises ChartRefusedError."""
    command = [str(binaries.locate(helm)), "template", release, str(folder), "--namespace", namespace]
    command += ["--kube-version", KUBE_VERSION, "--values", "-", *([] if tests else ["--skip-tests"])]
    shown = _shown(tuple(command), json.dumps(values or {}))
    return [manifest for manifest in yaml.load_all(shown, Loader=yaml.CSafeLoader) if manifest]


@functools.cache  # many tests look at the same render
def _shown(command: tuple[str, ...], values: str) -> str:
    done = subprocess.run(command, input=values, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        raise ChartRefusedError(done.stderr)
    return done.stdout


def value_set(name: str) -> Manifest:
    """Return one of VALUE_SETS."""
    found: Manifest = yaml.safe_load((CHART / "ci" / f"{name}-values.yaml").read_text()) or {}
    return found


def render_set(name: str, helm: binaries.Program = binaries.HELM) -> list[Manifest]:
    """Return every object of one of VALUE_SETS, those of `helm test` too."""
    return render(value_set(name), namespace="hospitals" if name == "single-namespace" else NAMESPACE, tests=True, helm=helm)


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    """Return the manifests of some kinds."""
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def to_yaml(manifests: list[Manifest]) -> str:
    """Return one stream of documents, for `kubectl apply -f -`."""
    return yaml.dump_all(manifests, Dumper=yaml.CSafeDumper)
