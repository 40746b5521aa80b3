"""The laws of the `Cluster` port. Each implementation subclasses `ClusterContract` and provides the fixture `cluster`.

Effects that a real cluster's controllers bring about a moment later are awaited with `eventually`.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import TYPE_CHECKING

import pytest

from coterie_api.names import API_VERSION
from coterie_operator.cluster import (
    CONFIG_MAP,
    FEDERATED_DATASET,
    FEDERATED_JOB,
    NAMESPACE,
    POD,
    SECRET,
    AlreadyExists,
    Change,
    Cluster,
    Conflict,
    Forbidden,
    Invalid,
    Kind,
    NotFound,
    Notice,
    Object,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

RESOURCE_QUOTA = Kind("", "v1", "resourcequotas", "ResourceQuota")
PATIENCE_SECONDS = 60.0  # a real namespace controller takes several seconds; memory answers at once


async def eventually(holds: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait until `holds`, and fail with `what` if it never does."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not await holds():
        if time.monotonic() > end:
            pytest.fail(f"not within {PATIENCE_SECONDS:g} s: {what}")
        await asyncio.sleep(0.05)


def config_map(namespace: str, name: str = "settings", **metadata: object) -> Object:
    return {"metadata": {"name": name, "namespace": namespace, **metadata}, "data": {"color": "blue", "size": "1"}}


def dataset(namespace: str, name: str = "visits", **metadata: object) -> Object:
    return {
        "apiVersion": API_VERSION,
        "kind": "FederatedDataset",
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "spec": {
            "source": {"persistentVolumeClaim": {"claimName": "visits"}},
            "grants": [{"jobs": {"namespaces": ["research"]}, "images": ["registry.example/train:1"]}],
            "identity": {"publicKey": "A" * 42 + "A=", "secretName": "coterie-identity"},
        },
    }


def federated_job(namespace: str, name: str = "digits", **metadata: object) -> Object:
    return {
        "apiVersion": API_VERSION,
        "kind": "FederatedJob",
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "spec": {
            "rounds": 3,
            "task": {"entrypoint": "digits_task:Digits"},
            "participants": {"datasets": [{"namespace": f"tenant-{letter}", "name": "visits"} for letter in "abc"]},
            "privacy": {"mode": "None"},
        },
    }


def pod(namespace: str, name: str = "one", **metadata: object) -> Object:
    container = {"name": "main", "image": "example.invalid/none:1", "command": ["true"]}
    spec = {"containers": [container], "restartPolicy": "Never", "automountServiceAccountToken": False}
    return {"metadata": {"name": name, "namespace": namespace, **metadata}, "spec": spec}


def owned_by(owner: Object) -> dict[str, object]:
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
    }
    return {"ownerReferences": [reference]}


async def is_gone(cluster: Cluster, kind: Kind, namespace: str, name: str) -> bool:
    try:
        await cluster.get(kind, namespace, name)
    except NotFound:
        return True
    return False


async def notices(watch: AsyncIterator[Notice], until: Callable[[Notice], bool]) -> list[Notice]:
    """Collect the notices of a watch up to and with the first that satisfies `until`."""
    seen: list[Notice] = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for notice in watch:
            seen.append(notice)
            if until(notice):
                return seen
    raise AssertionError("the watch ended")


def names(seen: list[Notice]) -> list[tuple[Change, str]]:
    return [(notice.change, notice.obj.get("metadata", {}).get("name", "")) for notice in seen]


def is_synced(notice: Notice) -> bool:
    return notice.change is Change.SYNCED


class ClusterContract:
    @pytest.fixture
    async def namespace(self, cluster: Cluster) -> AsyncIterator[str]:
        name = f"contract-{uuid.uuid4().hex[:8]}"
        await cluster.create(NAMESPACE, {"metadata": {"name": name}})
        yield name
        await cluster.delete(NAMESPACE, "", name)

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

    # -- generation and the status subresource

    async def test_only_a_change_of_the_spec_makes_a_generation(self, cluster: Cluster, namespace: str) -> None:
        created = await cluster.create(FEDERATED_DATASET, dataset(namespace))
        labeled = await cluster.patch(FEDERATED_DATASET, namespace, "visits", {"metadata": {"labels": {"a": "b"}}})
        told = await cluster.patch(FEDERATED_DATASET, namespace, "visits", {"status": {"observedGeneration": 1}}, status=True)
        changed = await cluster.patch(FEDERATED_DATASET, namespace, "visits", {"spec": {"declaredRecords": 7}})

        assert [obj["metadata"]["generation"] for obj in (created, labeled, told, changed)] == [1, 1, 1, 2]

    async def test_status_is_written_through_its_subresource_alone(self, cluster: Cluster, namespace: str) -> None:
        await cluster.create(FEDERATED_DATASET, {**dataset(namespace), "status": {"observedGeneration": 5}})
        created = await cluster.get(FEDERATED_DATASET, namespace, "visits")
        ignored = await cluster.patch(FEDERATED_DATASET, namespace, "visits", {"status": {"observedGeneration": 6}})
        written = await cluster.patch(
            FEDERATED_DATASET, namespace, "visits", {"status": {"observedGeneration": 7}, "spec": {"declaredRecords": 7}}, status=True
        )

        assert created.get("status", {}).get("observedGeneration") != 5
        assert ignored.get("status", {}).get("observedGeneration") != 6
        assert written["status"]["observedGeneration"] == 7
        assert written["spec"].get("declaredRecords") != 7

    async def test_a_stale_resource_version_is_a_conflict_for_status_too(self, cluster: Cluster, namespace: str) -> None:
        stale = (await cluster.create(FEDERATED_DATASET, dataset(namespace)))["metadata"]["resourceVersion"]
        await cluster.patch(FEDERATED_DATASET, namespace, "visits", {"metadata": {"labels": {"a": "b"}}})

        body = {"metadata": {"resourceVersion": stale}, "status": {"observedGeneration": 1}}
        with pytest.raises(Conflict):
            await cluster.patch(FEDERATED_DATASET, namespace, "visits", body, status=True)

    async def test_a_kind_without_status_has_no_subresource(self, cluster: Cluster, namespace: str) -> None:
        await cluster.create(CONFIG_MAP, config_map(namespace))

        with pytest.raises(NotFound):
            await cluster.patch(CONFIG_MAP, namespace, "settings", {"status": {"a": 1}}, status=True)

    async def test_an_object_against_the_schema_is_invalid(self, cluster: Cluster, namespace: str) -> None:
        broken = dataset(namespace)
        broken["spec"]["declaredRecords"] = "many"

        with pytest.raises(Invalid, match="declaredRecords"):
            await cluster.create(FEDERATED_DATASET, broken)

    async def test_unknown_fields_are_dropped_and_defaults_are_filled_in(self, cluster: Cluster, namespace: str) -> None:
        given = dataset(namespace)
        given["spec"]["nonsense"] = 1
        stored = await cluster.create(FEDERATED_DATASET, given)

        assert "nonsense" not in stored["spec"]
        assert stored["spec"]["requirements"]["secureAggregation"] is True

    async def test_an_immutable_field_of_ours_can_not_be_changed(self, cluster: Cluster, namespace: str) -> None:
        await cluster.create(FEDERATED_JOB, federated_job(namespace))

        with pytest.raises(Invalid, match="rounds"):
            await cluster.patch(FEDERATED_JOB, namespace, "digits", {"spec": {"rounds": 9}})
        assert (await cluster.patch(FEDERATED_JOB, namespace, "digits", {"spec": {"suspend": True}}))["spec"]["suspend"] is True

    async def test_a_new_pod_is_pending(self, cluster: Cluster, namespace: str) -> None:
        created = await cluster.create(POD, {**pod(namespace), "status": {"phase": "Succeeded"}})

        assert created["status"]["phase"] == "Pending"

    async def test_the_spec_of_a_pod_stays(self, cluster: Cluster, namespace: str) -> None:
        await cluster.create(POD, pod(namespace))

        with pytest.raises(Invalid):
            await cluster.patch(POD, namespace, "one", {"spec": {"restartPolicy": "Always"}})

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

    # -- watches

    async def test_a_watch_tells_what_exists_then_what_changes(self, cluster: Cluster, namespace: str) -> None:
        await cluster.create(CONFIG_MAP, config_map(namespace, "old", labels={"app": "x"}))
        watch = cluster.watch(CONFIG_MAP, namespace, {"app": "x"})
        first = await notices(watch, is_synced)
        await cluster.create(CONFIG_MAP, config_map(namespace, "new", labels={"app": "x"}))
        await cluster.create(CONFIG_MAP, config_map(namespace, "else", labels={"app": "y"}))
        await cluster.patch(CONFIG_MAP, namespace, "new", {"data": {"color": "red"}})
        await cluster.delete(CONFIG_MAP, namespace, "old")
        later = await notices(watch, lambda notice: notice.change is Change.DELETED)
        await watch.aclose()  # type: ignore[attr-defined]

        assert names(first) == [(Change.ADDED, "old"), (Change.SYNCED, "")]
        assert names(later) == [(Change.ADDED, "new"), (Change.MODIFIED, "new"), (Change.DELETED, "old")]
        assert later[1].obj["data"]["color"] == "red"

    async def test_an_object_that_loses_the_label_is_deleted_for_the_watch(self, cluster: Cluster, namespace: str) -> None:
        await cluster.create(CONFIG_MAP, config_map(namespace, "a", labels={"app": "x"}))
        watch = cluster.watch(CONFIG_MAP, namespace, {"app": "x"})
        await notices(watch, is_synced)
        await cluster.patch(CONFIG_MAP, namespace, "a", {"metadata": {"labels": {"app": "y"}}})
        seen = await notices(watch, lambda notice: notice.change is Change.DELETED)
        await watch.aclose()  # type: ignore[attr-defined]

        assert names(seen) == [(Change.DELETED, "a")]

    async def test_a_watch_of_every_namespace_says_where(self, cluster: Cluster, namespace: str) -> None:
        watch = cluster.watch(CONFIG_MAP, None, {"contract": namespace})
        await notices(watch, is_synced)
        await cluster.create(CONFIG_MAP, config_map(namespace, "here", labels={"contract": namespace}))
        seen = await notices(watch, lambda notice: notice.change is Change.ADDED)
        await watch.aclose()  # type: ignore[attr-defined]

        assert seen[-1].obj["metadata"]["namespace"] == namespace
        assert (seen[-1].obj["apiVersion"], seen[-1].obj["kind"]) == ("v1", "ConfigMap")

    async def test_a_watch_of_our_own_kind_tells_of_status_changes(self, cluster: Cluster, namespace: str) -> None:
        await cluster.create(FEDERATED_DATASET, dataset(namespace))
        watch = cluster.watch(FEDERATED_DATASET, namespace)
        await notices(watch, is_synced)
        await cluster.patch(FEDERATED_DATASET, namespace, "visits", {"status": {"observedGeneration": 1}}, status=True)
        seen = await notices(watch, lambda notice: notice.change is Change.MODIFIED)
        await watch.aclose()  # type: ignore[attr-defined]

        assert seen[-1].obj["status"]["observedGeneration"] == 1
