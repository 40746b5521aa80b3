"""The status of data sets: written from what there is, only on change, whatever was heard and whoever leads."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.coterie_operator import builders
from tests.unit.coterie_operator.world import AUTHORITY, Script, World

from coterie_api.v1alpha1.types import FederatedDatasetStatus, FederatedJobStatus, Frozen, FrozenDataset
from coterie_operator.act import NotLeader
from coterie_operator.cluster import FEDERATED_DATASET, FEDERATED_JOB, Kind, Unavailable
from coterie_operator.core.observed import stamp
from coterie_operator.loop import Controller
from coterie_operator.observe import read_dataset
from coterie_operator.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from coterie_operator.cluster import Object

QUICK = Settings(coalesce_seconds=0.0, retry_seconds=0.01, retry_max_seconds=0.02, resync_seconds=60)
ALL = set(builders.TENANTS)


async def told(world: World) -> dict[str, FederatedDatasetStatus]:
    return {raw["metadata"]["namespace"]: read_dataset(raw).status for raw in await world.cluster.list(FEDERATED_DATASET)}


async def active(world: World) -> set[str]:
    return {name for name, status in (await told(world)).items() if status.active_jobs}


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not await holds():
            await asyncio.sleep(0.01)


def count_writes(world: World) -> list[str]:
    """Note each write to a data set from now on."""
    written: list[str] = []
    patch = world.cluster.patch

    async def counted(kind: Kind, namespace: str, name: str, body: Object, *, status: bool = False) -> Object:
        if kind == FEDERATED_DATASET:
            assert status, "the spec is the owner's"
            written.append(namespace)
        return await patch(kind, namespace, name, body, status=status)

    world.cluster.patch = counted  # type: ignore[method-assign]
    return written


async def test_every_data_set_is_told_whether_it_is_accepted_and_how_many_jobs_use_it() -> None:
    world = await (await World().start(hospital_e=builders.dataset("hospital-e", identity={}))).until_running()

    await world.controller.tell_datasets()

    statuses = await told(world)
    assert {name: (status.conditions[0].reason, status.active_jobs) for name, status in statuses.items()} == {
        **dict.fromkeys(ALL - {"hospital-e"}, ("Accepted", 1)),
        "hospital-e": ("InvalidSpec", 0),
    }
    assert {status.observed_generation for status in statuses.values()} == {1}


async def test_two_jobs_on_the_same_data_are_two() -> None:
    world = await (await World().start()).until_running()
    raw = builders.job()
    raw["metadata"]["name"] = "second"
    await world.cluster.create(FEDERATED_JOB, raw)
    for _ in range(3):
        await world.controller.process(("research", "second"))

    await world.controller.tell_datasets()

    assert {status.active_jobs for status in (await told(world)).values()} == {2}


async def test_what_has_not_changed_is_not_written() -> None:
    world = await (await World().start()).until_running()
    written = count_writes(world)

    await world.controller.tell_datasets()
    assert set(written) == ALL
    world.now = world.now.replace(hour=23)
    await world.another_controller().tell_datasets()

    assert len(written) == len(ALL)


async def test_the_end_of_a_job_ends_its_use() -> None:
    world = await (await World().start()).until_running()
    await world.controller.tell_datasets()
    assert await active(world) == ALL
    world.scripts["aggregator"] = Script("Succeeded")
    await world.settle()

    await world.controller.tell_datasets()

    assert await active(world) == set()


async def test_a_revoked_data_set_is_used_no_more() -> None:
    world = await (await World().start()).until_running()
    await world.cluster.patch(FEDERATED_DATASET, "hospital-b", "visits", {"spec": {"grants": []}})
    await world.settle()

    await world.controller.tell_datasets()

    assert await active(world) == ALL - {"hospital-b"}


async def test_a_data_set_of_the_same_name_is_not_the_one_that_the_job_began_with() -> None:
    world = await (await World().start()).until_running()
    await world.cluster.delete(FEDERATED_DATASET, "hospital-b", "visits")
    await world.cluster.create(FEDERATED_DATASET, builders.dataset("hospital-b"))

    await world.controller.tell_datasets()

    assert await active(world) == ALL - {"hospital-b"}


@pytest.fixture
async def world() -> World:
    made = await World(settings=QUICK).start()
    made.controller = Controller(made.cluster, made, QUICK, AUTHORITY, clock=lambda: made.now)
    return made


async def test_a_running_operator_tells_a_jobs_beginning_and_end_without_being_asked(world: World) -> None:
    task = asyncio.create_task(world.controller.run())

    async def used() -> bool:
        return await active(world) == ALL

    async def unused() -> bool:
        return await active(world) == set()

    await until(used)
    await world.cluster.delete(FEDERATED_JOB, *builders.JOB)
    world.controller.enqueue(builders.JOB)
    await until(unused)
    task.cancel()


async def test_a_changed_data_set_is_told_anew(world: World) -> None:
    task = asyncio.create_task(world.controller.run())

    async def accepted(expected: bool) -> bool:
        return [answer.is_true for answer in (await told(world))["hospital-a"].conditions] == [expected]

    await until(lambda: accepted(True))
    await world.cluster.patch(FEDERATED_DATASET, "hospital-a", "visits", {"spec": {"identity": {"publicKey": ""}}})
    world.controller.dataset_changed(("hospital-a", "visits"))
    await until(lambda: accepted(False))
    task.cancel()


@pytest.mark.parametrize("kind", [FEDERATED_JOB, FEDERATED_DATASET], ids=["jobs", "data sets"])
async def test_an_api_that_is_away_is_asked_again(world: World, kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    left = [4]
    verb = "list" if kind == FEDERATED_JOB else "patch"
    call = getattr(world.cluster, verb)

    async def shaky(asked: Kind, *rest: Any, **more: Any) -> Any:
        if asked == kind and left[0] > 0:
            left[0] -= 1
            raise Unavailable("503")
        return await call(asked, *rest, **more)

    keeper = world.controller._datasets
    keeper.changed(("hospital-a", "visits"))
    monkeypatch.setattr(world.cluster, verb, shaky)
    task = asyncio.create_task(keeper.run(_at_once))

    async def done() -> bool:
        return left[0] == 0 and bool((await told(world))["hospital-a"].conditions)

    await until(done)
    task.cancel()


async def test_a_bug_in_the_look_at_one_data_set_stops_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    getting = world.cluster.get

    async def cursed(kind: Kind, namespace: str, name: str) -> Any:
        if namespace == "hospital-a":
            raise ZeroDivisionError
        return await getting(kind, namespace, name)

    monkeypatch.setattr(world.cluster, "get", cursed)
    keeper = world.controller._datasets
    await keeper.look_at_all()
    task = asyncio.create_task(keeper.run(_at_once))

    async def others() -> bool:
        return {name for name, status in (await told(world)).items() if status.conditions} == ALL - {"hospital-a"}

    await until(others)
    assert not task.done()
    task.cancel()


async def test_a_standby_writes_nothing(world: World) -> None:
    world.leads = lambda: False
    written = count_writes(world)

    with pytest.raises(NotLeader):
        await world.another_controller().tell_datasets()

    assert written == []


async def test_a_data_set_that_changed_in_between_is_looked_at_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    getting = world.cluster.get
    left = [1]

    async def raced(kind: Kind, namespace: str, name: str) -> Any:
        found = await getting(kind, namespace, name)
        if left[0] > 0:
            left[0] -= 1
            await world.cluster.patch(kind, namespace, name, {"spec": {"declaredRecords": 7}})
        return found

    monkeypatch.setattr(world.cluster, "get", raced)
    keeper = world.controller._datasets
    keeper.changed(("hospital-a", "visits"))
    task = asyncio.create_task(keeper.run(_at_once))

    async def done() -> bool:
        return (await told(world))["hospital-a"].observed_generation == 2

    await until(done)
    task.cancel()


async def test_a_data_set_that_is_gone_is_no_failure(world: World) -> None:
    assert await world.controller._datasets.tell([("hospital-z", "visits")]) == {}


def test_only_a_use_that_begins_or_ends_is_news(world: World) -> None:
    keeper = world.controller._datasets
    keeper.saw(builders.JOB, replace(_started(), round=1))
    assert len(keeper._queue) == 2
    for key in ("a", "b"):
        keeper._queue.forget((key, "visits"))

    keeper.saw(builders.JOB, replace(_started(), round=2))

    assert len(keeper._queue) == 0


def _started() -> FederatedJobStatus:
    roster = tuple(FrozenDataset(name, "visits", name, 1, "") for name in ("a", "b"))
    return FederatedJobStatus(frozen=Frozen(stamp(builders.START), "", datasets=roster))


async def _at_once() -> None:
    """Leads always."""
