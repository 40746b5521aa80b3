"""What the node's programs read: one function for each file, from a layout to its text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from tests.cluster import layout

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster.layout import Layout

NETWORK: Final = "coterie"
CGROUP: Final = "kubepods"


def files(place: Layout, authority: Path, certificate: Path, key: Path) -> dict[Path, str]:
    """Return every configuration file's text by its path."""
    folder = place.configuration
    return {
        folder / "audit.yaml": _text(audit_policy()),
        folder / "containerd.toml": containerd(place),
        folder / "cni" / "10-coterie.conflist": _text(cni(place)),
        folder / "kubelet.yaml": _text(kubelet(place, authority, certificate, key)),
        folder / "kube-proxy.yaml": _text(kube_proxy(place)),
        folder / "Corefile": corefile(place),
        folder / "resolv.conf": "",
    }


def _text(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1)  # JSON is YAML, and every one of these programs reads YAML


def audit_policy() -> dict[str, Any]:
    """Return an audit policy that records who asked for what, once each, without contents."""
    rules = [{"level": "Metadata", "omitStages": ["RequestReceived"]}]
    return {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": rules}


def containerd(place: Layout) -> str:
    """Return containerd's configuration: everything below the layout's folder, the container runtime interface alone."""
    home = place.containerd
    return f"""version = 3
root = "{home}/root"
state = "{home}/state"
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.blockfile", \
"io.containerd.snapshotter.v1.erofs", "io.containerd.differ.v1.erofs"]

[grpc]
address = "{place.containerd_socket}"

[plugins.'io.containerd.shim.v1.manager']
socket_dir = "{place.shims}"

[plugins.'io.containerd.cri.v1.images']
snapshotter = "overlayfs"

[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = "{layout.PAUSE_IMAGE}"

[plugins.'io.containerd.cri.v1.runtime']
# Where this runs inside of a container or a sandbox, nobody may raise a priority for the out-of-memory killer.
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true

[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ["{layout.CNI_BINARIES}"]
conf_dir = "{place.configuration}/cni"
use_internal_loopback = true

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
Root = "{home}/runc"
SystemdCgroup = false
"""


def cni(place: Layout) -> dict[str, Any]:
    """Return the pods' network: one bridge, addresses from one range."""
    ranges = [[{"subnet": layout.POD_RANGE, "rangeStart": "10.251.0.10", "rangeEnd": "10.251.0.250", "gateway": layout.ADDRESS}]]
    bridge = {
        "type": "bridge",
        "bridge": layout.BRIDGE,
        "isGateway": True,
        "hairpinMode": True,
        "ipam": {"type": "host-local", "dataDir": str(place.folder / "addresses"), "ranges": ranges, "routes": [{"dst": "0.0.0.0/0"}]},
    }
    return {"cniVersion": "1.0.0", "name": NETWORK, "plugins": [bridge]}


def kubelet(place: Layout, authority: Path, certificate: Path, key: Path) -> dict[str, Any]:
    """Return the kubelet's configuration."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": layout.ADDRESS,
        "healthzBindAddress": layout.LOOPBACK,
        "tlsCertFile": str(certificate),
        "tlsPrivateKeyFile": str(key),
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True}, "x509": {"clientCAFile": str(authority)}},
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{place.containerd_socket}",
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,  # where the kernel has no other
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        "evictionHard": {"memory.available": "200Mi", "nodefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,  # no registry could bring a removed image back
        "clusterDNS": [layout.DNS_SERVICE],
        "clusterDomain": layout.DOMAIN,
        "resolvConf": str(place.configuration / "resolv.conf"),
        "podLogsDir": str(place.logs / "pods"),
        "volumePluginDir": str(place.kubelet / "volume-plugins"),
        "maxPods": 200,
        "registryPullQPS": 0,
    }


def kube_proxy(place: Layout) -> dict[str, Any]:
    """Return kube-proxy's configuration; it leaves the kernel's settings of connection tracking as they are."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "bindAddress": layout.ADDRESS,
        "healthzBindAddress": f"{layout.LOOPBACK}:10256",
        "metricsBindAddress": f"{layout.LOOPBACK}:10249",
        "clientConnection": {"kubeconfig": str(place.kubeconfig_of("kube-proxy"))},
        "hostnameOverride": layout.NODE,
        "clusterCIDR": layout.POD_RANGE,
        "nodePortAddresses": [layout.POD_RANGE],
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "iptables": {"localhostNodePorts": False},
    }


def corefile(place: Layout) -> str:
    """Return CoreDNS's configuration: the cluster's names, and whatever else the machine itself resolves."""
    return f"""{layout.DOMAIN}:53 in-addr.arpa:53 {{
    bind {layout.ADDRESS}
    errors
    kubernetes {layout.DOMAIN} in-addr.arpa {{
        kubeconfig {place.kubeconfig_of("coredns")}
    }}
    cache 5
}}
.:53 {{
    bind {layout.ADDRESS}
    errors
    forward . /etc/resolv.conf
    cache 30
}}
"""
