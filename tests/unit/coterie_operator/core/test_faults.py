"""What must survive: children deleted by hand, operators that die or stand beside each other, clients that fail."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.coterie_operator import builders
from tests.unit.coterie_operator.world import ALONE, RUNNING, Script, World

from coterie_api.errors import FieldError
from coterie_api.v1alpha1.conditions import ConditionStatus, ConditionType
from coterie_api.v1alpha1.types import TenantState
from coterie_operator.act import NotLeader
from coterie_operator.act.actor import KINDS
from coterie_operator.cluster import (
    BATCH_JOB,
    CLAIM,
    CONFIG_MAP,
    EVENT,
    FEDERATED_JOB,
    NETWORK_POLICY,
    NO_LABELS,
    SECRET,
    SERVICE,
    Conflict,
    Forbidden,
    Unavailable,
)
from coterie_operator.core.actions import AddFinalizer, Create, Plan
from coterie_operator.settings import Settings

STANDING = (BATCH_JOB, CLAIM, CONFIG_MAP, NETWORK_POLICY, SERVICE)
DROP = {
    "client": "someone/else",
    "reason": "TaskImportFailed",
    "errorClass": "ModuleNotFoundError",
    "where": "task.py:3",
    "incident": "ab12cd34",
}
SECRETS = "Smith, John: 1.5"


def word(reason: str, message: str = "", **more: Any) -> dict[str, Any]:
    return {"reason": reason, "message": message, **more}


@pytest.mark.parametrize("kind", STANDING, ids=[kind.kind for kind in STANDING])
async def test_each_child_deleted_by_hand_comes_back(kind: Any) -> None:
    world = await (await World().start()).until_running()
    before = await world.names(*STANDING)

    for obj in await world.children(kind):
        await world.cluster.delete(kind, obj["metadata"]["namespace"], obj["metadata"]["name"])
        await world.settle()

        assert await world.names(*STANDING) == before


async def test_a_certificate_deleted_by_hand_comes_back_before_the_next_pod_needs_it() -> None:
    world = await (await World().start()).until_running()
    (secret,) = await world.children(SECRET)
    await world.cluster.delete(SECRET, secret["metadata"]["namespace"], secret["metadata"]["name"])
    (aggregator,) = await world.aggregators()
    await world.cluster.delete(BATCH_JOB, "research", aggregator["metadata"]["name"])

    await world.settle()

    assert [obj["metadata"]["name"] for obj in await world.children(SECRET)] == [secret["metadata"]["name"]]


async def test_a_certificate_that_a_waiting_pod_misses_comes_back() -> None:
    world = await World().start()
    world.scripts["aggregator"] = Script("Pending")
    await world.settle()
    (secret,) = await world.children(SECRET)
    await world.cluster.delete(SECRET, secret["metadata"]["namespace"], secret["metadata"]["name"])

    await world.pass_time(seconds=21)

    assert len(await world.children(SECRET)) == 1


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(0, 1000), min_size=1, max_size=6), st.integers(1, 6))
async def test_children_deleted_at_any_time_lead_to_the_same_end(choices: list[int], passes: int) -> None:
    world = await World(progress=RUNNING).start(tenants=3)
    for choice in choices:
        for _ in range(passes):
            try:
                await world.reconcile()
            except Conflict:
                continue
            await world.pods()
        children = sorted(await world.names(*STANDING))
        if children:
            kind, namespace, name = children[choice % len(children)]
            await world.cluster.delete(KINDS[kind], namespace, name)
    await world.settle()
    reference = await World(progress=RUNNING).start(tenants=3)
    await reference.settle()

    shape = sorted((kind, namespace) for kind, namespace, _ in await world.names(*STANDING))
    assert shape == sorted((kind, namespace) for kind, namespace, _ in await reference.names(*STANDING))
    assert world.true(await world.job(), ConditionType.RUNNING)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.booleans(), min_size=4, max_size=30))
async def test_two_operators_at_once_make_no_duplicate_children(turns: list[bool]) -> None:
    world = await World(progress=RUNNING).start(tenants=3)
    operators = [world.controller, world.another_controller()]
    for turn in turns:
        try:
            await world.reconcile(operators[turn])
        except Conflict:
            continue
        await world.pods()
    await world.settle()

    assert len(await world.aggregators()) == 1
    assert set(await world.clients()) == set(builders.TENANTS[:3])


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 60))
async def test_an_operator_killed_at_any_write_is_followed_by_one_that_ends_the_same(writes: int) -> None:
    world = await World(progress=RUNNING).start(tenants=3)
    left = [writes]

    def leads() -> bool:
        left[0] -= 1
        return left[0] >= 0

    world.leads = leads
    for _ in range(12):
        try:
            await world.reconcile()
        except NotLeader:
            break
        except Conflict:
            continue
        await world.pods()
    world.leads = lambda: True
    world.controller = world.another_controller()
    await world.settle()

    assert len(await world.aggregators()) == 1
    assert set(await world.clients()) == set(builders.TENANTS[:3])
    assert world.true(await world.job(), ConditionType.RUNNING)


async def test_a_replica_that_does_not_lead_writes_nothing() -> None:
    world = await World(leads=lambda: False).start()
    before = (await world.job()).metadata.resource_version

    with pytest.raises(NotLeader):
        await world.reconcile()

    assert (await world.job()).metadata.resource_version == before


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
    world.scripts["aggregator"] = Script("Pending", waiting="ImagePullBackOff")

    await world.settle()

    running = await world.condition(ConditionType.RUNNING)
    assert (running.reason, running.status) == ("Starting", ConditionStatus.FALSE)
    assert "ImagePullBackOff" in running.message


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


async def test_an_exhausted_client_is_tried_again_after_a_wait() -> None:
    world = await (await World().start()).until_running()
    world.scripts["client/hospital-b"] = Script("Failed", 1)
    await world.settle()
    tenants = {tenant.namespace: tenant for tenant in (await world.job()).status.tenants}
    assert tenants["hospital-b"].state is TenantState.BACKING_OFF

    world.scripts.clear()
    await world.pass_time(seconds=11)

    job = (await world.clients())["hospital-b"]
    assert job["metadata"]["name"].endswith("-1")
    assert {tenant.attempt for tenant in (await world.job()).status.tenants if tenant.namespace == "hospital-b"} == {1}


async def test_waits_between_a_clients_attempts_double_up_to_a_bound() -> None:
    world = await (await World(settings=Settings(client_backoff_max_seconds=25)).start()).until_running()
    world.scripts["client/hospital-b"] = Script("Failed", 1)
    await world.settle()

    names = []
    for seconds in (9, 2, 18, 3, 24, 2, 24, 2):
        await world.pass_time(seconds=seconds)
        names.append((await world.clients())["hospital-b"]["metadata"]["name"][-1])

    assert names == ["0", "1", "1", "2", "2", "3", "3", "4"]


async def test_a_client_that_can_not_go_on_is_not_tried_again_and_the_job_goes_on() -> None:
    world = await (await World().start()).until_running()
    world.scripts["client/hospital-b"] = Script("Failed", 64, word("NoData"))
    await world.pass_time(hours=2)

    assert (await world.clients())["hospital-b"]["metadata"]["name"].endswith("-0")
    assert world.true(await world.job(), ConditionType.RUNNING)
    tenants = {tenant.namespace: tenant for tenant in (await world.job()).status.tenants}
    assert (tenants["hospital-b"].state, tenants["hospital-b"].reason) == (TenantState.FAILED, "NoData")


async def test_too_many_clients_that_can_not_go_on_fail_the_job_and_are_named() -> None:
    world = await (await World().start()).until_running()
    for name in ("hospital-b", "hospital-d"):
        world.scripts[f"client/{name}"] = Script("Failed", 64, word("TaskImportFailed", SECRETS, drop=DROP))

    await world.settle()

    failed = await world.condition(ConditionType.FAILED)
    assert (failed.status, failed.reason) == (ConditionStatus.TRUE, "TaskImportFailed")
    assert "hospital-b/visits: the task's code could not be imported (ModuleNotFoundError at task.py:3)" in failed.message
    assert "3 of 5 clients can go on and 4 are needed" in failed.message


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


@pytest.mark.parametrize(
    "said",
    [
        word("TaskRaised", SECRETS),
        word(SECRETS, SECRETS),
        word(
            "TaskRaised", "", drop={"client": SECRETS, "reason": "TaskRaised", "errorClass": SECRETS, "where": SECRETS, "incident": SECRETS}
        ),
        word("TaskRaised", "", drop={"client": "a/b", "reason": "TaskRaised", "errorClass": "E" * 65, "where": f"task.py:1 {SECRETS}"}),
        word("TaskRaised", "", progress={"phase": SECRETS}),
    ],
)
async def test_no_text_of_a_clients_pod_ever_reaches_the_job(said: dict[str, Any]) -> None:
    world = await (await World().start()).until_running()
    for name in builders.TENANTS[:3]:
        world.scripts[f"client/{name}"] = Script("Failed", 64, said)

    await world.settle()

    raw = str(await world.cluster.get(FEDERATED_JOB, *builders.JOB))
    assert "Smith" not in raw
    assert "E" * 65 not in raw


async def test_a_clients_words_are_its_own_whoever_it_says_it_is() -> None:
    world = await (await World().start()).until_running()
    world.scripts["client/hospital-b"] = Script("Failed", 64, word("TaskImportFailed", drop=DROP))

    await world.settle()

    tenants = {tenant.namespace: tenant for tenant in (await world.job()).status.tenants}
    assert tenants["hospital-b"].message.startswith("hospital-b/visits:")


async def test_a_job_without_a_quorum_by_the_deadline_lets_all_go_and_tries_again() -> None:
    world = await World(progress=ALONE).start()
    await world.settle()
    assert len(await world.clients()) == 5

    await world.pass_time(seconds=601)

    assert await world.children(BATCH_JOB) == []
    assert len(await world.children(CLAIM)) == 1, "the checkpoint stays"
    assert (await world.condition(ConditionType.ADMITTED)).reason == "QuorumNotMet"
    await world.pass_time(seconds=61)
    assert {obj["metadata"]["name"][-2:] for obj in await world.children(BATCH_JOB)} == {"-1"}


async def test_the_wait_before_the_next_assembly_is_between_one_and_two_times_the_setting_and_differs_between_jobs() -> None:
    waits = set()
    for _ in range(5):
        world = await World(progress=ALONE).start(tenants=3)
        await world.settle()
        await world.pass_time(seconds=600)
        status = (await world.job()).status
        assert status.assembly_time is not None
        waits.add(status.assembly_time)

    assert len(waits) > 1
    assert all("2026-08-01T12:10:30Z" <= wait <= "2026-08-01T12:11:00Z" for wait in waits)


async def test_a_job_that_runs_is_not_let_go_when_the_assembly_deadline_passes() -> None:
    world = await (await World().start()).until_running()

    await world.pass_time(seconds=3600)

    assert world.true(await world.job(), ConditionType.RUNNING)
    assert len(await world.clients()) == 5


async def test_nothing_is_let_go_as_long_as_a_running_aggregator_can_not_be_read() -> None:
    world = await World().start()
    await world.settle()
    world.progress = None

    await world.pass_time(seconds=3600)

    assert len(await world.clients()) == 5


@pytest.mark.parametrize("text", ["exceeded quota: tenants, requested: count/jobs.batch=1", "is forbidden: cannot create resource"])
async def test_a_refused_child_is_a_condition_and_tried_again(text: str) -> None:
    world = await World().start()
    await world.settle()

    refusing = _Refusing(world, text)
    await world.cluster.delete(BATCH_JOB, "hospital-b", (await world.clients())["hospital-b"]["metadata"]["name"])
    await world.reconcile()

    expected = "QuotaExceeded" if "quota" in text else "TenantAccessMissing"
    admitted = await world.condition(ConditionType.ADMITTED)
    assert (admitted.status, admitted.reason) == (ConditionStatus.FALSE, expected)
    assert "count/jobs" not in admitted.message, "a tenant's quota is not the author's business"
    tenants = {tenant.namespace: tenant for tenant in (await world.job()).status.tenants}
    assert tenants["hospital-b"].reason == expected
    refusing.stop()
    await world.settle()
    assert (await world.condition(ConditionType.ADMITTED)).status is ConditionStatus.TRUE
    assert len(await world.clients()) == 5


async def test_access_that_goes_while_the_job_runs_is_told_and_revokes_nothing() -> None:
    world = await (await World().start()).until_running()
    listing = world.cluster.list

    async def closed(kind: Any, namespace: str | None = None, labels: Any = NO_LABELS) -> Any:
        if (kind, namespace) == (CONFIG_MAP, "hospital-b"):
            raise Forbidden("cannot list")
        return await listing(kind, namespace, labels)

    world.cluster.list = closed  # type: ignore[method-assign]
    await world.reconcile()

    admitted = await world.condition(ConditionType.ADMITTED)
    assert (admitted.status, admitted.reason) == (ConditionStatus.FALSE, "TenantAccessMissing")
    assert "hospital-b" in admitted.message
    job = await world.job()
    assert world.true(job, ConditionType.RUNNING)
    assert [tenant.reason for tenant in job.status.tenants if tenant.namespace == "hospital-b"] == ["TenantAccessMissing"]
    world.cluster.list = listing  # type: ignore[method-assign]
    await world.settle()
    assert set(await world.clients()) == set(builders.TENANTS)
    assert (await world.condition(ConditionType.ADMITTED)).status is ConditionStatus.TRUE


async def test_a_namespace_that_can_not_be_read_holds_a_deletion_back_for_a_while_only() -> None:
    world = await (await World().start()).until_running()
    listing = world.cluster.list

    async def closed(kind: Any, namespace: str | None = None, labels: Any = NO_LABELS) -> Any:
        if (kind, namespace) == (CONFIG_MAP, "hospital-b"):
            raise Forbidden("cannot list")
        return await listing(kind, namespace, labels)

    world.cluster.list = closed  # type: ignore[method-assign]
    await world.cluster.delete(FEDERATED_JOB, *builders.JOB)
    await world.settle()
    assert await world.exists()

    await world.pass_time(seconds=301)

    assert not await world.exists()
    events = await listing(EVENT, "research")
    assert {event["reason"] for event in events} <= {"CleanupIncomplete"}, "events of a job go with it"


class _Refusing:
    """Makes the cluster refuse every creation."""

    def __init__(self, world: World, text: str) -> None:
        self.world = world
        self.create = world.cluster.create

        async def refuse(*_: Any) -> Any:
            raise Forbidden(text)

        world.cluster.create = refuse  # type: ignore[method-assign]

    def stop(self) -> None:
        self.world.cluster.create = self.create  # type: ignore[method-assign]


async def test_an_api_that_can_not_be_reached_changes_nothing() -> None:
    world = await (await World().start()).until_running()
    before = (await world.job()).status

    async def down(*_: Any) -> Any:
        raise Unavailable("no route to host")

    listing, world.cluster.list = world.cluster.list, down  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        await world.reconcile()
    world.cluster.list = listing  # type: ignore[method-assign]

    assert (await world.job()).status == before
    await world.settle()
    assert world.true(await world.job(), ConditionType.RUNNING)


async def test_children_of_a_former_job_of_the_same_name_go() -> None:
    world = await World().start()
    await world.settle()
    former = (await world.job()).key.uid
    # The operator was not there to see the deletion, and somebody took the finalizer away.
    await world.cluster.patch(FEDERATED_JOB, *builders.JOB, {"metadata": {"finalizers": None}})
    await world.cluster.delete(FEDERATED_JOB, *builders.JOB)
    await world.cluster.create(FEDERATED_JOB, builders.job())

    await world.settle()

    assert former not in {obj["metadata"]["labels"]["coterie.dev/job-uid"] for obj in await world.children(*STANDING)}
    assert len(await world.clients()) == 5


async def test_the_finalizer_goes_in_the_end_even_if_a_pod_does_not() -> None:
    world = await (await World().start()).until_running()
    pod = next(iter(await world.cluster.list(KINDS["Pod"], "hospital-b")))
    await world.cluster.patch(KINDS["Pod"], "hospital-b", pod["metadata"]["name"], {"metadata": {"finalizers": ["example.com/stuck"]}})
    await world.cluster.delete(FEDERATED_JOB, *builders.JOB)
    await world.settle()
    assert await world.exists()

    await world.pass_time(seconds=301)

    assert not await world.exists()


async def test_two_jobs_of_one_name_in_two_namespaces_do_not_meet() -> None:
    world = await World().start()
    await world.settle()
    uid = (await world.job()).key.uid

    from coterie_operator.manifests.client import client_name
    from coterie_operator.manifests.naming import DatasetKey, JobKey

    key = DatasetKey("hospital-a", "visits")
    assert client_name(JobKey("research", "fashion", uid), key, 0) != client_name(JobKey("other", "fashion", "another-uid"), key, 0)


def _creations(plan: Plan) -> list[str]:
    return [action.obj["kind"] for action in plan.actions if isinstance(action, Create)]


async def test_a_finalizer_taken_away_by_hand_comes_back_before_anything_else() -> None:
    world = await (await World().start()).until_running()
    await world.cluster.patch(FEDERATED_JOB, *builders.JOB, {"metadata": {"finalizers": None}})

    plan = await world.reconcile()

    assert isinstance(plan.actions[0], AddFinalizer)
    assert _creations(plan) == []


async def test_an_output_that_can_not_be_written_is_tried_again_and_then_the_reason() -> None:
    world = await (await World().start()).until_running()
    told = "the model could not be written to spec.output: model.safetensors: No space left on device"
    world.scripts["aggregator"] = Script("Failed", exit_code=70, word=word("OutputFailed", told))

    await world.settle()

    failed = await world.condition(ConditionType.FAILED)
    assert (failed.status, failed.reason, failed.message) == (ConditionStatus.TRUE, "OutputFailed", told)
    assert (await world.job()).status.attempts.aggregator > 0
