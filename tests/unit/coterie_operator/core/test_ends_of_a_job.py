"""How a job ends when its aggregator does, what it says, and that no end is taken back."""

from __future__ import annotations

import pytest
from tests.unit.coterie_operator import builders
from tests.unit.coterie_operator.core.last_words import DROP, word
from tests.unit.coterie_operator.world import STANDING, Script, World

from coterie_api.errors import FieldError
from coterie_api.v1alpha1.conditions import ConditionStatus, ConditionType
from coterie_operator.act.actor import KINDS
from coterie_operator.cluster import FEDERATED_JOB


@pytest.mark.parametrize("end", ["succeed", "fail"])
async def test_the_end_never_flips_and_nothing_is_recreated(end: str) -> None:
    world = await (await World().start()).until_running()
    world.scripts["aggregator"] = Script("Succeeded") if end == "succeed" else Script("Failed", 64, word("TooFewSurvivors", "2 of 4"))
    await world.settle()
    before = (await world.job()).status

    for obj in await world.children(*STANDING):
        await world.cluster.delete(KINDS[obj["kind"]], obj["metadata"]["namespace"], obj["metadata"]["name"])
    world.scripts["aggregator"] = Script("Running")
    await world.pass_time(days=3)

    assert (await world.job()).status == before
    assert await world.children(*STANDING) == []


async def test_a_finished_job_can_not_be_resumed_or_revoked_into_another_end() -> None:
    world = await (await World().start()).until_running()
    world.scripts["aggregator"] = Script("Succeeded")
    await world.settle()
    before = (await world.job()).status.conditions

    await world.cluster.patch(FEDERATED_JOB, *builders.JOB, {"spec": {"suspend": True}})
    await world.settle()
    await world.cluster.patch(FEDERATED_JOB, *builders.JOB, {"spec": {"suspend": False, "activeDeadlineSeconds": 1}})
    await world.pass_time(hours=1)

    assert (await world.job()).status.conditions == before


async def test_what_still_runs_a_while_after_a_failure_is_ended() -> None:
    world = await (await World().start()).until_running()
    world.scripts["aggregator"] = Script("Failed", 64, word("TooFewSurvivors", "2 came and 4 were needed"))
    await world.settle()
    assert len(await world.clients()) == 5

    await world.pass_time(seconds=31)

    assert await world.clients() == {}
    failed = await world.condition(ConditionType.FAILED)
    assert (failed.reason, failed.message) == ("TooFewSurvivors", "2 came and 4 were needed")


async def test_a_task_that_fails_to_import_fails_the_job_before_any_tenants_pod_starts() -> None:
    world = await World().start()
    said = word("TaskImportFailed", "ModuleNotFoundError at task.py:3")
    world.scripts["aggregator"] = Script("Failed", 64, said, container="initialize")

    await world.settle()

    failed = await world.condition(ConditionType.FAILED)
    assert (failed.status, failed.reason) == (ConditionStatus.TRUE, "TaskImportFailed")
    assert "task.py:3" in failed.message
    assert not any(namespace != "research" for _, namespace, _ in await world.names())


async def test_logs_of_clients_that_end_by_themselves_after_a_failure_stay() -> None:
    world = await (await World().start()).until_running()
    world.scripts = {"aggregator": Script("Failed", 64, word("TooFewSurvivors")), "client": Script("Succeeded")}

    await world.pass_time(seconds=31)

    assert len(await world.clients()) == 5


async def test_an_aggregator_whose_image_can_not_be_pulled_says_so() -> None:
    world = await World().start()
    world.scripts["aggregator"] = Script("Pending", waiting="ImagePullBackOff", told='Back-off pulling image "x": ErrImagePull: not found')

    await world.settle()

    running = await world.condition(ConditionType.RUNNING)
    assert (running.reason, running.status) == ("ImagePullBackOff", ConditionStatus.FALSE)
    assert "the aggregator in namespace research does not run: image registry.example/aggregator can't be pulled" in running.message
    assert (await world.job()).status.message == running.message


async def test_a_job_that_started_goes_on_even_if_a_newer_operator_would_refuse_it(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await (await World().start()).until_running()
    refused = (FieldError("spec.task", "this", "that"),)
    monkeypatch.setattr("coterie_operator.observe.gather.validate_job", lambda _: refused)

    await world.settle()

    assert world.true(await world.job(), ConditionType.RUNNING)


async def test_an_aggregator_that_fails_more_often_than_allowed_fails_the_job() -> None:
    world = await World().start(builders.job(backoffLimit=2))
    world.scripts["aggregator"] = Script("Failed", 1)

    await world.settle()

    assert (await world.condition(ConditionType.FAILED)).reason == "BackoffLimitExceeded"


async def test_an_unknown_word_of_an_aggregator_is_no_reason() -> None:
    world = await World().start()
    world.scripts["aggregator"] = Script("Failed", 64, word("SomethingNew", "what happened"))

    await world.settle()

    failed = await world.condition(ConditionType.FAILED)
    assert (failed.reason, failed.message) == ("BackoffLimitExceeded", "what happened")


async def test_drops_of_the_last_attempt_are_named_in_the_failures_message() -> None:
    world = await (await World().start()).until_running()
    drop = {"client": "hospital-b/visits", "reason": "NotFinite", "where": "task.py:31"}
    world.scripts["aggregator"] = Script("Failed", 64, word("TooFewSurvivors", "3 came and 4 were needed", progress={"drops": [drop]}))

    await world.settle()

    message = (await world.condition(ConditionType.FAILED)).message
    assert "hospital-b/visits: the update holds NaN or infinity" in message
    assert "task.py:31" in message


@pytest.mark.parametrize("said", ["WrongShape", "NotFinite"])
async def test_an_initial_model_that_does_not_fit_is_a_model_refused(said: str) -> None:
    world = await World().start()
    world.scripts["aggregator"] = Script("Failed", 64, word(said, "tensor 'weight' is float32[2], the layout needs float32[3]"))

    await world.settle()

    failed = await world.condition(ConditionType.FAILED)
    assert (failed.status, failed.reason) == (ConditionStatus.TRUE, "ModelRefused")
    assert "needs float32[3]" in failed.message


async def test_a_client_is_named_once_in_the_message_of_the_end() -> None:
    world = await World().start()
    said = "2 came and 4 were needed; someone/else: the task's code could not be imported"
    world.scripts["aggregator"] = Script("Failed", 64, word("TooFewSurvivors", said, progress={"drops": [DROP]}))

    await world.settle()

    assert (await world.condition(ConditionType.FAILED)).message == said


async def test_an_output_that_can_not_be_written_is_tried_again_and_then_the_reason() -> None:
    world = await (await World().start()).until_running()
    told = "the model could not be written to spec.output: model.safetensors: No space left on device"
    world.scripts["aggregator"] = Script("Failed", exit_code=70, word=word("OutputFailed", told))

    await world.settle()

    failed = await world.condition(ConditionType.FAILED)
    assert (failed.status, failed.reason, failed.message) == (ConditionStatus.TRUE, "OutputFailed", told)
    assert (await world.job()).status.attempts.aggregator > 0
