"""The laws of the `Cluster` port about objects: how they are created, read, listed and patched."""

from __future__ import annotations

import pytest
from tests.contracts.cluster_objects import config_map

from coterie_operator.cluster import CONFIG_MAP, SECRET, AlreadyExists, Cluster, Conflict, Invalid, NotFound


class ObjectsContract:
    # -- reading and creating

    async def test_a_created_object_has_an_identity_and_reads_back_the_same(self, cluster: Cluster, namespace: str) -> None:
        created = await cluster.create(CONFIG_MAP, config_map(namespace))

        assert created["metadata"]["uid"]
        assert created["metadata"]["resourceVersion"]
        assert created["metadata"]["creationTimestamp"].endswith("Z")
        assert (created["apiVersion"], created["kind"]) == ("v1", "ConfigMap")
        assert created == await cluster.get(CONFIG_MAP, namespace, "settings")

    async def test_a_missing_object_is_not_found(self, cluster: Cluster, namespace: str) -> None:
        with pytest.raises(NotFound):
            await cluster.get(CONFIG_MAP, namespace, "nothing")

    async def test_a_name_is_given_once(self, cluster: Cluster, namespace: str) -> None:
        await cluster.create(CONFIG_MAP, config_map(namespace))

        with pytest.raises(AlreadyExists):
            await cluster.create(CONFIG_MAP, config_map(namespace))

    async def test_a_recreated_object_has_another_uid(self, cluster: Cluster, namespace: str) -> None:
        first = await cluster.create(CONFIG_MAP, config_map(namespace))
        await cluster.delete(CONFIG_MAP, namespace, "settings")
        second = await cluster.create(CONFIG_MAP, config_map(namespace))

        assert first["metadata"]["uid"] != second["metadata"]["uid"]

    async def test_nothing_is_created_in_a_namespace_that_does_not_exist(self, cluster: Cluster) -> None:
        with pytest.raises(NotFound):
            await cluster.create(CONFIG_MAP, config_map("contract-nowhere"))

    @pytest.mark.parametrize("name", ["Upper", "under_score", "-dash", "dot.", "../up", "a" * 254])
    async def test_a_bad_name_is_invalid(self, cluster: Cluster, namespace: str, name: str) -> None:
        with pytest.raises(Invalid):
            await cluster.create(CONFIG_MAP, config_map(namespace, name))

    @pytest.mark.parametrize("value", ["a" * 64, "white space", "-dash", "a/b"])
    async def test_a_bad_label_is_invalid(self, cluster: Cluster, namespace: str, value: str) -> None:
        with pytest.raises(Invalid):
            await cluster.create(CONFIG_MAP, config_map(namespace, labels={"x": value}))

    async def test_an_owner_without_a_uid_is_invalid(self, cluster: Cluster, namespace: str) -> None:
        owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": ""}

        with pytest.raises(Invalid):
            await cluster.create(CONFIG_MAP, config_map(namespace, ownerReferences=[owner]))

    async def test_a_list_holds_the_objects_of_its_namespace_and_labels_alone(self, cluster: Cluster, namespace: str) -> None:
        await cluster.create(CONFIG_MAP, config_map(namespace, "a", labels={"app": "x", "tier": "1"}))
        await cluster.create(CONFIG_MAP, config_map(namespace, "b", labels={"app": "x"}))
        await cluster.create(CONFIG_MAP, config_map(namespace, "c"))

        both = await cluster.list(CONFIG_MAP, namespace, {"app": "x"})
        one = await cluster.list(CONFIG_MAP, namespace, {"app": "x", "tier": "1"})
        everywhere = await cluster.list(CONFIG_MAP, None, {"app": "x"})
        elsewhere = await cluster.list(CONFIG_MAP, "contract-nowhere")

        assert [obj["metadata"]["name"] for obj in both] == ["a", "b"]
        assert [obj["metadata"]["name"] for obj in one] == ["a"]
        assert {obj["metadata"]["name"] for obj in everywhere if obj["metadata"]["namespace"] == namespace} == {"a", "b"}
        assert elsewhere == []

    async def test_listed_objects_say_what_they_are(self, cluster: Cluster, namespace: str) -> None:
        await cluster.create(CONFIG_MAP, config_map(namespace))

        listed = await cluster.list(CONFIG_MAP, namespace, {})

        assert {(obj["apiVersion"], obj["kind"]) for obj in listed} == {("v1", "ConfigMap")}

    async def test_what_a_caller_does_to_an_object_stays_with_the_caller(self, cluster: Cluster, namespace: str) -> None:
        created = await cluster.create(CONFIG_MAP, config_map(namespace))
        created["data"]["color"] = "red"

        assert (await cluster.get(CONFIG_MAP, namespace, "settings"))["data"]["color"] == "blue"

    # -- patches

    async def test_a_patch_merges_and_null_removes(self, cluster: Cluster, namespace: str) -> None:
        await cluster.create(CONFIG_MAP, config_map(namespace))

        patched = await cluster.patch(CONFIG_MAP, namespace, "settings", {"data": {"color": "red", "size": None, "shape": "round"}})

        assert patched["data"] == {"color": "red", "shape": "round"}

    async def test_a_stale_resource_version_is_a_conflict(self, cluster: Cluster, namespace: str) -> None:
        stale = (await cluster.create(CONFIG_MAP, config_map(namespace)))["metadata"]["resourceVersion"]
        await cluster.patch(CONFIG_MAP, namespace, "settings", {"data": {"color": "red"}})

        with pytest.raises(Conflict):
            await cluster.patch(CONFIG_MAP, namespace, "settings", {"metadata": {"resourceVersion": stale}, "data": {"color": "green"}})
        assert (await cluster.get(CONFIG_MAP, namespace, "settings"))["data"]["color"] == "red"

    async def test_a_fresh_resource_version_is_no_conflict(self, cluster: Cluster, namespace: str) -> None:
        fresh = (await cluster.create(CONFIG_MAP, config_map(namespace)))["metadata"]["resourceVersion"]

        patched = await cluster.patch(CONFIG_MAP, namespace, "settings", {"metadata": {"resourceVersion": fresh}, "data": {"color": "red"}})

        assert patched["metadata"]["resourceVersion"] != fresh

    async def test_a_patch_that_changes_nothing_makes_no_version(self, cluster: Cluster, namespace: str) -> None:
        before = await cluster.create(CONFIG_MAP, config_map(namespace))

        after = await cluster.patch(CONFIG_MAP, namespace, "settings", {"data": {"color": "blue"}})

        assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]

    async def test_patching_nothing_is_not_found(self, cluster: Cluster, namespace: str) -> None:
        with pytest.raises(NotFound):
            await cluster.patch(CONFIG_MAP, namespace, "nothing", {"data": {}})

    async def test_an_immutable_object_keeps_its_data(self, cluster: Cluster, namespace: str) -> None:
        await cluster.create(SECRET, {"metadata": {"name": "s", "namespace": namespace}, "immutable": True, "data": {"a": "YQ=="}})

        with pytest.raises(Invalid):
            await cluster.patch(SECRET, namespace, "s", {"data": {"a": "Yg=="}})

    async def test_a_secret_holds_base64_alone(self, cluster: Cluster, namespace: str) -> None:
        with pytest.raises(Invalid):
            await cluster.create(SECRET, {"metadata": {"name": "s", "namespace": namespace}, "data": {"a": "not base64!"}})
