"""The release `coterie`, as an administrator handles it with Helm."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from tests.cluster import chart
from tests.cluster.processes import wait_until
from tests.controlplane.scenario import VALUES

if TYPE_CHECKING:
    from tests.e2e.site import Site

Manifest = dict[str, Any]

OPERATORS: Final = "app.kubernetes.io/name=coterie,app.kubernetes.io/component=operator"
# Small waits: a test's rounds take seconds, where a hospital's take minutes.
QUICK: Final = {"probeSeconds": 1, "settleSeconds": 10, "clientBackoffSeconds": 2, "assemblyRetrySeconds": 5, "retryMaxSeconds": 5}
SMALL: Final = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}}


def values(site: Site) -> Manifest:
    """Return the values of the suite's release."""
    repository, _, tag = site.image.rpartition(":")
    return {
        **VALUES,
        "resources": SMALL,
        "settings": QUICK,
        "workerImage": {"repository": repository, "tag": tag},
    }


def install(site: Site, binary: str = "helm") -> None:
    """Install the chart and wait until it is ready."""
    arguments = [
        "install",
        chart.RELEASE,
        str(chart.CHART),
        "--namespace",
        chart.NAMESPACE,
        "--create-namespace",
        "--values",
        "-",
        "--wait",
        "--timeout",
        "180s",
    ]
    site.cluster.helm(*arguments, stdin=json.dumps(values(site)), binary=binary)


def upgrade(site: Site, **changed: Any) -> None:
    """Change some values of the release and wait until every replica is a new one."""
    arguments = ["upgrade", chart.RELEASE, str(chart.CHART), "--namespace", chart.NAMESPACE, "--values", "-", "--wait", "--timeout", "180s"]
    site.cluster.helm(*arguments, stdin=json.dumps(values(site) | changed))


def operators(site: Site) -> list[str]:
    """Return the names of the operator's pods that aren't going."""
    found = site.cluster.get("pods", "-n", chart.NAMESPACE, "-l", OPERATORS)["items"]
    return [each["metadata"]["name"] for each in found if "deletionTimestamp" not in each["metadata"]]


def readiness(site: Site, pod: str) -> str:
    """Return what a replica says of itself: `leading` or `standing by`; empty while it has no address or doesn't answer."""
    path = f"/api/v1/namespaces/{chart.NAMESPACE}/pods/{pod}:8080/proxy/readyz"
    return site.cluster.try_kubectl("get", "--raw", path).stdout.strip()


def leads(site: Site) -> None:
    """Wait until one replica leads."""

    def one_leads() -> bool:
        return any(readiness(site, pod) == "leading" for pod in operators(site))

    wait_until(one_leads, "one replica leads", every_seconds=1)
