"""From objects of the API to classified children."""

from __future__ import annotations

from typing import Any

import pytest

from coterie_operator.core.children import Outcome
from coterie_operator.observe.children import children

CREATED = "2026-08-01T12:00:00Z"


def obj(kind: str, name: str, role: str = "client", attempt: str = "0", **more: Any) -> dict[str, Any]:
    labels = {"coterie.dev/job-uid": "u1", "coterie.dev/role": role, "coterie.dev/attempt": attempt, "coterie.dev/dataset": "visits"}
    meta = {"name": name, "namespace": "hospital-a", "uid": f"uid-{name}", "creationTimestamp": CREATED, "labels": labels}
    return {"kind": kind, "metadata": {**meta, **more.pop("metadata", {})}, **more}


def pod(name: str, owner: str, **status: Any) -> dict[str, Any]:
    owners = [{"kind": "Job", "name": owner, "uid": f"uid-{owner}", "controller": True}]
    return obj("Pod", name, metadata={"ownerReferences": owners}, status=status)


def condition(kind: str, status: str = "True") -> dict[str, Any]:
    return {"conditions": [{"type": kind, "status": status, "reason": "BackoffLimitExceeded", "lastTransitionTime": CREATED}]}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({}, Outcome.ACTIVE),
        (condition("Complete"), Outcome.COMPLETE),
        (condition("Failed"), Outcome.FAILED),
        (condition("Failed", "False"), Outcome.ACTIVE),
        (condition("FailureTarget"), Outcome.ACTIVE),
        (condition("SuccessCriteriaMet"), Outcome.ACTIVE),
        (condition("Suspended"), Outcome.ACTIVE),
    ],
)
def test_a_batch_job_has_ended_only_when_it_says_so(status: dict[str, Any], expected: Outcome) -> None:
    (job,) = children([obj("Job", "j", status=status)]).batch_jobs

    assert job.outcome is expected


def test_pods_belong_to_the_batch_job_that_controls_them() -> None:
    found = children(
        [obj("Job", "a"), obj("Job", "b"), pod("p", "b", phase="Running", podIP="127.0.0.2"), pod("q", "gone", phase="Running")]
    )

    jobs = {job.child.name: job for job in found.batch_jobs}
    assert jobs["a"].pods == ()
    assert [entry.child.name for entry in jobs["b"].pods] == ["p"]
    assert len(found.pods) == 2


def test_attempts_are_numbers_and_not_text() -> None:
    found = children([obj("Job", name, attempt=name[1:]) for name in ("j9", "j10", "j2")])

    assert [job.child.attempt for job in found.clients("hospital-a")] == [2, 9, 10]


def test_a_label_that_is_no_number_is_attempt_zero() -> None:
    (job,) = children([obj("Job", "j", attempt="x")]).batch_jobs

    assert job.child.attempt == 0


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"phase": "Pending"}, False),
        ({"phase": "Pending", "initContainerStatuses": [{"name": "initialize", "state": {"running": {}}}]}, False),
        ({"phase": "Pending", "initContainerStatuses": [{"name": "initialize", "state": {"terminated": {"exitCode": 1}}}]}, False),
        ({"phase": "Pending", "initContainerStatuses": [{"name": "evaluator", "state": {"terminated": {"exitCode": 0}}}]}, False),
        ({"phase": "Pending", "initContainerStatuses": [{"name": "initialize", "state": {"terminated": {"exitCode": 0}}}]}, True),
        ({"phase": "Running"}, True),
    ],
)
def test_the_model_is_made_when_initialize_has_ended_well(status: dict[str, Any], expected: bool) -> None:
    (entry,) = children([pod("p", "j", **status)]).pods

    assert entry.is_initialized is expected


def test_an_evaluators_last_word_decides_nothing() -> None:
    said = '{"reason": "TaskImportFailed", "message": ""}'
    status = {
        "phase": "Running",
        "initContainerStatuses": [{"name": "evaluator", "state": {"terminated": {"exitCode": 64, "message": said}}}],
    }
    (entry,) = children([pod("p", "j", **status)]).pods

    assert entry.termination is None


def test_a_pod_that_is_going_does_not_run() -> None:
    raw = pod("p", "j", phase="Running", podIP="127.0.0.2")
    raw["metadata"]["deletionTimestamp"] = CREATED
    (entry,) = children([raw]).pods

    assert not entry.is_running
