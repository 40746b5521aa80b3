from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from coterie_operator.cluster import CONFIG_MAP, NAMESPACE, POD, Change, Forbidden, Notice, Object
from coterie_operator.local.admission import RESOURCE_QUOTA
from coterie_operator.local.memory import MemoryCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def config_map(name: str, **labels: str) -> Object:
    return {"metadata": {"name": name, "namespace": "default", "labels": labels}, "data": {"n": "0"}}


async def some(watch: AsyncIterator[Notice], count: int) -> list[tuple[Change, str]]:
    seen = [await asyncio.wait_for(anext(watch), 5) for _ in range(count)]
    return [(notice.change, notice.obj.get("metadata", {}).get("name", "")) for notice in seen]


async def test_a_watcher_that_fell_behind_the_history_is_told_the_differences() -> None:
    cluster = MemoryCluster(history=4)
    for name in ("stays", "changes", "goes"):
        await cluster.create(CONFIG_MAP, config_map(name))
    watch = cluster.watch(CONFIG_MAP, "default")
    await some(watch, 4)
    for number in range(20):
        await cluster.patch(CONFIG_MAP, "default", "changes", {"data": {"n": str(number + 1)}})
    await cluster.delete(CONFIG_MAP, "default", "goes")
    await cluster.create(CONFIG_MAP, config_map("comes"))
    for number in range(20):
        await cluster.create(NAMESPACE, {"metadata": {"name": f"other-{number}"}})
    told = await some(watch, 3)

    assert set(told) == {(Change.DELETED, "goes"), (Change.ADDED, "comes"), (Change.MODIFIED, "changes")}


async def test_a_watcher_that_fell_behind_hears_of_a_recreated_object_as_gone_and_new() -> None:
    cluster = MemoryCluster(history=2)
    await cluster.create(CONFIG_MAP, config_map("again"))
    watch = cluster.watch(CONFIG_MAP, "default")
    await some(watch, 2)
    await cluster.delete(CONFIG_MAP, "default", "again")
    await cluster.create(CONFIG_MAP, config_map("again"))
    for number in range(5):
        await cluster.create(NAMESPACE, {"metadata": {"name": f"other-{number}"}})

    assert await some(watch, 2) == [(Change.DELETED, "again"), (Change.ADDED, "again")]


async def test_a_watcher_within_the_history_hears_of_each_change_in_order() -> None:
    cluster = MemoryCluster(history=100)
    watch = cluster.watch(CONFIG_MAP, "default")
    await some(watch, 1)
    await cluster.create(CONFIG_MAP, config_map("a"))
    await cluster.patch(CONFIG_MAP, "default", "a", {"data": {"n": "1"}})
    await cluster.delete(CONFIG_MAP, "default", "a")

    assert await some(watch, 3) == [(Change.ADDED, "a"), (Change.MODIFIED, "a"), (Change.DELETED, "a")]


async def test_a_watcher_never_hears_of_an_object_that_never_had_its_label() -> None:
    cluster = MemoryCluster()
    watch = cluster.watch(CONFIG_MAP, "default", {"app": "x"})
    await some(watch, 1)
    await cluster.create(CONFIG_MAP, config_map("without"))
    await cluster.delete(CONFIG_MAP, "default", "without")
    await cluster.create(CONFIG_MAP, config_map("with", app="x"))

    assert await some(watch, 1) == [(Change.ADDED, "with")]


async def test_a_finished_pod_frees_its_place_in_the_quota() -> None:
    cluster = MemoryCluster()
    quota = {"metadata": {"name": "few", "namespace": "default"}, "spec": {"hard": {"pods": "1"}}}
    await cluster.create(RESOURCE_QUOTA, quota)

    def pod(name: str) -> Object:
        return {"metadata": {"name": name, "namespace": "default"}, "spec": {"containers": [{"name": "main"}]}}

    await cluster.create(POD, pod("one"))
    with pytest.raises(Forbidden, match="exceeded quota: few, requested: pods=1, used: pods=1, limited: pods=1"):
        await cluster.create(POD, pod("two"))
    await cluster.patch(POD, "default", "one", {"status": {"phase": "Succeeded"}}, status=True)
    await cluster.create(POD, pod("two"))

    assert len(await cluster.list(POD, "default")) == 2
