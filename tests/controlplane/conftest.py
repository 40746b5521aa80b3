from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.cluster import chart
from tests.cluster.binaries import BinariesUnavailableError
from tests.cluster.controlplane import ControlPlane, control_plane
from tests.cluster.processes import wait_until

from coterie_operator.kube import KubeCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

JOB_NAMESPACE = "research"
TENANTS = ("hospital-a", "hospital-b")
VALUES = {"tenants": list(TENANTS), "jobNamespaces": [JOB_NAMESPACE]}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.controlplane)


@pytest.fixture(scope="session")
def empty_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane with nothing in it."""
    try:
        with control_plane(tmp_path_factory.mktemp("cluster")) as plane:
            yield plane
    except BinariesUnavailableError as error:
        if os.environ.get("CI", "").lower() in {"true", "1"}:
            pytest.fail(f"no control plane, and CI must have one: {error}")
        pytest.skip(f"no control plane: {error}")


@pytest.fixture(scope="session")
def plane(empty_plane: ControlPlane) -> ControlPlane:
    """A control plane with the chart installed, but for the operator itself."""
    for name in (chart.NAMESPACE, JOB_NAMESPACE, *TENANTS):
        empty_plane.kubectl("create", "namespace", name)
    manifests = chart.render(VALUES)
    definitions = chart.of_kind(manifests, "CustomResourceDefinition")
    empty_plane.kubectl("apply", "--server-side", "-f", "-", stdin=chart.to_yaml(definitions))
    empty_plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
    others = [manifest for manifest in manifests if manifest["kind"] not in {"CustomResourceDefinition", "Deployment"}]
    empty_plane.kubectl("apply", "--server-side", "-f", "-", stdin=chart.to_yaml(others))
    wait_until(lambda: _policies_hold(empty_plane), "the admission policies hold")
    return empty_plane


def _policies_hold(plane: ControlPlane) -> bool:
    """Policies take effect a moment after they are created: try something that they refuse."""
    account = f"--as=system:serviceaccount:{chart.NAMESPACE}:{chart.SERVICE_ACCOUNT}"
    arguments = ("create", "secret", "generic", "refused", "-n", JOB_NAMESPACE, "--dry-run=server", account)
    return "the operator creates Secrets" in plane.try_kubectl(*arguments).stderr


@pytest.fixture
async def admin(plane: ControlPlane) -> AsyncIterator[KubeCluster]:
    """The cluster as its administrator sees it, through the operator's own adapter."""
    async with await KubeCluster.connect(plane.kubeconfig) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def operator_kubeconfig(plane: ControlPlane) -> Path:
    """A kubeconfig of the operator's own account, with exactly the rights that the chart gives it."""
    return plane.kubeconfig_of(chart.NAMESPACE, chart.SERVICE_ACCOUNT)


@pytest.fixture
async def operator_account(operator_kubeconfig: Path) -> AsyncIterator[KubeCluster]:
    """The cluster as the operator sees it."""
    async with await KubeCluster.connect(operator_kubeconfig) as cluster:
        yield cluster
