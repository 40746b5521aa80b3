"""A job that succeeds without all of its data says so, in its message, its condition and its tenants."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.coterie_operator import builders
from tests.unit.coterie_operator.world import Script, World

from coterie_api.progress import SENTENCES as DROP_SENTENCES
from coterie_api.progress import DropReason
from coterie_api.v1alpha1.conditions import SENTENCES, ConditionType
from coterie_api.v1alpha1.types import FederatedJobStatus, Reason, TenantState
from coterie_operator.cluster import EVENT, FEDERATED_DATASET, Forbidden

DONE = SENTENCES[Reason.ROUNDS_COMPLETED]
WORD = {"reason": "RoundsCompleted", "message": ""}


async def end(world: World, word: dict[str, Any] = WORD) -> FederatedJobStatus:
    """Let the job succeed."""
    world.scripts["aggregator"] = Script("Succeeded", word=word)
    await world.settle()
    job = await world.job()
    assert world.true(job, ConditionType.SUCCEEDED)
    return job.status


def state(status: FederatedJobStatus, namespace: str) -> tuple[str, str, str]:
    found = next(tenant for tenant in status.tenants if tenant.namespace == namespace)
    return found.state.value, found.reason, found.message


async def test_nothing_is_said_where_nobody_is_missing() -> None:
    status = await end(await (await World().start()).until_running())

    assert status.message == DONE
    assert {tenant.state for tenant in status.tenants} == {TenantState.DONE}


async def test_clients_that_have_ended_well_took_part() -> None:
    world = await (await World().start()).until_running()
    world.scripts["client"] = Script("Succeeded")

    assert (await end(world)).message == DONE


async def _lost(world: World) -> None:
    world.scripts["client/hospital-c"] = Script("Failed", exit_code=64, word={"reason": "NoData", "message": ""})


async def _revoked(world: World) -> None:
    await world.cluster.patch(FEDERATED_DATASET, "hospital-c", "visits", {"spec": {"grants": []}})


async def _failing(world: World) -> None:
    world.scripts["client/hospital-c"] = Script("Failed", exit_code=70, word={"reason": "TaskRaised", "message": ""})


MISSING = {"lost": (_lost, "NoData"), "revoked": (_revoked, "ConsentRevoked"), "between two attempts": (_failing, "TaskRaised")}


@pytest.mark.parametrize(("befall", "reason"), MISSING.values(), ids=MISSING.keys())
async def test_a_tenant_that_is_missing_at_the_end_is_counted_out(befall: Any, reason: str) -> None:
    world = await (await World().start()).until_running()
    await befall(world)
    await world.settle()

    status = await end(world)

    said = DROP_SENTENCES[DropReason(reason)] if reason in list(DropReason) else SENTENCES[Reason(reason)]
    expected = f"{DONE}; 4 of 5 data sets took part to the end; hospital-c/visits: {said}"
    assert status.message == (await world.condition(ConditionType.SUCCEEDED)).message == expected
    assert state(status, "hospital-c")[:2] == ("Failed", reason)
    assert "another attempt" not in state(status, "hospital-c")[2]
    assert expected in {event["message"] for event in await world.cluster.list(EVENT, "research")}


FAILED = {"reason": "TaskRaised", "errorClass": "ValueError", "where": "task.py:3", "incident": "ab12cd34"}
TOLD = f"hospital-c/visits: {DROP_SENTENCES[DropReason.TASK_RAISED]} (ValueError at task.py:3), incident ab12cd34"


def word_with(*clients: str) -> dict[str, Any]:
    """The aggregator's last word, where these clients failed in the last round."""
    return {**WORD, "progress": {"roundsDone": 10, "drops": [{**FAILED, "client": client} for client in clients]}}


async def test_a_client_that_stays_and_fails_is_named_with_why() -> None:
    """Its pod runs to the end, so that only the aggregator knows that nothing came of it."""
    world = await (await World().start()).until_running()

    status = await end(world, word_with("hospital-c/visits"))

    assert status.message == (await world.condition(ConditionType.SUCCEEDED)).message == f"{DONE}; absent in the last round: {TOLD}"
    assert state(status, "hospital-c") == ("Done", "TaskRaised", TOLD)
    assert state(status, "hospital-b") == ("Done", "", "")


async def test_of_many_clients_that_failed_the_message_names_the_first() -> None:
    world = await (await World().start()).until_running()

    status = await end(world, word_with(*(f"{name}/visits" for name in builders.TENANTS)))

    assert [name in status.message for name in builders.TENANTS] == [True, True, True, False, False]
    assert status.message.endswith("; and 2 more")


async def test_an_evaluation_that_failed_is_told_beside_them() -> None:
    """Its numbers are missing from a model that is there: nothing else says so."""
    world = await (await World().start()).until_running()
    word = word_with("hospital-c/visits")
    word["progress"]["evaluationFailure"] = {**FAILED, "client": "", "reason": "NoData", "errorClass": "", "where": ""}

    status = await end(world, word)

    failed = "the newest evaluation failed: the data set has no examples, incident ab12cd34 in the evaluator's log"
    expected = f"{DONE}; absent in the last round: {TOLD}; {failed}"
    assert status.message == (await world.condition(ConditionType.SUCCEEDED)).message == expected


async def test_an_absence_of_nobody_in_the_job_is_not_told() -> None:
    world = await (await World().start()).until_running()

    assert (await end(world, word_with("smith/john"))).message == DONE


async def test_a_client_whose_pod_never_ran_did_not_take_part() -> None:
    world = await World(scripts={"client/hospital-c": Script("Pending", waiting="ImagePullBackOff")}).start()
    status = await end(await world.until_running())

    assert "; 4 of 5 data sets took part to the end; hospital-c/visits: image " in status.message
    assert state(status, "hospital-c")[:2] == ("Failed", "ImagePullBackOff")


async def test_a_data_set_that_was_left_out_at_the_start_is_counted_out() -> None:
    world = await World().start(hospital_e=builders.dataset("hospital-e", grants=[]))

    status = await end(await world.until_running())

    assert status.message == f"{DONE}; 4 of 5 data sets took part to the end"
    assert state(status, "hospital-e")[:2] == ("Skipped", "NotGranted")


async def test_a_job_that_stopped_early_says_it_too() -> None:
    world = await World().start(hospital_e=builders.dataset("hospital-e", grants=[]))

    status = await end(await world.until_running(), {"reason": "StoppedEarly", "message": ""})

    assert status.message == f"{SENTENCES[Reason.STOPPED_EARLY]}; 4 of 5 data sets took part to the end"


async def test_what_can_not_be_seen_is_not_counted_out() -> None:
    world = await (await World().start()).until_running()
    world.scripts["aggregator"] = Script("Succeeded", word=WORD)
    await world.pods()
    listing = world.cluster.list

    async def closed(kind: Any, namespace: str | None = None, *rest: Any, **more: Any) -> Any:
        if namespace == "hospital-c":
            raise Forbidden("no")
        return await listing(kind, namespace, *rest, **more)

    world.cluster.list = closed  # type: ignore[method-assign]
    await world.reconcile()

    assert (await world.job()).status.message == DONE
