"""What the operator's own token can't do to Secrets: a tenant's, an aggregator's and its own authority's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.controlplane.rights import CERTIFICATE, JOBS, OWN, TENANT, variant

from coterie_operator.cluster import SECRET, Forbidden, Invalid, Object

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from coterie_operator.kube import KubeCluster

SECRET_NAME = "somebodys"


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
