"""The laws of the `Cluster` port about what goes: deletions, finalizers, owners, namespaces, and quotas while they are there."""

from __future__ import annotations

import uuid

import pytest
from tests.contracts.cluster_objects import config_map, eventually, is_gone, owned_by, pod

from coterie_operator.cluster import CONFIG_MAP, NAMESPACE, POD, SECRET, Cluster, Conflict, Forbidden, Invalid, Kind

RESOURCE_QUOTA = Kind("", "v1", "resourcequotas", "ResourceQuota")


class DeletionContract:
    # -- deletion

    async def test_deleting_twice_is_no_error(self, cluster: Cluster, namespace: str) -> None:
        await cluster.create(CONFIG_MAP, config_map(namespace))
        await cluster.delete(CONFIG_MAP, namespace, "settings")
        await cluster.delete(CONFIG_MAP, namespace, "settings")

        assert await is_gone(cluster, CONFIG_MAP, namespace, "settings")

    async def test_a_delete_for_another_uid_is_a_conflict(self, cluster: Cluster, namespace: str) -> None:
        await cluster.create(CONFIG_MAP, config_map(namespace))

        with pytest.raises(Conflict):
            await cluster.delete(CONFIG_MAP, namespace, "settings", uid=str(uuid.uuid4()))
        assert not await is_gone(cluster, CONFIG_MAP, namespace, "settings")

    async def test_a_delete_for_the_right_uid_deletes(self, cluster: Cluster, namespace: str) -> None:
        created = await cluster.create(CONFIG_MAP, config_map(namespace))
        await cluster.delete(CONFIG_MAP, namespace, "settings", uid=created["metadata"]["uid"])

        assert await is_gone(cluster, CONFIG_MAP, namespace, "settings")

    async def test_a_finalizer_holds_an_object_until_it_is_removed(self, cluster: Cluster, namespace: str) -> None:
        await cluster.create(CONFIG_MAP, config_map(namespace, finalizers=["example.com/hold"]))
        await cluster.delete(CONFIG_MAP, namespace, "settings")
        going = await cluster.get(CONFIG_MAP, namespace, "settings")
        await cluster.patch(CONFIG_MAP, namespace, "settings", {"metadata": {"finalizers": None}})

        assert going["metadata"]["deletionTimestamp"]
        assert await is_gone(cluster, CONFIG_MAP, namespace, "settings")

    async def test_no_finalizer_is_added_to_an_object_that_is_going(self, cluster: Cluster, namespace: str) -> None:
        await cluster.create(CONFIG_MAP, config_map(namespace, finalizers=["example.com/hold"]))
        await cluster.delete(CONFIG_MAP, namespace, "settings")

        body = {"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}}
        with pytest.raises((Invalid, Forbidden)):
            await cluster.patch(CONFIG_MAP, namespace, "settings", body)
        await cluster.patch(CONFIG_MAP, namespace, "settings", {"metadata": {"finalizers": None}})

    async def test_a_deletion_timestamp_can_not_be_patched_away(self, cluster: Cluster, namespace: str) -> None:
        await cluster.create(CONFIG_MAP, config_map(namespace, finalizers=["example.com/hold"]))
        await cluster.delete(CONFIG_MAP, namespace, "settings")
        patched = await cluster.patch(CONFIG_MAP, namespace, "settings", {"metadata": {"deletionTimestamp": None}})
        await cluster.patch(CONFIG_MAP, namespace, "settings", {"metadata": {"finalizers": None}})

        assert patched["metadata"]["deletionTimestamp"]

    # -- owners

    async def test_a_child_goes_with_its_owner(self, cluster: Cluster, namespace: str) -> None:
        owner = await cluster.create(CONFIG_MAP, config_map(namespace, "owner"))
        await cluster.create(CONFIG_MAP, config_map(namespace, "child", **owned_by(owner)))
        await cluster.delete(CONFIG_MAP, namespace, "owner")

        await eventually(lambda: is_gone(cluster, CONFIG_MAP, namespace, "child"), "the child of a deleted owner goes")

    async def test_a_child_stays_while_one_of_its_owners_does(self, cluster: Cluster, namespace: str) -> None:
        first = await cluster.create(CONFIG_MAP, config_map(namespace, "first"))
        second = await cluster.create(CONFIG_MAP, config_map(namespace, "second"))
        both = owned_by(first)["ownerReferences"] + owned_by(second)["ownerReferences"]  # type: ignore[operator]
        await cluster.create(CONFIG_MAP, config_map(namespace, "child", ownerReferences=both))
        await cluster.create(CONFIG_MAP, config_map(namespace, "other", **owned_by(first)))
        await cluster.delete(CONFIG_MAP, namespace, "first")
        await eventually(lambda: is_gone(cluster, CONFIG_MAP, namespace, "other"), "the collector has been here")

        assert not await is_gone(cluster, CONFIG_MAP, namespace, "child")

    async def test_an_owner_of_another_life_is_no_owner(self, cluster: Cluster, namespace: str) -> None:
        owner = await cluster.create(CONFIG_MAP, config_map(namespace, "owner"))
        owner["metadata"]["uid"] = str(uuid.uuid4())
        await cluster.create(CONFIG_MAP, config_map(namespace, "child", **owned_by(owner)))

        await eventually(lambda: is_gone(cluster, CONFIG_MAP, namespace, "child"), "a child of another uid goes")

    async def test_a_cross_namespace_owner_deletes_the_child(self, cluster: Cluster, namespace: str) -> None:
        other = f"{namespace}-other"
        await cluster.create(NAMESPACE, {"metadata": {"name": other}})
        owner = await cluster.create(CONFIG_MAP, config_map(other, "owner"))
        await cluster.create(CONFIG_MAP, config_map(namespace, "child", **owned_by(owner)))

        await eventually(lambda: is_gone(cluster, CONFIG_MAP, namespace, "child"), "a child with an owner elsewhere goes")
        await cluster.delete(NAMESPACE, "", other)

    # -- namespaces and quotas

    async def test_a_deleted_namespace_takes_its_objects_along(self, cluster: Cluster, namespace: str) -> None:
        await cluster.create(CONFIG_MAP, config_map(namespace))
        await cluster.create(POD, pod(namespace))
        await cluster.delete(NAMESPACE, "", namespace)

        await eventually(lambda: is_gone(cluster, NAMESPACE, "", namespace), "the namespace goes")
        assert await is_gone(cluster, CONFIG_MAP, namespace, "settings")
        assert await is_gone(cluster, POD, namespace, "one")

    async def test_nothing_is_created_in_a_namespace_that_is_ending(self, cluster: Cluster, namespace: str) -> None:
        await cluster.create(CONFIG_MAP, config_map(namespace, finalizers=["example.com/hold"]))
        await cluster.delete(NAMESPACE, "", namespace)
        ending = await cluster.get(NAMESPACE, "", namespace)

        with pytest.raises(Forbidden, match="terminated"):
            await cluster.create(CONFIG_MAP, config_map(namespace, "late"))
        assert ending["status"]["phase"] == "Terminating"
        await cluster.patch(CONFIG_MAP, namespace, "settings", {"metadata": {"finalizers": None}})
        await eventually(lambda: is_gone(cluster, NAMESPACE, "", namespace), "the namespace goes once nothing holds it")

    async def test_an_object_over_quota_is_forbidden(self, cluster: Cluster, namespace: str) -> None:
        quota = {"metadata": {"name": "few", "namespace": namespace}, "spec": {"hard": {"count/secrets": "1"}}}
        await cluster.create(RESOURCE_QUOTA, quota)

        async def is_enforced() -> bool:
            try:
                for name in ("s1", "s2", "s3"):
                    await cluster.create(SECRET, {"metadata": {"generateName": name, "namespace": namespace}})
            except Forbidden as error:
                return "exceeded quota" in str(error)
            return False

        await eventually(is_enforced, "the quota is enforced")
