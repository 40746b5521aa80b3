"""What the operator's own token can't do, asked of the API server itself."""

from __future__ import annotations

import asyncio
import copy
from typing import TYPE_CHECKING, Any

import pytest

from coterie_operator.cluster import (
    BATCH_JOB,
    CLAIM,
    CONFIG_MAP,
    EVENT,
    FEDERATED_DATASET,
    FEDERATED_JOB,
    NAMESPACE,
    NETWORK_POLICY,
    POD,
    SECRET,
    SERVICE,
    Forbidden,
    Invalid,
    Kind,
    NotFound,
    Object,
)
from coterie_operator.leader import LEASE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from coterie_operator.kube import KubeCluster

SECRET_NAME = "somebodys"
TENANT, JOBS, OWN = "hospital-a", "research", "coterie-system"
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
BATCH: Object = {
    "metadata": {
        "name": "client",
        "namespace": TENANT,
        "labels": {"coterie.dev/dataset": "visits", "coterie.dev/job-namespace": JOBS},
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
                "containers": [
                    {"name": "client", "image": "registry.example/train:1", "securityContext": {"allowPrivilegeEscalation": False}}
                ],
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


@pytest.fixture
async def job(admin: KubeCluster) -> AsyncIterator[Object]:
    created = await admin.create(FEDERATED_JOB, JOB)
    yield created
    await admin.patch(FEDERATED_JOB, JOBS, "rights", {"metadata": {"finalizers": None}})
    await admin.delete(FEDERATED_JOB, JOBS, "rights")


@pytest.fixture
async def secret(admin: KubeCluster) -> AsyncIterator[Object]:
    metadata = {"name": SECRET_NAME, "namespace": TENANT}
    created = await admin.create(SECRET, {"metadata": metadata, "stringData": {"private.pem": "of the tenant"}})
    yield created
    await admin.delete(SECRET, TENANT, SECRET_NAME)


@pytest.mark.parametrize("namespace", [TENANT, JOBS, "kube-system", "default"])
async def test_the_operator_reads_no_secret_outside_its_own_namespace(operator_account: KubeCluster, namespace: str) -> None:
    with pytest.raises(Forbidden):
        await operator_account.list(SECRET, namespace)
    with pytest.raises(Forbidden):
        await operator_account.get(SECRET, namespace, "coterie-identity")


async def test_the_operator_lists_no_secrets_at_all(operator_account: KubeCluster) -> None:
    with pytest.raises(Forbidden):
        await operator_account.list(SECRET)
    with pytest.raises(Forbidden):
        await operator_account.list(SECRET, OWN)


async def test_the_operator_neither_patches_nor_deletes_a_tenants_secret(operator_account: KubeCluster, secret: Object) -> None:
    with pytest.raises(Forbidden):
        await operator_account.patch(SECRET, TENANT, SECRET_NAME, {"metadata": {"labels": {"a": "b"}}})
    with pytest.raises(Forbidden):
        await operator_account.delete(SECRET, TENANT, SECRET_NAME)


async def test_the_operator_creates_no_secret_in_a_tenants_namespace(operator_account: KubeCluster) -> None:
    with pytest.raises(Forbidden):
        await operator_account.create(SECRET, variant(CERTIFICATE, "metadata.namespace", TENANT))


async def test_the_operator_creates_an_aggregators_certificate_but_can_not_read_it(
    operator_account: KubeCluster, admin: KubeCluster
) -> None:
    await operator_account.create(SECRET, CERTIFICATE)

    with pytest.raises(Forbidden):
        await operator_account.get(SECRET, JOBS, "certificate")
    with pytest.raises(Forbidden):
        await operator_account.delete(SECRET, JOBS, "certificate")
    await admin.delete(SECRET, JOBS, "certificate")


BAD_SECRETS: dict[str, tuple[str, object]] = {
    "mints a token": ("type", "kubernetes.io/service-account-token"),
    "is of no type of ours": ("type", "Opaque"),
    "may be changed later": ("immutable", None),
    "is said to be mutable": ("immutable", False),
    "has no owner": ("metadata.ownerReferences", None),
}


@pytest.mark.parametrize("case", BAD_SECRETS)
async def test_the_operator_creates_no_secret_that(case: str, operator_account: KubeCluster) -> None:
    path, value = BAD_SECRETS[case]
    wanted = variant(CERTIFICATE, path, value)
    if wanted["type"] == "kubernetes.io/service-account-token":
        wanted["metadata"]["annotations"] = {"kubernetes.io/service-account.name": "default"}

    with pytest.raises((Forbidden, Invalid)):
        await operator_account.create(SECRET, wanted)


AUTHORITY: Object = {"metadata": {"name": "coterie-ca", "namespace": OWN}, "type": "coterie.dev/tls", "immutable": True, "data": {}}


@pytest.fixture
async def no_authority(admin: KubeCluster) -> None:
    """As before the operator's first start; other tests of this cluster may have run one."""
    await admin.delete(SECRET, OWN, "coterie-ca")


@pytest.mark.usefixtures("no_authority")
async def test_the_operator_keeps_its_authority_in_its_own_namespace(operator_account: KubeCluster, admin: KubeCluster) -> None:
    await operator_account.create(SECRET, AUTHORITY)
    read = await operator_account.get(SECRET, OWN, "coterie-ca")
    await admin.delete(SECRET, OWN, "coterie-ca")

    assert read["type"] == "coterie.dev/tls"


@pytest.mark.parametrize(
    ("path", "value"),
    [("metadata.name", "another"), ("metadata.namespace", JOBS), ("metadata.namespace", TENANT), ("type", "Opaque"), ("immutable", None)],
)
async def test_nothing_else_passes_for_the_authority(path: str, value: object, operator_account: KubeCluster) -> None:
    with pytest.raises((Forbidden, Invalid)):
        await operator_account.create(SECRET, variant(AUTHORITY, path, value))


@pytest.mark.usefixtures("no_authority")
async def test_the_authority_can_be_neither_changed_nor_deleted_by_the_operator(operator_account: KubeCluster, admin: KubeCluster) -> None:
    await operator_account.create(SECRET, AUTHORITY)

    with pytest.raises(Forbidden):
        await operator_account.patch(SECRET, OWN, "coterie-ca", {"metadata": {"labels": {"a": "b"}}})
    with pytest.raises(Forbidden):
        await operator_account.delete(SECRET, OWN, "coterie-ca")
    await admin.delete(SECRET, OWN, "coterie-ca")


@pytest.mark.parametrize("kind", [BATCH_JOB, POD, CONFIG_MAP, SERVICE, CLAIM, NETWORK_POLICY, EVENT], ids=lambda kind: kind.plural)
async def test_nothing_is_read_in_a_namespace_that_is_not_listed(operator_account: KubeCluster, kind: Kind) -> None:
    with pytest.raises(Forbidden):
        await operator_account.list(kind, "default")
    with pytest.raises(Forbidden):
        await operator_account.list(kind)


async def test_nothing_is_started_in_a_namespace_that_is_not_listed(operator_account: KubeCluster) -> None:
    with pytest.raises(Forbidden, match="cannot create resource"):
        await operator_account.create(BATCH_JOB, variant(BATCH, "metadata.namespace", "default"))


async def test_the_operator_creates_no_pod_service_account_or_role_itself(operator_account: KubeCluster) -> None:
    for group, version, plural, name in (
        ("", "v1", "pods", "Pod"),
        ("", "v1", "serviceaccounts", "ServiceAccount"),
        ("rbac.authorization.k8s.io", "v1", "roles", "Role"),
        ("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding"),
    ):
        for namespace in (TENANT, JOBS, OWN):
            with pytest.raises(Forbidden):
                await operator_account.create(Kind(group, version, plural, name), {"metadata": {"name": "a", "namespace": namespace}})


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


async def test_the_operator_holds_a_job_by_its_finalizer_and_lets_it_go(operator_account: KubeCluster, job: Object) -> None:
    held = await operator_account.patch(FEDERATED_JOB, JOBS, "rights", {"metadata": {"finalizers": ["coterie.dev/cleanup"]}})
    free = await operator_account.patch(FEDERATED_JOB, JOBS, "rights", {"metadata": {"finalizers": None}})

    assert held["metadata"]["finalizers"] == ["coterie.dev/cleanup"]
    assert "finalizers" not in free["metadata"]


@pytest.mark.parametrize(
    "change",
    [
        {"spec": {"suspend": True}},
        {"spec": {"ttlSecondsAfterFinished": 1}},
        {"metadata": {"labels": {"a": "b"}}},
        {"metadata": {"annotations": {"a": "b"}}},
    ],
    ids=["suspend", "ttl", "label", "annotation"],
)
async def test_the_operator_changes_nothing_else_of_a_job(operator_account: KubeCluster, job: Object, change: Object) -> None:
    with pytest.raises((Forbidden, Invalid)):
        await operator_account.patch(FEDERATED_JOB, JOBS, "rights", change)


async def test_the_operator_creates_no_job_of_ours(operator_account: KubeCluster) -> None:
    with pytest.raises(Forbidden):
        await operator_account.create(FEDERATED_JOB, variant(JOB, "metadata.name", "own"))


POD_PATH = "spec.template.spec"
BAD_BATCH_JOBS: dict[str, tuple[str, object]] = {
    "holds credentials": (f"{POD_PATH}.automountServiceAccountToken", True),
    "holds credentials by default": (f"{POD_PATH}.automountServiceAccountToken", None),
    "mounts the node": (f"{POD_PATH}.volumes", [{"name": "root", "hostPath": {"path": "/"}}]),
    "mounts a token": (
        f"{POD_PATH}.volumes",
        [{"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}],
    ),
    "reads a Secret into its environment": (
        f"{POD_PATH}.containers.0.env",
        [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "other", "key": "a"}}}],
    ),
    "reads a whole Secret into its environment": (f"{POD_PATH}.containers.0.envFrom", [{"secretRef": {"name": "other"}}]),
    "is on the node's network": (f"{POD_PATH}.hostNetwork", True),
    "may raise its privileges": (f"{POD_PATH}.containers.0.securityContext.allowPrivilegeEscalation", True),
    "says nothing about privileges": (f"{POD_PATH}.containers.0.securityContext", None),
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
    ("volume", "told"),
    [
        (secret_volume("passwords"), "names of their keys"),
        (secret_volume("passwords", "password"), "names of their keys"),
        (secret_volume("website", "tls.key"), "names of their keys"),
    ],
    ids=["a whole Secret", "a password", "a key of somebody's website"],
)
async def test_even_where_no_data_set_is_no_other_secret_is_mounted(operator_account: KubeCluster, volume: Object, told: str) -> None:
    wanted = variant(variant(BATCH, "metadata.namespace", "hospital-b"), f"{POD_PATH}.volumes", [volume])

    with pytest.raises((Forbidden, Invalid), match=told):
        await operator_account.create(BATCH_JOB, wanted)


async def test_a_prefix_grants_the_images_below_it(operator_account: KubeCluster, batch: Object) -> None:
    created = await operator_account.create(BATCH_JOB, variant(batch, f"{POD_PATH}.containers.0.image", "registry.example/granted/a:1"))
    await operator_account.delete(BATCH_JOB, TENANT, created["metadata"]["name"])


async def test_the_policies_speak_of_the_operator_alone(admin: KubeCluster) -> None:
    created = await admin.create(BATCH_JOB, variant(BATCH, f"{POD_PATH}.automountServiceAccountToken", True))  # whose data set is absent
    await admin.delete(BATCH_JOB, TENANT, created["metadata"]["name"])
    await admin.create(SECRET, {"metadata": {"name": "free", "namespace": JOBS}, "data": {}})
    await admin.delete(SECRET, JOBS, "free")


async def test_the_operator_reads_namespaces_and_changes_none(operator_account: KubeCluster) -> None:
    assert await operator_account.get(NAMESPACE, "", TENANT)
    with pytest.raises(Forbidden):
        await operator_account.patch(NAMESPACE, "", TENANT, {"metadata": {"labels": {"a": "b"}}})
    with pytest.raises(Forbidden):
        await operator_account.delete(NAMESPACE, "", TENANT)


async def test_the_operator_holds_its_own_lease_and_no_other(operator_account: KubeCluster, admin: KubeCluster) -> None:
    await admin.delete(LEASE, OWN, "coterie-operator")

    with pytest.raises(NotFound):
        await operator_account.get(LEASE, OWN, "coterie-operator")
    with pytest.raises(Forbidden):
        await operator_account.get(LEASE, OWN, "another")
    with pytest.raises(Forbidden):
        await operator_account.create(LEASE, {"metadata": {"name": "coterie-operator", "namespace": "kube-system"}, "spec": {}})
