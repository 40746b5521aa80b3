"""Watches count as synced from the moment when they have seen all there is, until they break."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.unit.coterie_operator import builders

from coterie_operator.catchup import CatchUp
from coterie_operator.cluster import FEDERATED_DATASET, FEDERATED_JOB, NAMESPACE, POD, Change, Forbidden, Notice
from coterie_operator.handlers import _Replica
from coterie_operator.local.memory import MemoryCluster
from coterie_operator.loop import Backoff
from coterie_operator.loop.watchers import Watchers
from coterie_operator.metrics import OperatorMetrics, RequestMetrics
from coterie_operator.settings import Settings


class Scripted:
    """A cluster whose watch says what the test puts into the queue."""

    def __init__(self) -> None:
        self.says: asyncio.Queue[Any] = asyncio.Queue()

    async def watch(self, *_: object) -> Any:
        while True:
            said = await self.says.get()
            if isinstance(said, Exception):
                raise said
            yield said


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_watch_is_synced_after_its_list_and_not_after_its_end() -> None:
    cluster = Scripted()
    watchers = Watchers(cluster, lambda _: None, Backoff(1000, 1000))  # type: ignore[arg-type]
    task = asyncio.create_task(watchers.watch(POD, "n"))
    watchers._tasks["n", "Pod"] = task

    def counts() -> tuple[int, int]:
        return watchers.count(POD, synced=True), watchers.count(POD, synced=False)

    cluster.says.put_nowait(Notice(Change.ADDED, {}))
    await settle()
    assert counts() == (0, 1)

    cluster.says.put_nowait(Notice(Change.SYNCED, {}))
    await settle()
    assert counts() == (1, 0)

    cluster.says.put_nowait(Forbidden("no"))
    await settle()
    assert counts() == (0, 1)

    watchers.keep(set())
    assert counts() == (0, 0)
    await asyncio.gather(task, return_exceptions=True)


def synced(metrics: OperatorMetrics) -> dict[str, bool]:
    """Return which kinds count as synced, and see that no kind counts as both or neither."""
    found: dict[str, dict[str, float]] = {}
    for sample in next(iter(metrics.watches.collect())).samples:
        found.setdefault(sample.labels["kind"], {})[sample.labels["synced"]] = sample.value
    assert all(sorted(each.values()) == [0, 1] for each in found.values()), found
    return {kind: each["true"] == 1 for kind, each in found.items()}


async def test_a_kind_of_kopfs_is_synced_once_it_watches_and_has_told_of_all_there_was() -> None:
    cluster, metrics, is_watching = MemoryCluster(), OperatorMetrics(), asyncio.Event()
    await cluster.create(NAMESPACE, {"metadata": {"name": "a"}})
    await cluster.create(FEDERATED_DATASET, builders.dataset("a"))
    catch_up = CatchUp(cluster, (FEDERATED_JOB, FEDERATED_DATASET, NAMESPACE))
    for kind in catch_up.kinds:
        await catch_up.owe(kind)
    catch_up.show(metrics.watches, is_watching.is_set)
    assert synced(metrics) == {"FederatedJob": False, "FederatedDataset": False, "Namespace": False}, "nobody watches yet"

    is_watching.set()
    assert synced(metrics) == {"FederatedJob": True, "FederatedDataset": False, "Namespace": False}, "there is no job to tell of"

    catch_up.told(NAMESPACE, {"name": "a"})
    catch_up.told(FEDERATED_DATASET, {"namespace": "a", "name": "visits"})
    assert synced(metrics) == {"FederatedJob": True, "FederatedDataset": True, "Namespace": False}, "`default` is owed"

    catch_up.told(NAMESPACE, {"name": "default"})
    assert synced(metrics) == {"FederatedJob": True, "FederatedDataset": True, "Namespace": True}


OURS = {"FederatedJob", "FederatedDataset"}


@pytest.mark.parametrize(("namespaces", "kinds"), [((), OURS | {"Namespace"}), (("a",), OURS)], ids=["a whole cluster", "one namespace"])
async def test_a_replica_counts_each_kind_that_kopf_watches_from_the_start(namespaces: tuple[str, ...], kinds: set[str]) -> None:
    cluster = MemoryCluster()
    cluster.metrics = RequestMetrics()  # type: ignore[attr-defined]
    settings = Settings(namespaces=namespaces)
    await cluster.create(NAMESPACE, {"metadata": {"name": settings.namespace}})
    await cluster.create(NAMESPACE, {"metadata": {"name": "a"}})

    replica = await _Replica.prepare(cluster, settings)  # type: ignore[arg-type]

    metrics = replica._controller.metrics
    counted = {sample.labels["kind"] for sample in next(iter(metrics.watches.collect())).samples}
    assert counted == {"Job", "Pod"} | kinds
    assert metrics.registry.get_sample_value("coterie_watches", {"kind": "FederatedJob", "synced": "true"}) == 0

    replica._kopf_ready.set()
    assert metrics.registry.get_sample_value("coterie_watches", {"kind": "FederatedJob", "synced": "true"}) == 1
