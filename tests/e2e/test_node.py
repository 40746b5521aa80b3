"""The node itself, before anything of Coterie is on it: what pods need, what survives which fault, and the tool that makes it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from tests.cluster import binaries, layout, leftovers
from tests.cluster.__main__ import REFUSALS
from tests.cluster.active import Active
from tests.cluster.audit import requests
from tests.cluster.cluster import Cluster, ClusterInUseError
from tests.cluster.processes import wait_until
from tests.docs.blocks import REPOSITORY, Kind, blocks, kind_of
from tests.e2e.traces import traces

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER: Final = Path("/var/lib/coterie-e2e")
NAMESPACE: Final = "tried"
RESTRICTED: Final = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
NOBODY: Final = {"runAsNonRoot": True, "runAsUser": 10001, "fsGroup": 10001, "seccompProfile": {"type": "RuntimeDefault"}}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """The suite's cluster, with one restricted namespace and a web server in it."""
    is_ours = os.geteuid() == 0 and Active.read() is None  # else the session's, which goes on with it
    before = traces() if is_ours else {}
    try:
        made = Cluster.up(FOLDER)
        apply(made, *web())
        serves(made)
        yield made
        made.kubectl("delete", "namespace", NAMESPACE)
    except REFUSALS as error:
        if os.environ.get("CI", "").lower() in {"true", "1"}:
            pytest.fail(f"no cluster, and CI must have one: {error}")
        pytest.skip(f"no cluster: {error}")
    finally:
        if is_ours:
            Cluster.down(FOLDER)
            assert traces() == before


def apply(cluster: Cluster, *manifests: dict[str, Any]) -> None:
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)}))


def container(name: str, *words: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "image": layout.TOOLBOX_IMAGE, "args": list(words), "securityContext": RESTRICTED, **more}


def pod_of(*containers: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"automountServiceAccountToken": False, "securityContext": NOBODY, "containers": list(containers), **more}


def web() -> list[dict[str, Any]]:
    labels = {"app": "web"}
    probe = {"httpGet": {"port": 8080}, "periodSeconds": 1}
    template = {"metadata": {"labels": labels}, "spec": pod_of(container("web", "serve", ":8080", "hello", readinessProbe=probe))}
    meta = {"name": "web", "namespace": NAMESPACE}
    to_web = {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]}
    enforced = {"pod-security.kubernetes.io/enforce": "restricted"}
    spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": enforced}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": meta,
            "spec": to_web,
        },
    ]


def keeper() -> list[dict[str, Any]]:
    """A claim, and a batch Job whose first container writes what its second one reads."""
    mount = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    spec = pod_of(
        container("read", "read", "/data/file", **mount),
        initContainers=[container("write", "write", "/data/file", "kept", **mount)],
        volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        restartPolicy="Never",
    )
    wanted = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return [
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": NAMESPACE}, "spec": wanted},
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "keeper", "namespace": NAMESPACE},
            "spec": {"backoffLimit": 0, "template": {"spec": spec}},
        },
    ]


def ask(cluster: Cluster, url: str) -> str:
    """Ask for a page from within a pod."""
    return cluster.kubectl("exec", "-n", NAMESPACE, "deploy/web", "--", "/toolbox", "get", url).strip()


def serves(cluster: Cluster) -> None:
    """Wait until both pods are ready and kube-proxy, which needs a moment more, leads to them."""
    cluster.kubectl("rollout", "status", "deployment/web", "-n", NAMESPACE, "--timeout=120s")
    words = ("exec", "-n", NAMESPACE, "deploy/web", "--", "/toolbox", "get", "http://web")
    wait_until(lambda: cluster.try_kubectl(*words).stdout.strip() == "hello", "the Service leads to its pods", every_seconds=0.5)


def running(cluster: Cluster) -> dict[str, list[str]]:
    """Return the ids of the web server's containers by pod."""
    pods = cluster.get("pods", "-n", NAMESPACE, "-l", "app=web")["items"]
    return {pod["metadata"]["name"]: [each["containerID"] for each in pod["status"]["containerStatuses"]] for pod in pods}


@pytest.mark.parametrize("name", ["web", f"web.{NAMESPACE}", f"web.{NAMESPACE}.svc.{layout.DOMAIN}"])
def test_a_pod_reaches_a_service_by_each_of_its_names(cluster: Cluster, name: str) -> None:
    assert ask(cluster, f"http://{name}") == "hello"


def test_a_name_that_nobody_has_is_refused(cluster: Cluster) -> None:
    asked = cluster.try_kubectl("exec", "-n", NAMESPACE, "deploy/web", "--", "/toolbox", "get", "http://nobody")

    assert asked.returncode != 0
    assert "no such host" in asked.stderr


def test_a_log_is_read_through_the_kubelet(cluster: Cluster) -> None:
    ask(cluster, "http://web/of-a-log")

    assert "GET /of-a-log" in cluster.kubectl("logs", "-n", NAMESPACE, "-l", "app=web", "--tail=-1")


def test_a_pod_that_is_not_restricted_is_refused(cluster: Cluster) -> None:
    asked = cluster.try_kubectl("run", "root", "-n", NAMESPACE, f"--image={layout.TOOLBOX_IMAGE}", "--", "pause")

    assert asked.returncode != 0
    assert "violates PodSecurity" in asked.stderr


def test_a_job_without_rights_keeps_a_file_on_a_claim_and_both_go_with_it(cluster: Cluster) -> None:
    apply(cluster, *keeper())
    cluster.kubectl("wait", "--for=condition=Complete", "job/keeper", "-n", NAMESPACE, "--timeout=60s")
    volume = cluster.place.volumes / cluster.get("pvc", "data", "-n", NAMESPACE)["spec"]["volumeName"]

    assert cluster.kubectl("logs", "job/keeper", "-c", "read", "-n", NAMESPACE).strip() == "kept"
    assert (volume / "file").stat().st_uid == 10001
    assert volume.stat().st_gid == 10001, "as fsGroup says"

    cluster.kubectl("delete", "job/keeper", "pvc/data", "-n", NAMESPACE)
    wait_until(lambda: not volume.exists(), "the volume is removed")
    wait_until(lambda: volume.name not in cluster.kubectl("get", "pv", "-o", "name"), "its object is removed")


def test_a_container_over_its_memory_limit_is_killed(cluster: Cluster) -> None:
    limits = {"resources": {"limits": {"memory": "32Mi"}}}
    spec = pod_of(container("fill", "fill", "200", **limits), restartPolicy="Never")
    apply(cluster, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "greedy", "namespace": NAMESPACE}, "spec": spec})
    cluster.kubectl("wait", "--for=jsonpath={.status.phase}=Failed", "pod/greedy", "-n", NAMESPACE, "--timeout=60s")
    (status,) = cluster.get("pod", "greedy", "-n", NAMESPACE)["status"]["containerStatuses"]

    assert status["state"]["terminated"]["reason"] == "OOMKilled"


def test_pods_outlive_containerd_and_the_kubelet(cluster: Cluster) -> None:
    before, killed = running(cluster), cluster.containerd_pid
    cluster.kill_containerd()
    cluster.start_containerd()
    cluster.restart_kubelet()
    cluster.kubectl("wait", "--for=condition=Ready", f"node/{layout.NODE}", "--timeout=60s")

    assert cluster.containerd_pid != killed
    assert ask(cluster, "http://web") == "hello"
    assert running(cluster) == before


def test_every_write_is_in_the_audit_log(cluster: Cluster) -> None:
    start = cluster.audit_log.stat().st_size
    cluster.kubectl("create", "configmap", "noted", "-n", NAMESPACE)

    def writes() -> list[tuple[str, str, int]]:
        found = [each for each in requests(cluster.audit_log, start) if each.name == "noted" and each.is_write]
        return [(each.user, f"{each.verb} {each.resource}", each.code) for each in found]

    wait_until(writes, "the log is written")
    assert writes() == [("admin", "create configmaps", 201)]


def test_up_again_changes_nothing(cluster: Cluster) -> None:
    before = {name: cluster.daemons.identity(name) for name in cluster.daemons.names()}
    Cluster.up(FOLDER)

    assert {name: cluster.daemons.identity(name) for name in cluster.daemons.names()} == before


@pytest.mark.parametrize("fresh", [False, True])
def test_a_cluster_of_another_folder_is_refused_and_this_one_left_alone(cluster: Cluster, tmp_path: Path, fresh: bool) -> None:
    with pytest.raises(ClusterInUseError, match=str(FOLDER)):
        Cluster.up(Path("/var/lib/coterie-other"), fresh=fresh)
    with pytest.raises(ClusterInUseError, match=str(FOLDER)):
        Cluster.down(tmp_path)

    assert cluster.runs()


def test_what_a_contributor_is_told_works(cluster: Cluster, tmp_path: Path) -> None:
    programs = [binaries.locate(each).parent for each in (binaries.KUBECTL, binaries.HELM)]
    path = os.pathsep.join(map(str, [*programs, Path(sys.executable).parent, os.environ["PATH"]]))
    told = {"KUBECONFIG": str(cluster.kubeconfig), "PATH": path, "COTERIE_CLUSTER_FOLDER": str(FOLDER), "PYTHONPATH": str(REPOSITORY)}
    for block in blocks(REPOSITORY / "docs" / "development.md"):
        run = {Kind.CLUSTER: ["bash", "-euo", "pipefail"], Kind.PYTHON_FILE: [sys.executable]}.get(kind_of(block))
        if run:
            script = tmp_path / "script"
            script.write_text(block.text)
            done = subprocess.run([*run, script], cwd=REPOSITORY, env=os.environ | told, capture_output=True, text=True, check=False)

            assert done.returncode == 0, f"{block.place}: {done.stdout}{done.stderr}"
    cluster.helm("uninstall", "coterie", "--namespace", "coterie-system")


def test_after_a_kill_of_everything_up_brings_pods_back(cluster: Cluster) -> None:
    before = running(cluster)
    doomed = [cluster.daemons.identity(name) for name in cluster.daemons.names()]
    for process in [*doomed, *leftovers.running(cluster.place)]:
        process.signal(signal.SIGKILL)
    wait_until(lambda: not cluster.runs(), "all is dead")

    Cluster.up(FOLDER)
    wait_until(lambda: running(cluster).keys() == before.keys() and running(cluster) != before, "the pods' containers are new ones", 120)
    serves(cluster)
