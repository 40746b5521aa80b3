"""The owner of a namespace opts in and out without the cluster's administrator, by one binding; the policies hold there as elsewhere."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.cluster import chart
from tests.cluster.processes import wait_until
from tests.controlplane.rights import BATCH, variant
from tests.docs.blocks import blocks

from coterie_api.podconfig import Role
from coterie_operator.cluster import BATCH_JOB, CONFIG_MAP, Forbidden, Invalid
from coterie_operator.manifests.naming import JobKey, labels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cluster.controlplane import ControlPlane

    from coterie_operator.cluster import Object
    from coterie_operator.kube import KubeCluster

NAMESPACE = "hospital-f"
OWNER = "--as=owner-of-hospital-f"


def binding() -> dict[str, Any]:
    """What the chart's page tells an owner to apply."""
    found = [yaml.safe_load(block.text) for block in blocks(chart.CHART / "README.md") if "kind: RoleBinding" in block.text]
    assert len(found) == 1
    return dict(found[0])


@pytest.fixture(scope="module")
def owner(plane: ControlPlane) -> str:
    """A namespace that no value names, and its administrator."""
    plane.kubectl("create", "namespace", NAMESPACE)
    plane.kubectl("create", "rolebinding", "owner", "-n", NAMESPACE, "--clusterrole=admin", f"--user={OWNER.removeprefix('--as=')}")
    can = ("auth", "can-i", "create", "federateddatasets", "-n", NAMESPACE, OWNER)
    wait_until(lambda: plane.try_kubectl(*can).returncode == 0, "the cluster's role `admin` covers data sets")
    return OWNER


@pytest.fixture(scope="module")
def opted_in(plane: ControlPlane, owner: str) -> Iterator[None]:
    plane.kubectl("apply", "-f", "-", owner, stdin=json.dumps(binding()))
    can = (
        "auth",
        "can-i",
        "create",
        "jobs.batch",
        "-n",
        NAMESPACE,
        f"--as=system:serviceaccount:{chart.NAMESPACE}:{chart.SERVICE_ACCOUNT}",
    )
    wait_until(lambda: plane.try_kubectl(*can).returncode == 0, "the operator may run batch Jobs")
    yield
    plane.kubectl("delete", "-f", "-", owner, "--ignore-not-found", stdin=json.dumps(binding()))


def batch(uid: str = "0-0") -> Object:
    there = variant(BATCH, "metadata.namespace", NAMESPACE)
    there["metadata"]["ownerReferences"][0]["uid"] = uid
    return there


async def test_without_the_binding_the_operator_can_do_nothing_there(owner: str, operator_account: KubeCluster) -> None:
    with pytest.raises(Forbidden):
        await operator_account.create(BATCH_JOB, batch())


async def test_with_it_the_operator_still_starts_nothing_without_a_data_set(opted_in: None, operator_account: KubeCluster) -> None:
    with pytest.raises((Forbidden, Invalid), match="a FederatedDataset there"):
        await operator_account.create(BATCH_JOB, variant(batch(), "metadata.ownerReferences.0.kind", "FederatedJob"))


async def test_with_a_data_set_the_operator_is_held_to_its_grant(
    plane: ControlPlane, owner: str, opted_in: None, operator_account: KubeCluster
) -> None:
    spec = {
        "source": {"persistentVolumeClaim": {"claimName": "visits"}},
        "identity": {"publicKey": "A" * 43 + "=", "secretName": "coterie-identity"},
        "grants": [{"jobs": {"namespaces": ["research"]}, "images": ["registry.example/train:1"]}],
    }
    manifest = {"apiVersion": "coterie.dev/v1alpha1", "kind": "FederatedDataset", "metadata": {"name": "visits", "namespace": NAMESPACE}}
    plane.kubectl("apply", "-f", "-", owner, stdin=json.dumps({**manifest, "spec": spec}))
    uid = plane.get("fds", "visits", "-n", NAMESPACE)["metadata"]["uid"]
    other = variant(batch(uid), "spec.template.spec.containers.0.image", "registry.example/other:1")

    def refuses() -> bool:  # the policy hears of a data set a moment after it is there
        account = f"--as=system:serviceaccount:{chart.NAMESPACE}:{chart.SERVICE_ACCOUNT}"
        done = plane.try_kubectl(
            "create", "--dry-run=server", "-f", "-", account, stdin=json.dumps({"apiVersion": "batch/v1", "kind": "Job", **other})
        )
        return "no grant" in done.stderr

    wait_until(refuses, "the policy knows the data set")
    created = await operator_account.create(BATCH_JOB, batch(uid))

    assert created["metadata"]["namespace"] == NAMESPACE


async def test_the_operator_deletes_what_it_made_and_nothing_else(
    plane: ControlPlane, opted_in: None, operator_account: KubeCluster, admin: KubeCluster
) -> None:
    def config(name: str, labels: dict[str, str]) -> Object:
        return {"metadata": {"name": name, "namespace": NAMESPACE, "labels": labels}}

    await operator_account.create(CONFIG_MAP, config("child", labels(JobKey("research", "rights", "0-0"), Role.CLIENT)))
    await admin.create(CONFIG_MAP, config("of-a-release", {"app.kubernetes.io/managed-by": "Helm"}))
    await admin.create(CONFIG_MAP, config("of-nobody", {}))

    await operator_account.delete(CONFIG_MAP, NAMESPACE, "child")
    for name in ("of-a-release", "of-nobody"):
        with pytest.raises((Forbidden, Invalid), match="nothing that others made"):
            await operator_account.delete(CONFIG_MAP, NAMESPACE, name)


async def test_deleting_the_binding_is_opting_out(plane: ControlPlane, owner: str, opted_in: None, operator_account: KubeCluster) -> None:
    plane.kubectl("delete", "-f", "-", owner, stdin=json.dumps(binding()))

    with pytest.raises(Forbidden):
        await operator_account.list(BATCH_JOB, NAMESPACE)
