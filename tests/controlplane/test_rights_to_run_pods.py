"""What pods the operator's own token can't start: none that reach too far, and in a tenant's namespace none that no data set grants."""

from __future__ import annotations

import asyncio
import copy
from typing import TYPE_CHECKING

import pytest
from tests.controlplane.rights import BATCH, JOBS, POD_PATH, TENANT, variant

from coterie_operator.cluster import BATCH_JOB, FEDERATED_DATASET, SECRET, Forbidden, Invalid, Object

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from coterie_operator.kube import KubeCluster

VISITS: Object = {
    "metadata": {"name": "visits", "namespace": TENANT},
    "spec": {
        "source": {"persistentVolumeClaim": {"claimName": "visits"}},
        "state": {"persistentVolumeClaim": {"claimName": "visits-state"}},
        "grants": [{"jobs": {"namespaces": [JOBS]}, "images": ["registry.example/train:1", "registry.example/granted/*"]}],
        "identity": {"publicKey": "A" * 43 + "=", "secretName": "coterie-identity"},
    },
}
OTHER: Object = {
    "metadata": {"name": "other", "namespace": TENANT},
    "spec": {"source": {"persistentVolumeClaim": {"claimName": "other"}}, "grants": []},
}


@pytest.fixture
async def visits(admin: KubeCluster) -> AsyncIterator[Object]:
    """The tenant's data sets `visits`, which is granted, and `other`, which is not."""
    created = await admin.create(FEDERATED_DATASET, VISITS)
    await admin.create(FEDERATED_DATASET, OTHER)
    yield created
    for name in ("visits", "other"):
        await admin.delete(FEDERATED_DATASET, TENANT, name)


@pytest.fixture
async def batch(visits: Object, operator_account: KubeCluster) -> Object:
    """A client's batch Job that the grant allows; awaited, since policies hear of a data set a moment after it is made."""
    owned = variant(BATCH, "metadata.ownerReferences.0.uid", visits["metadata"]["uid"])
    async with asyncio.timeout(30):
        while True:
            try:
                created = await operator_account.create(BATCH_JOB, owned)
            except (Forbidden, Invalid):
                await asyncio.sleep(0.05)
            else:
                await operator_account.delete(BATCH_JOB, TENANT, "client", uid=created["metadata"]["uid"])
                return variant(owned, "metadata.name", "another")


async def test_the_operator_changes_no_data_set(operator_account: KubeCluster, visits: Object) -> None:
    with pytest.raises(Forbidden):
        await operator_account.patch(FEDERATED_DATASET, TENANT, "visits", {"spec": {"declaredRecords": 1}})
    with pytest.raises(Forbidden):
        await operator_account.delete(FEDERATED_DATASET, TENANT, "visits")
    await operator_account.patch(FEDERATED_DATASET, TENANT, "visits", {"status": {"activeJobs": 1}}, status=True)


BAD_BATCH_JOBS: dict[str, tuple[str, object]] = {
    "holds credentials": (f"{POD_PATH}.automountServiceAccountToken", True),
    "holds credentials by default": (f"{POD_PATH}.automountServiceAccountToken", None),
    "mounts the node": (f"{POD_PATH}.volumes", [{"name": "root", "hostPath": {"path": "/"}}]),
    "mounts a token": (
        f"{POD_PATH}.volumes",
        [{"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}],
    ),
    "mounts a Secret by another way": (
        f"{POD_PATH}.volumes",
        [{"name": "passwords", "projected": {"sources": [{"secret": {"name": "passwords"}}]}}],
    ),
    "mounts a copy of a claim": (
        f"{POD_PATH}.volumes",
        [
            {
                "name": "copy",
                "ephemeral": {
                    "volumeClaimTemplate": {
                        "spec": {
                            "accessModes": ["ReadWriteOnce"],
                            "resources": {"requests": {"storage": "1Gi"}},
                            "dataSource": {"kind": "PersistentVolumeClaim", "name": "private"},
                        }
                    }
                },
            }
        ],
    ),
    "reads a Secret into its environment": (
        f"{POD_PATH}.containers.0.env",
        [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "other", "key": "a"}}}],
    ),
    "reads a whole Secret into its environment": (f"{POD_PATH}.containers.0.envFrom", [{"secretRef": {"name": "other"}}]),
    "is on the node's network": (f"{POD_PATH}.hostNetwork", True),
    "may raise its privileges": (f"{POD_PATH}.containers.0.securityContext.allowPrivilegeEscalation", True),
    "says nothing about privileges": (f"{POD_PATH}.containers.0.securityContext", None),
    "may run as root": (f"{POD_PATH}.containers.0.securityContext.runAsNonRoot", None),
    "runs as root": (f"{POD_PATH}.containers.0.securityContext.runAsUser", 0),
    "makes any system call": (f"{POD_PATH}.containers.0.securityContext.seccompProfile", {"type": "Unconfined"}),
    "keeps capabilities": (f"{POD_PATH}.containers.0.securityContext.capabilities", None),
    "adds a capability": (f"{POD_PATH}.containers.0.securityContext.capabilities.add", ["NET_BIND_SERVICE"]),
    "listens on the node": (f"{POD_PATH}.containers.0.ports", [{"containerPort": 80, "hostPort": 80}]),
    "belongs to nobody": ("metadata.ownerReferences", None),
    "has such an init container": (f"{POD_PATH}.initContainers", [{"name": "early", "image": "registry.example/train:1"}]),
}


@pytest.mark.parametrize("case", BAD_BATCH_JOBS)
async def test_the_operator_starts_no_pod_that(case: str, operator_account: KubeCluster, batch: Object) -> None:
    path, value = BAD_BATCH_JOBS[case]

    with pytest.raises((Forbidden, Invalid), match="pod of the operator"):
        await operator_account.create(BATCH_JOB, variant(batch, path, value))


def claim(name: str) -> Object:
    return {"name": name, "persistentVolumeClaim": {"claimName": name}}


def secret_volume(name: str, *keys: str) -> Object:
    secret: Object = {"secretName": name}
    if keys:
        secret["items"] = [{"key": key, "path": key} for key in keys]
    return {"name": "secret", "secret": secret}


NOT_GRANTED: dict[str, tuple[str, object, str]] = {
    "an image that is not granted": (f"{POD_PATH}.containers.0.image", "registry.example/train:2", "no grant"),
    "an image that only looks granted": (f"{POD_PATH}.containers.0.image", "evil.example/registry.example/train:1", "no grant"),
    "a job of a namespace that is not granted": ("metadata.labels.coterie.dev/job-namespace", "elsewhere", "no grant"),
    "a job that does not say whose it is": ("metadata.labels", {"coterie.dev/dataset": "visits"}, "no grant"),
    "a data set that grants nothing": ("metadata.labels.coterie.dev/dataset", "other", "belongs to a FederatedDataset"),
    "another life of the data set": ("metadata.ownerReferences.0.uid", "00000000-0000-0000-0000-000000000000", "that is there now"),
    "no data set": ("metadata.labels", {"coterie.dev/job-namespace": JOBS}, "belongs to a FederatedDataset"),
    "the data of another data set beside it": (f"{POD_PATH}.volumes", [claim("visits"), claim("other")], "no data of|no claim but"),
    "a claim that is no data": (f"{POD_PATH}.volumes", [claim("visits"), claim("private")], "no claim but"),
    "another Secret of the tenant": (f"{POD_PATH}.volumes", [secret_volume("passwords", "private.pem")], "no Secret but"),
    "another service account of the tenant": (f"{POD_PATH}.serviceAccountName", "builder", "runs as the service account"),
}


@pytest.mark.parametrize("case", NOT_GRANTED)
async def test_the_api_server_holds_the_operator_to_the_grant_for(case: str, operator_account: KubeCluster, batch: Object) -> None:
    path, value, told = NOT_GRANTED[case]
    wanted = copy.deepcopy(batch)
    if path.startswith("metadata.labels.coterie"):
        wanted["metadata"]["labels"][path.removeprefix("metadata.labels.")] = value
    else:
        wanted = variant(batch, path, value)

    with pytest.raises((Forbidden, Invalid), match=told):
        await operator_account.create(BATCH_JOB, wanted)


async def test_an_aggregator_has_no_place_in_a_tenants_namespace(operator_account: KubeCluster, batch: Object) -> None:
    wanted = variant(batch, "metadata.ownerReferences.0.kind", "FederatedJob")

    with pytest.raises((Forbidden, Invalid), match="belongs to a FederatedDataset"):
        await operator_account.create(BATCH_JOB, wanted)


@pytest.mark.parametrize(
    "volume",
    [secret_volume("passwords"), secret_volume("passwords", "password"), secret_volume("website", "tls.key")],
    ids=["a whole Secret", "a password", "a key of somebody's website"],
)
async def test_even_where_no_data_set_is_no_other_secret_is_mounted(operator_account: KubeCluster, volume: Object) -> None:
    wanted = variant(variant(BATCH, "metadata.namespace", "hospital-b"), f"{POD_PATH}.volumes", [volume])

    # Two policies refuse this, and the API server tells of either.
    with pytest.raises((Forbidden, Invalid), match=r"names of their keys|no Secret but"):
        await operator_account.create(BATCH_JOB, wanted)


@pytest.fixture
async def beside(admin: KubeCluster, operator_account: KubeCluster) -> AsyncIterator[Object]:
    """An aggregator's batch Job where a data set lies in the job's own namespace, once the policies know the data set."""
    await admin.create(FEDERATED_DATASET, variant(VISITS, "metadata.namespace", JOBS))
    owned = variant(variant(BATCH, "metadata.namespace", JOBS), "metadata.ownerReferences.0.kind", "FederatedJob")
    owned = variant(owned, f"{POD_PATH}.volumes", [claim("models"), secret_volume("certificate", "tls.crt", "tls.key", "ca.crt")])
    async with asyncio.timeout(30):
        while True:
            created = await operator_account.create(BATCH_JOB, variant(owned, "metadata.name", "seen"))
            await operator_account.delete(BATCH_JOB, JOBS, "seen", uid=created["metadata"]["uid"])
            try:
                created = await operator_account.create(BATCH_JOB, variant(owned, f"{POD_PATH}.volumes", [claim("visits")]))
            except (Forbidden, Invalid):
                break
            await operator_account.delete(BATCH_JOB, JOBS, "client", uid=created["metadata"]["uid"])
            await asyncio.sleep(0.05)
    yield owned
    await admin.delete(FEDERATED_DATASET, JOBS, "visits")


@pytest.mark.parametrize(
    ("volume", "told"),
    [
        (claim("visits"), "no data of"),
        (claim("visits-state"), "no data of"),
        (secret_volume("coterie-identity", "private.pem"), "names of their keys|no Secret but"),
        (secret_volume("coterie-identity", "tls.key"), "no Secret but"),
        (secret_volume("certificate", "private.pem"), "names of their keys"),
    ],
    ids=["the data", "the record of slots", "the identity", "the identity as a certificate", "a key of its own choice"],
)
async def test_an_aggregator_beside_the_data_has_no_part_in_it(
    operator_account: KubeCluster, beside: Object, volume: Object, told: str
) -> None:
    with pytest.raises((Forbidden, Invalid), match=told):
        await operator_account.create(BATCH_JOB, variant(beside, f"{POD_PATH}.volumes", [volume]))


async def test_a_prefix_grants_the_images_below_it(operator_account: KubeCluster, batch: Object) -> None:
    created = await operator_account.create(BATCH_JOB, variant(batch, f"{POD_PATH}.containers.0.image", "registry.example/granted/a:1"))
    await operator_account.delete(BATCH_JOB, TENANT, created["metadata"]["name"])


async def test_the_policies_speak_of_the_operator_alone(admin: KubeCluster) -> None:
    created = await admin.create(BATCH_JOB, variant(BATCH, f"{POD_PATH}.automountServiceAccountToken", True))  # whose data set is absent
    await admin.delete(BATCH_JOB, TENANT, created["metadata"]["name"])
    await admin.create(SECRET, {"metadata": {"name": "free", "namespace": JOBS}, "data": {}})
    await admin.delete(SECRET, JOBS, "free")
