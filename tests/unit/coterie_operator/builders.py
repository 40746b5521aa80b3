"""Valid objects, each with one thing changed; and small values for tables."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]

START = datetime(2026, 8, 1, 12, tzinfo=UTC)
IMAGE = "registry.example/train:1"
TENANTS = ("hospital-a", "hospital-b", "hospital-c", "hospital-d", "hospital-e")
JOB_NAMESPACE = "research"
JOB = (JOB_NAMESPACE, "fashion")


def public_key(tenant: str) -> str:
    """Return 32 bytes that differ between tenants, base64."""
    return base64.b64encode(tenant.encode().ljust(32, b"k")[:32]).decode()


def job(tenants: int = 5, **spec: Any) -> Json:
    """Return a FederatedJob over that many tenants."""
    datasets = [{"namespace": name, "name": "visits"} for name in TENANTS[:tenants]]
    base: Json = {
        "rounds": 10,
        "task": {"entrypoint": "examples.task:Task"},
        "privacy": {"mode": "None"},
        "participants": {"datasets": datasets},
        "clients": {"image": IMAGE},
    }
    metadata = {"name": JOB[1], "namespace": JOB[0]}
    return {"apiVersion": "coterie.dev/v1alpha1", "kind": "FederatedJob", "metadata": metadata, "spec": {**base, **spec}}


def dataset(namespace: str, **spec: Any) -> Json:
    """Return a FederatedDataset that grants the job."""
    base: Json = {
        "source": {"persistentVolumeClaim": {"claimName": "visits"}},
        "identity": {"publicKey": public_key(namespace), "secretName": "coterie-identity"},
        "grants": [{"jobs": {"namespaces": [JOB_NAMESPACE]}, "images": [IMAGE]}],
    }
    metadata = {"name": "visits", "namespace": namespace}
    return {"apiVersion": "coterie.dev/v1alpha1", "kind": "FederatedDataset", "metadata": metadata, "spec": {**base, **spec}}
