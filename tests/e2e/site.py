"""The real node with the example's tenants and images on it."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.cluster.active import Active
from tests.cluster.cluster import Cluster, ClusterInUseError
from tests.cluster.processes import wait_until
from tests.controlplane.scenario import DIGITS, JOBS
from tests.e2e import task_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FOLDER: Final = Path("/var/lib/coterie-e2e")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextmanager
def alone(folder: Path = FOLDER) -> Iterator[None]:
    """Be the one run that uses the cluster of `folder`, without what a run that was killed has left of it.

    Raises:
        ClusterInUseError: another run is at it.
    """
    with folder.with_suffix(".lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the kernel drops it when this process dies
        except BlockingIOError:
            raise ClusterInUseError(f"another run of these tests uses the cluster of {folder}; wait for its end") from None
        left = Active.read()
        if left is not None and left.place.folder == folder:
            Cluster.down(folder)
        yield


@dataclass(frozen=True, slots=True)
class Site:
    """A cluster of one node, the image that holds the example's task, and where the tenants' data lies on the node."""

    cluster: Cluster
    image: str
    volumes: Path

    @classmethod
    @contextmanager
    def up(cls) -> Iterator[Site]:
        """Use the cluster that `make cluster` keeps running, else one that ends with the block.

        Raises one of `tests.cluster.__main__.REFUSALS` where no cluster can be had.
        """
        standing = Active.read()
        cluster = Cluster.up(standing.place.folder if standing else FOLDER, say=_say)
        try:
            cluster.load_images(task_image.archives())
            if not (DIGITS / "volumes").is_dir():
                subprocess.run([sys.executable, "prepare.py"], cwd=DIGITS, check=True)
            yield cls(cluster, task_image.NAME, cluster.folder / "tenants")
        finally:
            if not standing:
                Cluster.down(FOLDER)

    def apply(self, *manifests: dict[str, Any]) -> None:
        """Create or change objects, as `kubectl apply` does."""
        self.cluster.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)}))

    def runs_to_its_end(self, pod: dict[str, Any]) -> str:
        """Run a pod of the jobs' namespace to its end, return what it printed, and remove it."""
        name = pod["metadata"]["name"]
        self.apply(pod)
        path = "{.status.phase}"
        self.waits(lambda: self.cluster.kubectl("get", "pod", name, "-n", JOBS, "-o", f"jsonpath={path}") in {"Succeeded", "Failed"}, name)
        said = self.cluster.kubectl("logs", name, "-n", JOBS)
        assert self.cluster.get("pod", name, "-n", JOBS)["status"]["phase"] == "Succeeded", said
        self.cluster.kubectl("delete", "pod", name, "-n", JOBS, "--wait=false")
        return said

    def waits(self, holds: Callable[[], object], what: str, timeout_seconds: float = 180) -> None:
        """Wait for something on the cluster; each look is a program that starts, so not too often."""
        wait_until(holds, what, timeout_seconds, every_seconds=1)

    def pod(self, job: str, role: str, namespace: str = JOBS) -> dict[str, Any] | None:
        """Return a job's newest pod of a role in a namespace, None if there is none that isn't going."""
        labels = f"coterie.dev/job-name={job},coterie.dev/role={role}"
        pods = self.cluster.get("pods", "-n", namespace, "-l", labels)["items"]
        there = [each for each in pods if "deletionTimestamp" not in each["metadata"]]
        return max(there, key=lambda each: each["metadata"]["creationTimestamp"], default=None)

    def owner_says(self, tenant: str, **spec: Any) -> None:
        """Change the tenant's data set as its owner; None takes a field back."""
        self.cluster.kubectl("patch", "fds", "digits", "-n", tenant, "--type=merge", "-p", json.dumps({"spec": spec}))

    def quota(self, tenant: str, **hard: str) -> None:
        """Change the tenant's quota as an administrator."""
        self.cluster.kubectl("patch", "quota", "small", "-n", tenant, "--type=merge", "-p", json.dumps({"spec": {"hard": hard}}))
