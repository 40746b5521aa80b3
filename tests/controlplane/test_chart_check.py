"""What the pod of `helm test` does, with its own account's token, against a real API server and a real operator."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import pytest
from tests.cluster import chart
from tests.cluster.controlplane import HOST

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster.controlplane import ControlPlane
    from tests.cluster.replica import Replica

NOBODY: Final = 1  # a port that nothing listens on


@pytest.fixture(scope="module")
def account(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the kubelet mounts into the pod: the token of an account that no role is bound to."""
    folder = tmp_path_factory.mktemp("account")
    (folder / "token").write_text(plane.kubectl("create", "token", "default", "-n", chart.NAMESPACE).strip())
    (folder / "ca.crt").write_bytes(plane.authority.read_bytes())
    return folder


def run(plane: ControlPlane, account: Path, port: int) -> subprocess.CompletedProcess[str]:
    (pod,) = chart.of_kind(chart.render({}, tests=True), "Pod")
    container = pod["spec"]["containers"][0]
    server = urlsplit(plane.server)
    told = {
        "KUBERNETES_SERVICE_HOST": str(server.hostname),
        "KUBERNETES_SERVICE_PORT": str(server.port),
        "COTERIE_TEST_ACCOUNT": str(account),
        "COTERIE_TEST_SERVICE": f"{HOST}:{port}",
        "COTERIE_TEST_SECONDS": "0",
    }
    assert container["command"] == ["python", "-c"]
    command = [sys.executable, *container["command"][1:], *container["args"]]
    return subprocess.run(command, env={**os.environ, **told}, capture_output=True, text=True, check=False, timeout=60)


def test_it_passes_where_the_operator_is_ready(plane: ControlPlane, operator: Replica, account: Path) -> None:
    done = run(plane, account, operator.port)

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines() == ["kinds are served: ok", "definitions are current: ok", "replica is ready: ok"]


def test_it_fails_where_no_operator_is(plane: ControlPlane, account: Path) -> None:
    done = run(plane, account, NOBODY)

    assert done.returncode == 1
    assert "replica is ready: URLError" in done.stdout
    assert "kinds are served: ok" in done.stdout


def test_it_fails_without_a_token_that_the_api_server_knows(plane: ControlPlane, account: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("nobody")
    (tmp_path / "ca.crt").write_bytes((account / "ca.crt").read_bytes())
    done = run(plane, tmp_path, NOBODY)

    assert done.returncode == 1
    assert "kinds are served: HTTPError: HTTP Error 401" in done.stdout
