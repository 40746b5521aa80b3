from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.unit.coterie_operator.kube.virtual_time import now, run

from coterie_operator.cluster import CONFIG_MAP, Kind, NotFound, Object, Unavailable
from coterie_operator.leader import LEASE, Candidate, Elector, GuardedCluster, Timing
from coterie_operator.local.memory import MemoryCluster

TIMING = Timing()
CONTENT = {"metadata": {"name": "content", "namespace": "default"}}


class Lost(Exception):
    pass


def lost() -> None:
    raise Lost


class Network:
    """The way from one replica to the API: it may be slow, broken, or deliver a request and lose the answer."""

    def __init__(self, cluster: MemoryCluster) -> None:
        self._cluster = cluster
        self.delay_seconds = 0.0
        self.is_broken = False
        self.loses_answers = False

    async def _pass(self) -> None:
        if self.is_broken:
            raise Unavailable("connection refused")
        if self.delay_seconds:
            await asyncio.sleep(self.delay_seconds)

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        await self._pass()
        return await self._cluster.get(kind, namespace, name)

    async def create(self, kind: Kind, obj: Object) -> Object:
        await self._pass()
        return await self._cluster.create(kind, obj)

    async def patch(self, kind: Kind, namespace: str, name: str, body: Object, **options: Any) -> Object:
        await self._pass()
        done = await self._cluster.patch(kind, namespace, name, body, **options)
        if self.loses_answers:
            raise Unavailable("connection reset")
        return done


def elector(network: Any, identity: str = "a") -> Elector:
    return Elector(network, Candidate("default", "operator", identity), TIMING, clock=now, lost=lost)


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


async def stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def until_leading(one: Elector, limit_seconds: float = 120) -> None:
    async with asyncio.timeout(limit_seconds):
        while one.seconds_left() <= 0:
            await asyncio.sleep(0.1)


async def holder(cluster: MemoryCluster) -> str | None:
    found: str | None = (await cluster.get(LEASE, "default", "operator"))["spec"].get("holderIdentity")
    return found


def test_the_first_candidate_leads_and_keeps_leading() -> None:
    async def program() -> None:
        cluster = MemoryCluster()
        one = elector(cluster)
        task = asyncio.create_task(one.lead(forever))
        await until_leading(one)
        await asyncio.sleep(3600)

        assert one.seconds_left() > 0
        assert await holder(cluster) == "a"
        await stop(task)

    run(program())


def test_a_second_candidate_does_no_work_while_the_first_lives() -> None:
    async def program() -> None:
        cluster, worked = MemoryCluster(), []

        async def work() -> None:
            worked.append("b")

        one, two = elector(cluster), elector(cluster, "b")
        first = asyncio.create_task(one.lead(forever))
        await until_leading(one)
        second = asyncio.create_task(two.lead(work))
        await asyncio.sleep(3600)

        assert worked == []
        assert two.seconds_left() <= 0
        await stop(second)
        await stop(first)

    run(program())


def test_a_leader_that_stops_hands_over_within_a_retry() -> None:
    async def program() -> None:
        cluster = MemoryCluster()
        one, two = elector(cluster), elector(cluster, "b")
        first = asyncio.create_task(one.lead(forever))
        await until_leading(one)
        second = asyncio.create_task(two.lead(forever))
        await asyncio.sleep(5)
        await stop(first)
        stopped = now()
        await until_leading(two)

        assert now() - stopped <= TIMING.retry_seconds + 0.2
        await stop(second)

    run(program())


def test_a_dead_leader_is_replaced_but_not_before_its_lease_ends() -> None:
    async def program() -> None:
        cluster = MemoryCluster()
        network = Network(cluster)
        one, two = elector(network), elector(cluster, "b")
        first = asyncio.create_task(one.lead(forever))
        await until_leading(one)
        second = asyncio.create_task(two.lead(forever))
        await asyncio.sleep(5)
        network.is_broken = True
        with pytest.raises(ExceptionGroup) as caught:
            await first
        lost_at = now()
        await until_leading(two)

        assert caught.group_contains(Lost)
        assert now() - lost_at >= TIMING.lease_seconds - TIMING.renew_deadline_seconds - TIMING.retry_seconds
        assert now() - lost_at <= TIMING.lease_seconds + TIMING.retry_seconds
        await stop(second)

    run(program())


@pytest.mark.parametrize("trouble", ["is_broken", "delay_seconds"])
def test_two_replicas_never_may_write_at_once(trouble: str) -> None:
    async def program() -> None:
        cluster = MemoryCluster()
        network = Network(cluster)
        one, two = elector(network), elector(cluster, "b")
        first = asyncio.create_task(one.lead(forever))
        await until_leading(one)
        second = asyncio.create_task(two.lead(forever))
        await asyncio.sleep(20)
        setattr(network, trouble, 60.0)
        for _ in range(600):
            assert not (one.seconds_left() > 0 and two.seconds_left() > 0)
            await asyncio.sleep(0.1)
        with pytest.raises(ExceptionGroup):
            await first
        await stop(second)

    run(program())


def test_a_renewal_whose_answer_is_lost_does_not_count() -> None:
    async def program() -> None:
        network = Network(MemoryCluster())
        one = elector(network)
        task = asyncio.create_task(one.lead(forever))
        await until_leading(one)
        network.loses_answers = True
        with pytest.raises(ExceptionGroup) as caught:
            await task

        assert caught.group_contains(Lost)
        assert now() <= TIMING.renew_deadline_seconds + TIMING.retry_seconds

    run(program())


def test_one_slow_answer_costs_nothing() -> None:
    async def program() -> None:
        network = Network(MemoryCluster())
        one = elector(network)
        task = asyncio.create_task(one.lead(forever))
        await until_leading(one)
        network.delay_seconds = 60
        await asyncio.sleep(TIMING.retry_seconds + 1)
        network.delay_seconds = 0
        await asyncio.sleep(60)

        assert one.seconds_left() > 0
        await stop(task)

    run(program())


def test_a_lease_taken_by_force_ends_the_leader_at_its_next_renewal() -> None:
    async def program() -> None:
        cluster = MemoryCluster()
        one = elector(cluster)
        task = asyncio.create_task(one.lead(forever))
        await until_leading(one)
        await cluster.patch(LEASE, "default", "operator", {"spec": {"holderIdentity": "thief"}})
        with pytest.raises(ExceptionGroup) as caught:
            await task

        assert caught.group_contains(Lost)
        assert now() <= 2 * TIMING.retry_seconds
        assert await holder(cluster) == "thief"

    run(program())


def test_a_foreign_clock_does_not_matter() -> None:
    async def program() -> None:
        cluster = MemoryCluster()
        ancient = {"holderIdentity": "b", "renewTime": "2001-01-01T00:00:00.000000Z", "leaseDurationSeconds": 10}
        await cluster.create(LEASE, {"metadata": {"name": "operator", "namespace": "default"}, "spec": ancient})
        one = elector(cluster)
        task = asyncio.create_task(one.lead(forever))
        await until_leading(one)

        assert now() >= 10
        await stop(task)

    run(program())


def test_work_that_fails_frees_the_lease_and_is_heard() -> None:
    async def program() -> None:
        cluster = MemoryCluster()

        async def work() -> None:
            raise KeyError("work")

        with pytest.raises(ExceptionGroup) as caught:
            await elector(cluster).lead(work)

        assert caught.group_contains(KeyError)
        assert await holder(cluster) is None

    run(program())


def test_a_replica_without_the_lease_writes_nothing() -> None:
    async def program() -> None:
        cluster = MemoryCluster()
        guarded = GuardedCluster(cluster, elector(cluster))

        with pytest.raises(Unavailable):
            await guarded.create(CONFIG_MAP, CONTENT)
        with pytest.raises(Unavailable):
            await guarded.patch(CONFIG_MAP, "default", "content", {"data": {"a": "b"}})
        with pytest.raises(Unavailable):
            await guarded.delete(CONFIG_MAP, "default", "content")
        with pytest.raises(NotFound):
            await guarded.get(CONFIG_MAP, "default", "content")

    run(program())


def test_a_write_that_outlives_the_lease_is_given_up() -> None:
    async def program() -> None:
        cluster = MemoryCluster()
        network = Network(cluster)
        one = elector(cluster)
        task = asyncio.create_task(one.lead(forever))
        await until_leading(one)
        network.delay_seconds = TIMING.lease_seconds
        started = now()
        with pytest.raises(Unavailable, match="longer than the lease"):
            await GuardedCluster(network, one).create(CONFIG_MAP, CONTENT)

        assert now() - started <= TIMING.lease_seconds
        await stop(task)

    run(program())


def test_the_leader_writes() -> None:
    async def program() -> None:
        cluster = MemoryCluster()
        one = elector(cluster)
        task = asyncio.create_task(one.lead(forever))
        await until_leading(one)
        await GuardedCluster(cluster, one).create(CONFIG_MAP, CONTENT)

        assert await cluster.get(CONFIG_MAP, "default", "content")
        await stop(task)

    run(program())
