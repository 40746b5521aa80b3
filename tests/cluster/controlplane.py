"""A real control plane on loopback: etcd, kube-apiserver and kube-controller-manager, ready in a few seconds.

    python -m tests.cluster.controlplane up     keeps one running until Ctrl-C and prints its kubeconfig

With `USE_EXISTING_CLUSTER=true` the tests use the cluster of the current kubeconfig instead.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.cluster import binaries, certificates
from tests.cluster.administrator import Administrator, write_kubeconfig
from tests.cluster.configuration import audit_policy
from tests.cluster.processes import DiedError, Process, Processes, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HOST: Final = "127.0.0.1"
SERVICE_RANGE: Final = "10.250.0.0/24"
AUDIT_LOG: Final = "audit.log"
ISSUER: Final = "https://kubernetes.default.svc"
_STARTS: Final = 3  # a free port may be taken between choosing and binding it


@dataclass(frozen=True, slots=True)
class ControlPlane(Administrator):
    """A control plane to test against, with the programs that make it."""

    processes: Processes

    @property
    def audit_log(self) -> Path:
        """Who asked the API server for what; where an existing cluster is used there is none."""
        return self.folder / AUDIT_LOG

    def programs(self) -> Sequence[Process]:
        return self.processes.running


@contextmanager
def control_plane(folder: Path) -> Iterator[ControlPlane]:
    """Start a control plane whose files lie in `folder`, and end it. Raises binaries.BinariesUnavailableError."""
    if os.environ.get("USE_EXISTING_CLUSTER", "").lower() in {"true", "1"}:
        yield _existing(folder)
        return
    plane = _started(folder)
    try:
        yield plane
    finally:
        plane.processes.end()


def _started(folder: Path) -> ControlPlane:
    folder.mkdir(parents=True, exist_ok=True)
    for left in reversed(range(_STARTS)):
        processes = Processes(folder)
        try:
            return _start(folder, processes)
        except DiedError as error:
            processes.end()
            if not left or "address already in use" not in str(error):
                raise
        except BaseException:
            processes.end()
            raise
    raise AssertionError("unreachable")


def _start(folder: Path, processes: Processes) -> ControlPlane:
    """Start the three programs; each waits for the one before by itself, so none is awaited but the last."""
    etcd_port, port = free_ports(2)
    names = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
    files = certificates.issue(folder, names, (HOST, "10.250.0.1"))
    admin, manager = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
    tokens = folder / "tokens.csv"
    tokens.touch(mode=0o600)
    tokens.write_text(f'{admin},admin,admin,"system:masters"\n{manager},system:kube-controller-manager,manager\n')
    server = f"https://{HOST}:{port}"
    kubeconfig, manager_kubeconfig = folder / "admin.kubeconfig", folder / "controller-manager.kubeconfig"
    write_kubeconfig(kubeconfig, server, files.authority, admin)
    write_kubeconfig(manager_kubeconfig, server, files.authority, manager)
    etcd = _start_etcd(folder, processes, etcd_port)
    apiserver = processes.start("kube-apiserver", _apiserver(files, tokens, _audit_policy(folder), etcd_port, port))
    wait_until(lambda: _is_ready(server, files.authority, admin), "kube-apiserver is ready", watched=(etcd, apiserver))
    processes.start("kube-controller-manager", _controller_manager(files, manager_kubeconfig))
    plane = ControlPlane(folder, server, files.authority, kubeconfig, processes)
    wait_until(
        lambda: plane.try_kubectl("get", "serviceaccount", "default").returncode == 0, "the controllers run", watched=processes.running
    )
    return plane


def _start_etcd(folder: Path, processes: Processes, port: int) -> Process:
    url = f"http://{HOST}:{port}"
    flags = [f"--listen-client-urls={url}", f"--advertise-client-urls={url}", f"--listen-peer-urls=http://{HOST}:0"]
    # Nothing outlives a test, so nothing must reach the disk.
    flags += [f"--data-dir={folder / 'etcd'}", "--unsafe-no-fsync", "--log-level=error"]
    return processes.start("etcd", [binaries.locate(binaries.ETCD), *flags])


def _apiserver(files: certificates.Credentials, tokens: Path, policy: Path, etcd_port: int, port: int) -> list[str | Path]:
    return [
        binaries.locate(binaries.KUBE_APISERVER),
        f"--etcd-servers=http://{HOST}:{etcd_port}",
        f"--bind-address={HOST}",
        f"--advertise-address={HOST}",
        f"--secure-port={port}",
        "--endpoint-reconciler-type=none",  # loopback is no valid endpoint, and nothing needs the `kubernetes` Service
        f"--tls-cert-file={files.certificate}",
        f"--tls-private-key-file={files.key}",
        f"--token-auth-file={tokens}",
        "--authorization-mode=Node,RBAC",
        f"--service-account-issuer={ISSUER}",
        f"--service-account-key-file={files.service_account_public_key}",
        f"--service-account-signing-key-file={files.service_account_key}",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        f"--audit-policy-file={policy}",
        f"--audit-log-path={policy.with_name(AUDIT_LOG)}",
        "--audit-log-maxsize=2000",  # MiB: it is counted, so it must not be rotated in between
    ]


def _audit_policy(folder: Path) -> Path:
    policy = folder / "audit.yaml"
    policy.write_text(json.dumps(audit_policy()))  # JSON is YAML
    return policy


def _controller_manager(files: certificates.Credentials, kubeconfig: Path) -> list[str | Path]:
    return [
        binaries.locate(binaries.KUBE_CONTROLLER_MANAGER),
        f"--kubeconfig={kubeconfig}",
        f"--root-ca-file={files.authority}",
        f"--service-account-private-key-file={files.service_account_key}",
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        "--secure-port=0",
        # No node exists, so whatever judges pods by their nodes would only take them away.
        "--controllers=*,-node-lifecycle-controller,-node-ipam-controller,-pod-garbage-collector-controller",
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
    ]


def _is_ready(server: str, authority: Path, token: str) -> bool:
    request = urllib.request.Request(f"{server}/readyz", headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=2, context=ssl.create_default_context(cafile=authority)) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on now."""
    sockets = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _existing(folder: Path) -> ControlPlane:
    folder.mkdir(parents=True, exist_ok=True)
    command = [str(binaries.locate(binaries.KUBECTL)), "config", "view", "--raw", "--minify", "--flatten"]
    shown = subprocess.run([*command, "-o", "json"], capture_output=True, text=True, check=True).stdout
    cluster = json.loads(shown)["clusters"][0]["cluster"]
    kubeconfig, authority = folder / "admin.kubeconfig", folder / "ca.crt"
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_text(shown)
    authority.write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
    return ControlPlane(folder, cluster["server"], authority, kubeconfig, Processes(folder))


def main() -> None:
    """Keep a control plane running until a signal ends it."""
    if sys.argv[1:] != ["up"]:
        raise SystemExit("usage: python -m tests.cluster.controlplane up")
    with tempfile.TemporaryDirectory(prefix="coterie-cluster-") as folder, control_plane(Path(folder)) as plane:
        print(f"export KUBECONFIG={plane.kubeconfig}", flush=True)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    main()
