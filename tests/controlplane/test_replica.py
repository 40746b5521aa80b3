"""One operator process, as its Deployment sees it: probes, metrics, signals, exit statuses."""

from __future__ import annotations

import os
import subprocess
import urllib.request
from typing import TYPE_CHECKING

import pytest
from tests.cluster import chart
from tests.cluster.controlplane import HOST
from tests.cluster.processes import wait_until
from tests.cluster.replica import COMMAND, Replica

from coterie_operator.cluster import CONFIG_MAP
from coterie_operator.handlers import LEASE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cluster.controlplane import ControlPlane

    from coterie_operator.kube import KubeCluster


@pytest.fixture
def replica(plane: ControlPlane, operator_kubeconfig: Path) -> Iterator[Replica]:
    started = Replica(plane.processes, operator_kubeconfig, name="probed")
    started.start()
    yield started
    if started.is_alive():
        started.end()


def read(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://{HOST}:{port}{path}", timeout=5) as answer:
        return str(answer.read().decode())


def holder(plane: ControlPlane) -> str:
    lease = plane.get("lease", LEASE, "-n", chart.NAMESPACE)
    return str(lease["spec"].get("holderIdentity", ""))


def test_a_replica_answers_its_probes_and_shows_its_metrics(replica: Replica) -> None:
    replica.lead()

    assert read(replica.port, "/healthz") == "ok\n"
    assert read(replica.port, "/readyz") == "leading\n"
    wait_until(lambda: "coterie_leader 1.0" in read(replica.metrics_port, "/metrics"), "the metrics say who leads")


def test_a_signal_ends_a_replica_and_frees_its_lease_at_once(replica: Replica, plane: ControlPlane) -> None:
    replica.lead()
    before = holder(plane)

    assert before.startswith("probed-")
    assert replica.end() == 0
    assert holder(plane) == ""


def test_a_replica_whose_lease_is_taken_ends_and_says_so_by_its_status(replica: Replica, plane: ControlPlane) -> None:
    replica.lead()
    plane.kubectl("patch", "lease", LEASE, "-n", chart.NAMESPACE, "--type=merge", "-p", '{"spec":{"holderIdentity":"thief"}}')
    assert replica.process is not None
    status = replica.process.popen.wait(30)
    replica.process.was_ended = True
    plane.kubectl("patch", "lease", LEASE, "-n", chart.NAMESPACE, "--type=merge", "-p", '{"spec":{"holderIdentity":null}}')

    assert status == 75


@pytest.mark.parametrize(
    ("settings", "status", "told"),
    [({"COTERIE_WORKER": "8"}, 2, "no such setting"), ({"COTERIE_WORKERS": "many"}, 2, "COTERIE_WORKERS=many")],
)
def test_a_replica_does_not_start_with_settings_that_mean_nothing(settings: dict[str, str], status: int, told: str) -> None:
    done = subprocess.run(COMMAND, env={**os.environ, **settings}, capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, told in done.stderr) == (status, True), done.stderr


def test_a_replica_without_rights_ends_and_says_what_is_missing(plane: ControlPlane) -> None:
    kubeconfig = plane.kubeconfig_of("default", "default")
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    done = subprocess.run(COMMAND, env=environment, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 1
    assert "are the chart's definitions and roles installed?" in done.stderr


async def test_a_list_longer_than_a_page_is_read_whole(admin: KubeCluster) -> None:
    names = {f"many-{number}" for number in range(530)}
    for name in names:
        await admin.create(CONFIG_MAP, {"metadata": {"name": name, "namespace": "default", "labels": {"test": "many"}}})
    found = {each["metadata"]["name"] for each in await admin.list(CONFIG_MAP, "default", {"test": "many"})}
    for name in names:
        await admin.delete(CONFIG_MAP, "default", name)

    assert found == names
