"""The single-node cluster's programs in the order of starting, and what makes the API server know them."""

from __future__ import annotations

import json
import secrets
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.cluster import binaries, certificates, configuration, layout
from tests.cluster.administrator import write_kubeconfig
from tests.cluster.controlplane import ISSUER
from tests.cluster.daemons import Daemon
from tests.cluster.layout import Layout

CONTAINERD: Final = "containerd"
KUBELET: Final = "kubelet"
_CHECKOUT: Final = Path(__file__).parents[2]
# Who asks the API server: component → user and groups.
_USERS: Final = {
    "admin": ("admin", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "kube-proxy": ("system:kube-proxy", ""),
    "kubelet": (f"system:node:{layout.NODE}", "system:nodes"),
    "coredns": ("system:coredns", ""),
    "volumes": ("tests:volumes", ""),
}
_NAMES: Final = (
    "localhost",
    layout.NODE,
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)


@dataclass(frozen=True, slots=True)
class Components:
    """One cluster's programs."""

    place: Layout
    credentials: certificates.Credentials

    @classmethod
    def prepare(cls, place: Layout) -> Components:
        """Write credentials unless they are there, and every configuration file."""
        folder = place.credentials
        if not place.kubeconfig.exists():
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            issued = certificates.issue(folder, _NAMES, (layout.ADDRESS, layout.API_SERVICE, "127.0.0.1"))
            shutil.copyfile(issued.authority, place.authority)  # the administrator may read no other credentials
            _write_users(place)
        found = certificates.Credentials.within(folder)
        for path, text in configuration.files(place, found.authority, found.certificate, found.key).items():
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists() or path.read_text() != text:  # kube-proxy ends when its file is written
                path.write_text(text)
        return cls(place, found)

    def first(self) -> list[Daemon]:
        """Return what waits for nothing."""
        return [self._etcd(), self._apiserver(), self.containerd()]

    def second(self) -> list[Daemon]:
        """Return what needs images, and an API server that knows its rights: the controller manager gives up after a few seconds."""
        return [self._controller_manager(), self._scheduler(), self._kubelet(), self._kube_proxy(), self._coredns(), self._volumes()]

    def containerd(self) -> Daemon:
        program = binaries.locate(binaries.CONTAINERD)
        shim = binaries.locate(binaries.CONTAINERD_SHIM)  # containerd looks for its shim, and the shim for runc, in PATH
        path = f"{shim.parent}:{layout.PROGRAMS_PATH}"
        return Daemon(CONTAINERD, (str(program), "--config", f"{self.place.configuration}/containerd.toml"), {"PATH": path})

    def _etcd(self) -> Daemon:
        flags = [f"--listen-client-urls={layout.ETCD}", f"--advertise-client-urls={layout.ETCD}"]
        flags += [f"--listen-peer-urls=http://{layout.LOOPBACK}:0", f"--data-dir={self.place.folder / 'etcd'}"]
        return _daemon("etcd", binaries.ETCD, *flags, "--unsafe-no-fsync", "--log-level=error")

    def _apiserver(self) -> Daemon:
        files, folder = self.credentials, self.place.configuration
        return _daemon(
            "kube-apiserver",
            binaries.KUBE_APISERVER,
            f"--etcd-servers={layout.ETCD}",
            f"--bind-address={layout.ADDRESS}",
            f"--advertise-address={layout.ADDRESS}",
            "--secure-port=6443",
            f"--tls-cert-file={files.certificate}",
            f"--tls-private-key-file={files.key}",
            f"--token-auth-file={self.place.credentials / 'tokens.csv'}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            f"--service-account-issuer={ISSUER}",
            f"--service-account-key-file={files.service_account_public_key}",
            f"--service-account-signing-key-file={files.service_account_key}",
            f"--service-cluster-ip-range={layout.SERVICE_RANGE}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--kubelet-certificate-authority={files.authority}",
            f"--kubelet-client-certificate={files.certificate}",
            f"--kubelet-client-key={files.key}",
            f"--audit-policy-file={folder / 'audit.yaml'}",
            f"--audit-log-path={self.place.audit_log}",
            "--audit-log-maxsize=2000",  # MiB: it is counted, so it must not be rotated in between
        )

    def _controller_manager(self) -> Daemon:
        return _daemon(
            "kube-controller-manager",
            binaries.KUBE_CONTROLLER_MANAGER,
            f"--kubeconfig={self.place.kubeconfig_of('controller-manager')}",
            f"--root-ca-file={self.credentials.authority}",
            f"--service-account-private-key-file={self.credentials.service_account_key}",
            "--use-service-account-credentials=true",
            "--leader-elect=false",
            "--secure-port=0",
        )

    def _scheduler(self) -> Daemon:
        kubeconfig = self.place.kubeconfig_of("scheduler")
        return _daemon("kube-scheduler", binaries.KUBE_SCHEDULER, f"--kubeconfig={kubeconfig}", "--leader-elect=false", "--secure-port=0")

    def _kubelet(self) -> Daemon:
        return _daemon(
            KUBELET,
            binaries.KUBELET,
            f"--config={self.place.configuration / 'kubelet.yaml'}",
            f"--kubeconfig={self.place.kubeconfig_of('kubelet')}",
            f"--root-dir={self.place.kubelet}",
            f"--cert-dir={self.place.kubelet / 'pki'}",
            f"--hostname-override={layout.NODE}",
            f"--node-ip={layout.ADDRESS}",
        )

    def _kube_proxy(self) -> Daemon:
        return _daemon("kube-proxy", binaries.KUBE_PROXY, f"--config={self.place.configuration / 'kube-proxy.yaml'}")

    def _coredns(self) -> Daemon:
        return _daemon("coredns", binaries.COREDNS, "-conf", str(self.place.configuration / "Corefile"))

    def _volumes(self) -> Daemon:
        arguments = ("-m", "tests.cluster.volumes", str(self.place.kubeconfig_of("volumes")), str(self.place.volumes))
        return Daemon("volumes", (sys.executable, *arguments), {"PYTHONPATH": str(_CHECKOUT)})


def _daemon(name: str, program: binaries.Program, *flags: str) -> Daemon:
    return Daemon(name, (str(binaries.locate(program)), *flags), {"PATH": layout.PROGRAMS_PATH})


def _write_users(place: Layout) -> None:
    """Write a token for each user, and its kubeconfig; the administrator's last, which says that all are there."""
    tokens = {component: secrets.token_urlsafe(24) for component in _USERS}
    path = place.credentials / "tokens.csv"
    path.touch(mode=0o600)
    path.write_text("".join(f'{tokens[one]},{user},{one},"{groups}"\n' for one, (user, groups) in _USERS.items()))
    for component, token in reversed(tokens.items()):
        kubeconfig = place.kubeconfig if component == "admin" else place.kubeconfig_of(component)
        write_kubeconfig(kubeconfig, layout.SERVER, place.authority, token)


def objects() -> list[dict[str, Any]]:
    """Return what every cluster has: the name server's Service, the default storage class, and their programs' rights."""
    dns = {"name": "kube-dns", "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}}
    ports = [{"name": name, "port": 53, "protocol": protocol} for name, protocol in (("dns", "UDP"), ("dns-tcp", "TCP"))]
    ends = [{"addresses": [layout.ADDRESS], "conditions": {"ready": True}}]
    slice_of = {"name": "kube-dns", "namespace": "kube-system", "labels": {"kubernetes.io/service-name": "kube-dns"}}
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": dns, "spec": {"clusterIP": layout.DNS_SERVICE, "ports": ports}},
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": slice_of,
            "addressType": "IPv4",
            "endpoints": ends,
            "ports": ports,
        },
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": layout.STORAGE_CLASS, "annotations": default},
            "provisioner": layout.PROVISIONER,
            "volumeBindingMode": "WaitForFirstConsumer",
            "reclaimPolicy": "Delete",
        },
        *_rights("system:coredns", [_rule("", "endpoints services pods namespaces"), _rule("discovery.k8s.io", "endpointslices")]),
        *_rights("tests:volumes", [_rule("", "persistentvolumeclaims"), _rule("", "persistentvolumes", "create", "delete")]),
    ]


def _rule(group: str, resources: str, *verbs: str) -> dict[str, Any]:
    return {"apiGroups": [group], "resources": resources.split(), "verbs": ["get", "list", "watch", *verbs]}


def _rights(user: str, rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    group = "rbac.authorization.k8s.io"
    role = {"apiGroup": group, "kind": "ClusterRole", "name": user}
    return [
        {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": {"name": user}, "rules": rules},
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": user},
            "roleRef": role,
            "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
        },
    ]


def objects_as_text() -> str:
    """Return the objects for `kubectl apply -f -`."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": objects()})
