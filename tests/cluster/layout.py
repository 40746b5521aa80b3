"""Names, addresses and paths of the single-node cluster. One runs on a machine at a time, since they are the machine's."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

NODE: Final = "coterie"
BRIDGE: Final = "coterie0"
ADDRESS: Final = "10.251.0.1"  # of the bridge: the node's own, and the API server's
POD_RANGE: Final = "10.251.0.0/24"
SERVICE_RANGE: Final = "10.250.0.0/24"
API_SERVICE: Final = "10.250.0.1"
DNS_SERVICE: Final = "10.250.0.10"
DOMAIN: Final = "cluster.local"
LOOPBACK: Final = "127.0.251.1"  # what only the machine itself asks for: etcd and health
SERVER: Final = f"https://{ADDRESS}:6443"
ETCD: Final = f"http://{LOOPBACK}:2379"
PAUSE_IMAGE: Final = "localhost/coterie-pause:1"
TOOLBOX_IMAGE: Final = "localhost/coterie-toolbox:1"
STORAGE_CLASS: Final = "local"
PROVISIONER: Final = "tests.coterie.dev/local"
PROGRAMS_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # not every root's PATH has all of them
CNI_BINARIES: Final = Path("/usr/lib/cni")
ACTIVE: Final = Path("/run/coterie-cluster.json")  # which folder the machine's cluster lies in, and what must be put back
LOCK: Final = Path("/run/coterie-cluster.lock")
_SOCKET_BYTES: Final = 107  # the kernel's limit on a Unix socket's path


class FolderTooLongError(Exception):
    """Sockets below a folder would have longer paths than the kernel takes."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything of one cluster lies; nothing of it is worth keeping once the cluster is down."""

    folder: Path

    @classmethod
    def within(cls, folder: Path) -> Layout:
        """Return the layout below a folder. Raises FolderTooLongError."""
        place = cls(folder.resolve())
        if (excess := len(os.fsencode(place.shims)) + len("/") + 64 - _SOCKET_BYTES) > 0:
            raise FolderTooLongError(f"the cluster's folder {place.folder} has {excess} bytes too many for the sockets below it")
        return place

    @classmethod
    def default(cls) -> Layout:
        """Return `COTERIE_CLUSTER_FOLDER`, or a folder among the machine's variable state."""
        return cls.within(Path(os.environ.get("COTERIE_CLUSTER_FOLDER") or "/var/lib/coterie-cluster"))

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "admin.kubeconfig"

    @property
    def authority(self) -> Path:
        return self.folder / "ca.crt"

    @property
    def configuration(self) -> Path:
        return self.folder / "configuration"

    @property
    def credentials(self) -> Path:
        return self.folder / "credentials"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def audit_log(self) -> Path:
        return self.logs / "audit.log"

    @property
    def records(self) -> Path:
        return self.folder / "records"

    @property
    def containerd(self) -> Path:
        return self.folder / "containerd"

    @property
    def containerd_socket(self) -> Path:
        return self.containerd / "containerd.sock"

    @property
    def shims(self) -> Path:
        return self.folder / "shims"

    @property
    def kubelet(self) -> Path:
        return self.folder / "kubelet"

    @property
    def volumes(self) -> Path:
        return self.folder / "volumes"

    def kubeconfig_of(self, component: str) -> Path:
        """Return where a component's own kubeconfig lies."""
        return self.credentials / f"{component}.kubeconfig"
