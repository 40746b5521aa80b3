"""The laws of the `Cluster` port about watches."""

from __future__ import annotations

from tests.contracts.cluster_objects import config_map, dataset, is_synced, names, notices

from coterie_operator.cluster import CONFIG_MAP, FEDERATED_DATASET, Change, Cluster


class WatchContract:
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
