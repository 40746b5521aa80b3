"""When a replica has seen all that there was."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.unit.coterie_operator import builders
from tests.unit.coterie_operator.kube.virtual_time import run

from coterie_operator.catchup import CatchUp
from coterie_operator.cluster import FEDERATED_DATASET, NAMESPACE, Unavailable
from coterie_operator.local.memory import MemoryCluster

KINDS = (FEDERATED_DATASET, NAMESPACE)


async def world(*tenants: str) -> MemoryCluster:
    cluster = MemoryCluster()
    for tenant in tenants:
        await cluster.create(NAMESPACE, {"metadata": {"name": tenant}})
        await cluster.create(FEDERATED_DATASET, builders.dataset(tenant))
    return cluster


async def caught(cluster: Any) -> CatchUp:
    found = CatchUp(cluster, KINDS)
    for kind in KINDS:
        await found.owe(kind)
    return found


async def test_each_object_is_owed_until_it_is_told_of() -> None:
    catch_up = await caught(await world("a", "b"))
    assert catch_up.owed == 5, "two data sets, their namespaces and `default`"

    for name in ("a", "b"):
        catch_up.told(FEDERATED_DATASET, {"namespace": name, "name": "visits"})
        catch_up.told(NAMESPACE, {"name": name})
    catch_up.told(NAMESPACE, {"name": "default"})

    assert catch_up.owed == 0


async def test_news_of_something_else_pays_nothing() -> None:
    catch_up = await caught(await world("a"))

    for metadata in ({"namespace": "b", "name": "visits"}, {"namespace": "a", "name": "other"}):
        catch_up.told(FEDERATED_DATASET, metadata)

    assert catch_up.owed == 3


def test_what_has_gone_untold_is_not_waited_for() -> None:
    async def program() -> None:
        cluster = await world("a", "b")
        catch_up = await caught(cluster)
        for name in ("default", "a", "b"):
            catch_up.told(NAMESPACE, {"name": name})
        catch_up.told(FEDERATED_DATASET, {"namespace": "a", "name": "visits"})
        await cluster.delete(FEDERATED_DATASET, "b", "visits")

        await catch_up.forgive()

        assert catch_up.owed == 0

    run(program())


def test_what_is_there_is_waited_for_however_long() -> None:
    async def program() -> None:
        catch_up = await caught(await world("a"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600):
                await catch_up.forgive()

        assert catch_up.owed == 3

    run(program())


def test_an_api_server_that_is_away_forgives_nothing() -> None:
    class Away:
        """Answers the first two questions, then once not."""

        def __init__(self, cluster: MemoryCluster) -> None:
            self._cluster = cluster
            self.asked = 0

        async def list(self, kind: Any) -> Any:
            self.asked += 1
            if self.asked == len(KINDS) + 1:
                raise Unavailable("refused")
            return [] if self.asked > len(KINDS) else await self._cluster.list(kind)

    async def program() -> None:
        away = Away(await world("a"))
        catch_up = await caught(away)

        await catch_up.forgive()

        assert (catch_up.owed, away.asked) == (0, 2 * len(KINDS) + 1)

    run(program())
