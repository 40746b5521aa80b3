"""The place in which the suite runs: namespaces as careful administrators make them, and volumes with the tenants' data."""

from __future__ import annotations

import copy
import shutil
from typing import TYPE_CHECKING, Any, Final

from tests.cluster import chart
from tests.controlplane import scenario
from tests.controlplane.scenario import DIGITS, JOBS, TENANTS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.site import Site

Manifest = dict[str, Any]

NAMESPACES: Final = (JOBS, *TENANTS)
QUOTA: Final = {"requests.cpu": "4", "limits.cpu": "16", "requests.memory": "8Gi", "limits.memory": "16Gi", "pods": "6"}
# Five clients, an aggregator, an evaluator and the cluster itself share the two cores of a small node.
SMALL: Final = {"resources": {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"cpu": "2", "memory": "2Gi"}}}
PLACES: Final = dict.fromkeys(TENANTS, "digits") | {JOBS: "digits-test"}  # namespace → claim with its data


def namespaces() -> list[Manifest]:
    """Return namespaces that admit restricted pods only, hold a quota, and let no traffic pass that no other policy allows."""
    made: list[Manifest] = []
    for name in NAMESPACES:
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        made += [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}},
            {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small", "namespace": name}, "spec": {"hard": QUOTA}},
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "NetworkPolicy",
                "metadata": {"name": "nothing-passes", "namespace": name},
                "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
            },
        ]
    return made


def fill(volumes: Path) -> list[Manifest]:
    """Lay the tenants' data out below `volumes`, a folder of the node, and return the volumes that bind their claims to it."""
    shutil.copytree(DIGITS / "volumes", volumes, dirs_exist_ok=True)
    for path in (volumes, *volumes.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)  # the pods' user is nobody that this machine knows
    return [_volume(namespace, claim, volumes / namespace / claim) for namespace, claim in PLACES.items()]


def _volume(namespace: str, claim: str, path: Path) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"{namespace}-{claim}"},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "",
            "claimRef": {"namespace": namespace, "name": claim},
            "hostPath": {"path": str(path), "type": "Directory"},
        },
    }


def of_tenants() -> list[Manifest]:
    """Return the example's data sets and claims; the claims with data bind to the volumes of `fill`."""
    manifests = [each for each in copy.deepcopy(scenario.without_the_job()) if each["kind"] != "Namespace"]
    for each in manifests:
        metadata = each["metadata"]
        if each["kind"] == "PersistentVolumeClaim" and PLACES.get(metadata["namespace"]) == metadata["name"]:
            each["spec"]["storageClassName"] = ""
    return manifests


def same_data(site: Site, namespace: str, claim: str) -> list[Manifest]:
    """Return another claim of a namespace, and a volume for it that holds the same data as the namespace's own."""
    volume = _volume(namespace, claim, site.volumes / namespace / PLACES[namespace])
    spec = {"storageClassName": "", "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "100Mi"}}}
    metadata = {"name": claim, "namespace": namespace}
    return [volume, {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}]


def digits(name: str, image: str, **spec: Any) -> Manifest:
    """Return the example's job under a name, in a size for a small node."""
    return scenario.digits_job(name, **{"clients": {"image": image, **SMALL}, "evaluator": SMALL, "aggregator": SMALL, **spec})


def make_namespaces(site: Site) -> None:
    """Make the namespaces and the volumes with data: what an administrator has before Coterie comes."""
    site.cluster.kubectl("apply", "--server-side", "-f", "-", stdin=chart.to_yaml([*namespaces(), *fill(site.volumes)]))


def enroll(site: Site) -> None:
    """Do what each tenant does: claims, a data set with its grant, and a key pair."""
    site.cluster.kubectl("apply", "--server-side", "-f", "-", stdin=chart.to_yaml(of_tenants()))
    for tenant in TENANTS:
        scenario.enroll(site.cluster, tenant)


def reader(name: str, image: str, program: str) -> Manifest:
    """Return a pod that runs a Python program with the output claim mounted at /models."""
    container = {
        "name": "read",
        "image": image,
        "command": ["python", "-c", program],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True},
        "volumeMounts": [{"name": "models", "mountPath": "/models", "readOnly": True}],
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}},
    }
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": "models", "persistentVolumeClaim": {"claimName": "models"}}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": JOBS}, "spec": spec}
