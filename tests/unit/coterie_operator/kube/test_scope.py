"""An operator that may see some namespaces alone, against one that may see all."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.coterie_operator import builders

from coterie_operator.cluster import CONFIG_MAP, FEDERATED_DATASET, NAMESPACE, Kind, NotFound
from coterie_operator.local.memory import MemoryCluster
from coterie_operator.scope import ScopedCluster

NAMESPACES = ("research", "hospital-a", "hospital-b")


class Strict:
    """A cluster that refuses what an account with Roles alone may not ask, as RBAC does."""

    def __init__(self, cluster: MemoryCluster) -> None:
        self._cluster = cluster

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cluster, name)

    async def get(self, kind: Kind, namespace: str, name: str) -> Any:
        assert (name if kind is NAMESPACE else namespace) in {"research", "hospital-a"}
        return await self._cluster.get(kind, namespace, name)

    async def list(self, kind: Kind, namespace: str | None = None, *rest: Any, **more: Any) -> Any:
        assert namespace in {"research", "hospital-a"}
        return await self._cluster.list(kind, namespace, *rest, **more)


@pytest.fixture
async def cluster() -> ScopedCluster:
    memory = MemoryCluster()
    for namespace in NAMESPACES:
        await memory.create(NAMESPACE, {"metadata": {"name": namespace}})
        if namespace != "research":
            await memory.create(FEDERATED_DATASET, builders.dataset(namespace))
    return ScopedCluster(Strict(memory), ("research", "hospital-a"))


async def test_what_is_asked_of_all_namespaces_is_asked_of_each_that_may_be_seen(cluster: ScopedCluster) -> None:
    found = await cluster.list(FEDERATED_DATASET)

    assert [each["metadata"]["namespace"] for each in found] == ["hospital-a"]


async def test_a_data_set_elsewhere_reads_as_absent(cluster: ScopedCluster) -> None:
    assert await cluster.get(FEDERATED_DATASET, "hospital-a", "visits")
    with pytest.raises(NotFound, match="serves research, hospital-a alone"):
        await cluster.get(FEDERATED_DATASET, "hospital-b", "visits")


async def test_a_namespace_that_may_be_seen_is_read(cluster: ScopedCluster) -> None:
    assert (await cluster.get(NAMESPACE, "", "hospital-a"))["metadata"]["name"] == "hospital-a"


async def test_what_is_written_goes_where_it_says(cluster: ScopedCluster) -> None:
    made = await cluster.create(CONFIG_MAP, {"metadata": {"name": "a", "namespace": "research", "labels": {"x": "y"}}})
    await cluster.patch(CONFIG_MAP, "research", "a", {"data": {"b": "c"}})

    assert made["metadata"]["namespace"] == "research"
    assert [each["data"] for each in await cluster.list(CONFIG_MAP, "research", {"x": "y"})] == [{"b": "c"}]
    await cluster.delete(CONFIG_MAP, "research", "a")
    assert await cluster.list(CONFIG_MAP, "research") == []
