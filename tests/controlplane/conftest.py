from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.cluster import chart
from tests.cluster.binaries import BinariesUnavailableError
from tests.cluster.controlplane import ControlPlane, control_plane
from tests.cluster.processes import Process, wait_until
from tests.cluster.replica import Replica
from tests.controlplane import scenario

from coterie_operator.kube import KubeCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


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
    scenario.install(empty_plane)
    wait_until(lambda: _policies_hold(empty_plane), "the admission policies hold")
    return empty_plane


def _policies_hold(plane: ControlPlane) -> bool:
    """Policies take effect a moment after they are created: try something that they refuse."""
    account = f"--as=system:serviceaccount:{chart.NAMESPACE}:{chart.SERVICE_ACCOUNT}"
    arguments = ("create", "secret", "generic", "refused", "-n", scenario.JOBS, "--dry-run=server", account)
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


@pytest.fixture(scope="session")
def digits() -> Path:
    """The example's folder, its volumes made."""
    if not (scenario.DIGITS / "volumes").is_dir():
        subprocess.run([sys.executable, "prepare.py"], cwd=scenario.DIGITS, check=True)
    return scenario.DIGITS


@pytest.fixture(scope="session")
def node(plane: ControlPlane, digits: Path) -> Process:
    """Runs every pod of the cluster as processes here."""
    command: list[str | Path] = [sys.executable, "-m", "tests.cluster.process_node", plane.kubeconfig, plane.folder / "node"]
    return plane.processes.start("node", [*command, digits / "volumes", scenario.readers_volumes(plane)])


@pytest.fixture(scope="module")  # other modules make jobs that nobody should act on
def first_replica(plane: ControlPlane, operator_kubeconfig: Path, node: Process) -> Iterator[Replica]:
    replica = Replica(plane.processes, operator_kubeconfig)
    yield replica
    if replica.is_alive():
        assert replica.end() == 0


@pytest.fixture
def operator(first_replica: Replica) -> Replica:
    """The operator as its own process, with its own account, leading; and a node that runs what it starts."""
    if not first_replica.is_alive():  # a test before may have killed it
        first_replica.start()
    first_replica.lead()
    return first_replica


@pytest.fixture
def tenants(plane: ControlPlane) -> None:
    """Five hospitals that have enrolled and granted the use of their digits."""
    plane.kubectl("apply", "-f", "-", stdin=chart.to_yaml(scenario.without_the_job()))
    for tenant in scenario.TENANTS:
        if not plane.get("fds", "digits", "-n", tenant)["spec"].get("identity", {}).get("publicKey"):
            scenario.enroll(plane, tenant)


@pytest.fixture
async def operator_account(operator_kubeconfig: Path) -> AsyncIterator[KubeCluster]:
    """The cluster as the operator sees it."""
    async with await KubeCluster.connect(operator_kubeconfig) as cluster:
        yield cluster
