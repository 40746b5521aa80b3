"""How many clients a round asks, where not all data sets of the job can take part."""

from __future__ import annotations

import json

import pytest
from tests.unit.coterie_operator import builders
from tests.unit.coterie_operator.world import World

from coterie_api.v1alpha1.conditions import ConditionType
from coterie_operator.cluster import CONFIG_MAP


async def start(cohort: int, **missing: builders.Json) -> World:
    world = await World().start(builders.job(5, strategy={"cohortSize": cohort}), **missing)
    await world.settle()
    return world


async def cohorts(world: World) -> set[int]:
    return {json.loads(obj["data"]["job.json"])["strategy"]["cohortSize"] for obj in await world.children(CONFIG_MAP)}


@pytest.mark.parametrize("asked", [5, 4])
async def test_a_round_asks_as_many_as_the_job_says_where_all_take_part(asked: int) -> None:
    assert await cohorts(await start(asked)) == {asked}


async def test_no_more_clients_are_asked_than_take_part() -> None:
    world = await start(5, hospital_e=builders.dataset("hospital-e", grants=[]))

    assert await cohorts(world) == {4}


async def test_a_cohort_below_what_a_data_set_asks_for_fails_the_job_before_it_starts() -> None:
    world = await start(4, hospital_e=builders.dataset("hospital-e", requirements={"minClients": 5}))

    failed = await world.condition(ConditionType.FAILED)
    assert (failed.reason, "spec.strategy.cohortSize: found 4, allowed: at least 5" in failed.message) == ("InvalidSpec", True)
    assert await world.children() == []
