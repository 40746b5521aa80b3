"""What the operator's own token can't do, asked of the API server itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.controlplane.rights import BATCH, JOB, JOBS, OWN, TENANT, variant

from coterie_operator.cluster import (
    BATCH_JOB,
    CLAIM,
    CONFIG_MAP,
    EVENT,
    FEDERATED_JOB,
    NAMESPACE,
    NETWORK_POLICY,
    POD,
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


@pytest.fixture
async def job(admin: KubeCluster) -> AsyncIterator[Object]:
    created = await admin.create(FEDERATED_JOB, JOB)
    yield created
    await admin.patch(FEDERATED_JOB, JOBS, "rights", {"metadata": {"finalizers": None}})
    await admin.delete(FEDERATED_JOB, JOBS, "rights")


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


async def test_the_operator_deletes_no_job_that_runs(operator_account: KubeCluster, job: Object) -> None:
    with pytest.raises((Forbidden, Invalid), match="deletes a job that has ended"):
        await operator_account.delete(FEDERATED_JOB, JOBS, "rights")


async def test_the_operator_deletes_no_job_that_is_to_be_kept(operator_account: KubeCluster, job: Object) -> None:
    await operator_account.patch(FEDERATED_JOB, JOBS, "rights", {"status": {"completionTime": "2026-01-01T00:00:00Z"}}, status=True)

    with pytest.raises((Forbidden, Invalid), match="deletes a job that has ended"):
        await operator_account.delete(FEDERATED_JOB, JOBS, "rights")


POLICY: Object = {
    "metadata": {"name": "child", "namespace": TENANT},
    "spec": {"podSelector": {"matchLabels": {"coterie.dev/job-uid": "0-0"}}, "policyTypes": ["Ingress"]},
}
ADDRESS: Object = {
    "metadata": {"name": "child", "namespace": JOBS},
    "spec": {"selector": {"coterie.dev/job-uid": "0-0"}, "ports": [{"port": 8443}]},
}


@pytest.mark.parametrize(
    ("kind", "wanted", "told"),
    [
        (NETWORK_POLICY, variant(POLICY, "spec.podSelector", {}), "for the pods of one job"),
        (NETWORK_POLICY, variant(POLICY, "spec.podSelector.matchLabels", {"app": "database"}), "for the pods of one job"),
        (SERVICE, variant(ADDRESS, "spec.selector", None), "for the pods of one job"),
        (SERVICE, variant(ADDRESS, "spec.selector", {"app": "database"}), "for the pods of one job"),
        (SERVICE, variant(ADDRESS, "spec.externalIPs", ["192.0.2.1"]), "somebody else's"),
    ],
    ids=["opens a namespace", "opens a database", "leads nowhere of ours", "leads to a database", "takes an address"],
)
async def test_the_operator_leads_no_traffic_that(operator_account: KubeCluster, kind: Kind, wanted: Object, told: str) -> None:
    with pytest.raises((Forbidden, Invalid), match=told):
        await operator_account.create(kind, wanted)


async def test_it_leads_traffic_to_the_pods_of_a_job(operator_account: KubeCluster, admin: KubeCluster) -> None:
    for kind, wanted in ((NETWORK_POLICY, POLICY), (SERVICE, ADDRESS)):
        await operator_account.create(kind, wanted)
        await admin.delete(kind, wanted["metadata"]["namespace"], "child")


async def test_the_operator_creates_no_job_of_ours(operator_account: KubeCluster) -> None:
    with pytest.raises(Forbidden):
        await operator_account.create(FEDERATED_JOB, variant(JOB, "metadata.name", "own"))


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
