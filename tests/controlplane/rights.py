"""The namespaces and objects that the tests of the operator's rights try things on."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coterie_operator.cluster import Object

TENANT, JOBS, OWN = "hospital-a", "research", "coterie-system"
POD_PATH = "spec.template.spec"
JOB: Object = {
    "metadata": {"name": "rights", "namespace": JOBS},
    "spec": {
        "rounds": 1,
        "task": {"entrypoint": "a:B"},
        "participants": {"datasets": [{"namespace": TENANT, "name": "visits"}, {"namespace": "hospital-b", "name": "visits"}]},
        "privacy": {"mode": "None"},
    },
}
CERTIFICATE: Object = {
    "metadata": {
        "name": "certificate",
        "namespace": JOBS,
        "ownerReferences": [{"apiVersion": "coterie.dev/v1alpha1", "kind": "FederatedJob", "name": "rights", "uid": "0-0"}],
    },
    "type": "coterie.dev/tls",
    "immutable": True,
    "data": {},
}
SECURE: Object = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
BATCH: Object = {
    "metadata": {
        "name": "client",
        "namespace": TENANT,
        "labels": {
            "app.kubernetes.io/managed-by": "coterie",
            "coterie.dev/dataset": "visits",
            "coterie.dev/job-namespace": JOBS,
            "coterie.dev/job-uid": "0-0",
        },
        "ownerReferences": [{"apiVersion": "coterie.dev/v1alpha1", "kind": "FederatedDataset", "name": "visits", "uid": "0-0"}],
    },
    "spec": {
        "suspend": True,
        "template": {
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": False,
                "volumes": [
                    {"name": "data", "persistentVolumeClaim": {"claimName": "visits", "readOnly": True}},
                    {
                        "name": "identity",
                        "secret": {"secretName": "coterie-identity", "items": [{"key": "private.pem", "path": "private.pem"}]},
                    },
                ],
                "containers": [{"name": "client", "image": "registry.example/train:1", "securityContext": SECURE}],
            }
        },
    },
}


def variant(obj: Object, path: str, value: object) -> Object:
    """Return a copy with one field set (None: removed)."""
    copied: Any = copy.deepcopy(obj)
    place = copied
    *parents, last = path.split(".")
    for part in parents:
        place = place[int(part)] if part.isdigit() else place.setdefault(part, {})
    if value is None:
        place.pop(last)
    else:
        place[last] = value
    return copied  # type: ignore[no-any-return]
