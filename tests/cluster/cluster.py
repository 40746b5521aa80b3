"""A real single-node Kubernetes cluster on this machine, as root: control plane, node, names, storage.

cluster = Cluster.up()          # again: starts what has ended; nothing if all runs
cluster.kubectl("get", "nodes")
Cluster.down()
"""

from __future__ import annotations

import json
import os
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.cluster import archives, binaries, layout, leftovers, needs, network
from tests.cluster.active import Active, locked
from tests.cluster.administrator import Administrator
from tests.cluster.components import CONTAINERD, KUBELET, Components, objects_as_text
from tests.cluster.daemons import Daemons, boot_id
from tests.cluster.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_NAMESPACE: Final = "k8s.io"  # where the container runtime interface looks for images
_HELMS: Final = {"helm": binaries.HELM, "helm3": binaries.HELM3}
_IMPORT_SECONDS: Final = 900


class ClusterInUseError(Exception):
    """The machine's one cluster is another one; the message says which."""


@dataclass(frozen=True, slots=True)
class Cluster(Administrator):
    """The machine's cluster, and how to break its node."""

    place: Layout
    daemons: Daemons

    @classmethod
    def at(cls, place: Layout) -> Cluster:
        """Return the cluster of a folder, whether it runs or not."""
        return cls(place.folder, layout.SERVER, place.authority, place.kubeconfig, place, Daemons(place.records, place.logs))

    @classmethod
    def up(
        cls,
        folder: Path | None = None,
        images: Mapping[str, Path] | None = None,
        *,
        fresh: bool = False,
        say: Callable[[str], None] = print,
    ) -> Cluster:
        """Make the machine's cluster run, with all that `images` maps from a reference to an OCI archive.

        What runs stays; what has ended is started again with its data. `fresh` begins with an empty cluster.

        Raises:
            NeedsError: the machine can't run a node; says what is missing.
            ClusterInUseError: the machine runs a cluster of another folder.
            BinariesUnavailableError: a program can't be built.
            FolderTooLongError: the folder's path leaves no room for sockets.
        """
        needs.check(needs.Machine.this())
        place = Layout.default() if folder is None else Layout.within(folder)
        for program in (*binaries.CLUSTER_PROGRAMS, *binaries.NODE_PROGRAMS):
            binaries.locate(program)  # minutes the first time, so before the lock
        with locked():
            _make_room(place, fresh=fresh)
            return cls.at(place)._start(images or {}, say)

    @staticmethod
    def down(folder: Path | None = None) -> bool:
        """End the machine's cluster and remove all that it made; return whether there was one.

        Raises:
            NeedsError: this isn't root.
            ClusterInUseError: `folder` is given, and the machine's cluster is another folder's.
        """
        needs.check(needs.Machine.this())
        with locked():
            active = Active.read()
            place = active.place if active else Layout(folder.resolve()) if folder else Layout.default()
            if folder and place.folder != folder.resolve():
                raise ClusterInUseError(f"the machine's cluster is that of {place.folder}, not of {folder}")
            if active is None and not place.folder.exists():
                return False
            _take_down(place, active)
            return True

    def runs(self) -> bool:
        """Whether any of its programs runs."""
        return any(self.daemons.is_alive(name) for name in self.daemons.names())

    @property
    def audit_log(self) -> Path:
        """Each request to the API server once, as JSON lines."""
        return self.place.audit_log

    @property
    def logs(self) -> Path:
        """The folder with the programs' logs."""
        return self.place.logs

    @property
    def containerd_pid(self) -> int:
        return self.daemons.identity(CONTAINERD).pid

    def helm(self, *arguments: str, stdin: str | None = None, binary: str = "helm") -> str:
        """Run Helm, or `helm3`, and return what it prints. Raises AssertionError with what Helm says."""
        done = self.try_helm(*arguments, stdin=stdin, binary=binary)
        if done.returncode != 0:
            raise AssertionError(f"{binary} {' '.join(arguments)}: {done.stderr}{done.stdout}")
        return done.stdout

    def try_helm(self, *arguments: str, stdin: str | None = None, binary: str = "helm") -> subprocess.CompletedProcess[str]:
        """Run Helm, or `helm3`, and return how it ended."""
        command = [str(binaries.locate(_HELMS[binary])), "--kubeconfig", str(self.kubeconfig), *arguments]
        home = {f"HELM_{name}_HOME": str(self.folder / binary / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
        environment = os.environ | home
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=600, env=environment)

    def kill_containerd(self) -> None:
        """End containerd as a crash would. Containers run on; nothing starts or ends until `start_containerd`."""
        self.daemons.kill(CONTAINERD)

    def start_containerd(self) -> None:
        """Start containerd again after `kill_containerd`, and wait until it answers."""
        self.daemons.restart(CONTAINERD)
        self._wait_for_containerd()

    def kill_kubelet(self) -> None:
        """End the kubelet as a crash would."""
        self.daemons.kill(KUBELET)

    def restart_kubelet(self) -> None:
        """Start the kubelet again, ending it first if it runs, and wait until it knows its pods."""
        if self.daemons.is_alive(KUBELET):
            self.kill_kubelet()
        self.daemons.restart(KUBELET)
        self._wait_for_kubelet()

    def load_images(self, images: Mapping[str, Path]) -> list[str]:
        """Give the node what `images` maps from a tag to an OCI archive, also by its digest; return the tags that it had not."""
        there = self._images()
        new = {reference: archive for reference, archive in images.items() if there.get(reference) != archives.digest(archive)}
        for reference, archive in new.items():
            repository = reference.rpartition(":")[0]
            self.ctr("images", "import", "--local", "--digests", "--base-name", repository, str(archive))
            self.ctr("images", "tag", "--force", f"{repository}@{archives.digest(archive)}", reference)
        return list(new)

    def ctr(self, *arguments: str) -> str:
        """Run containerd's own command line and return what it prints. Raises OSError with what it says."""
        command = [
            str(binaries.locate(binaries.CTR)),
            "--address",
            str(self.place.containerd_socket),
            "--namespace",
            _NAMESPACE,
            *arguments,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_IMPORT_SECONDS)
        if done.returncode != 0:
            raise OSError(f"ctr {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def _images(self) -> dict[str, str]:
        lines = self.ctr("images", "list").splitlines()[1:]
        return {fields[0]: fields[2] for line in lines if len(fields := line.split()) > 2}

    def _start(self, images: Mapping[str, Path], say: Callable[[str], None]) -> Cluster:
        network.up()
        _share_mounts(self.folder)
        self.daemons.forget_dead()
        components = Components.prepare(self.place)
        started = [each.name for each in components.first() if self.daemons.ensure(each)]
        self._wait_for_containerd()
        own = self._own_images()
        if loaded := self.load_images({**own, **images}):
            say(f"loaded {', '.join(loaded)}")
        self.daemons.wait(self._is_ready, "kube-apiserver is ready")
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=objects_as_text())
        started += [each.name for each in components.second() if self.daemons.ensure(each)]
        if started:
            say(f"started {', '.join(started)}")
        self._wait_for_kubelet()
        self.daemons.wait(self._node_is_ready, "the node is ready")
        self.daemons.wait(lambda: _answers(10256), "kube-proxy has written its rules")
        self.daemons.wait(lambda: self.try_kubectl("get", "serviceaccount", "default").returncode == 0, "the controllers run")
        return self

    def _own_images(self) -> dict[str, Path]:
        """Write the archives of the pause container and the toolbox, unless they are there."""
        folder = self.folder / "archives"
        folder.mkdir(exist_ok=True)
        own = {layout.PAUSE_IMAGE: ["pause"], layout.TOOLBOX_IMAGE: []}
        paths = {reference: folder / f"{reference.partition('/')[2].replace(':', '-')}.tar" for reference in own}
        for reference, path in paths.items():
            archives.of_program(binaries.locate(binaries.TOOLBOX), own[reference], path)
        return paths

    def _wait_for_containerd(self) -> None:
        def answers() -> bool:
            try:
                return bool(self.ctr("version"))
            except OSError:
                return False

        self.daemons.wait(answers, "containerd answers")

    def _wait_for_kubelet(self) -> None:
        """Wait until the kubelet is healthy and knows its pods, which it learns a moment later."""

        def knows_its_pods() -> bool:
            known = self.try_kubectl("get", "--raw", f"/api/v1/nodes/{layout.NODE}/proxy/pods")
            running = self.get("pods", "-A", "--field-selector", f"spec.nodeName={layout.NODE},status.phase=Running")["items"]
            return known.returncode == 0 and _uids(running) <= _uids(json.loads(known.stdout)["items"] or [])

        self.daemons.wait(lambda: _answers(10248), "the kubelet is healthy")
        self.daemons.wait(knows_its_pods, "the kubelet knows its pods")

    def _is_ready(self) -> bool:
        return self.try_kubectl("get", "--raw", "/readyz").returncode == 0

    def _node_is_ready(self) -> bool:
        path = '{.status.conditions[?(@.type=="Ready")].status}'
        return self.try_kubectl("get", "node", layout.NODE, "-o", f"jsonpath={path}").stdout == "True"


def _uids(pods: list[dict[str, Any]]) -> set[str]:
    return {pod["metadata"]["uid"] for pod in pods}


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{layout.LOOPBACK}:{port}/healthz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _make_room(place: Layout, *, fresh: bool) -> None:
    """Leave the machine with this folder's cluster or none, and write down what it was like before."""
    active = Active.read()
    if active and (fresh or active.place != place or active.boot != boot_id()):
        if active.place != place and Cluster.at(active.place).runs():
            raise ClusterInUseError(f"the machine runs the cluster of {active.folder}; end it first: python -m tests.cluster down")
        _take_down(active.place, active)
        active = None
    if active is None:
        if place.folder.exists() and any(place.folder.iterdir()):
            _take_down(place, None)  # of a boot before
        place.folder.mkdir(parents=True, exist_ok=True)
        Active(str(place.folder), boot_id(), network.settings(), leftovers.absent()).write()


def _take_down(place: Layout, active: Active | None) -> None:
    """End all and remove all. What is thrown away needs no goodbye, so every program is killed."""
    daemons = Daemons(place.records, place.logs)
    for name in (KUBELET, CONTAINERD, *daemons.names()):  # first those that would start containers again
        if daemons.is_alive(name):
            daemons.kill(name)
    leftovers.remove(place)
    network.down()
    if active and active.boot == boot_id():
        network.put_back(active.settings)
    for folder in active.absent if active else ():
        leftovers.remove_folder(Path(folder))
    Active.forget()


def _share_mounts(folder: Path) -> None:
    """Make the folder a mount of its own that hands on what is mounted below it, as the kubelet wants of its folder."""
    if leftovers.mounts(folder, Path("/proc/self/mountinfo").read_text()):
        return
    for words in (["--bind", str(folder), str(folder)], ["--make-rprivate", str(folder)], ["--make-rshared", str(folder)]):
        subprocess.run(["mount", *words], check=True)
