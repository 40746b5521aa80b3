from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from coterie_operator.local.admission import default_batch_job
from coterie_operator.local.batchpods import TRACKING
from coterie_operator.local.batchrules import Retry, Verdict, judge
from coterie_operator.local.times import stamp

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
POLICY = {
    "rules": [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [64]}},
    ]
}


def batch_job(status=None, **spec):
    template = {"spec": {"restartPolicy": spec.pop("restartPolicy", "Never"), "containers": [{"name": "main"}]}}
    job = {"metadata": {"name": "job", "namespace": "ns", "uid": "u"}, "spec": {"backoffLimit": 2, "template": template, **spec}}
    default_batch_job(job)
    job["status"] = status or {}
    return job


def pod(name, phase, code=None, *, is_counted=False, is_going=False, ago=1000, conditions=()):
    ended = {"exitCode": code, "finishedAt": stamp(NOW - timedelta(seconds=ago))}
    state = {} if code is None else {"terminated": ended}
    metadata = {"name": name, "namespace": "ns", "finalizers": [] if is_counted else [TRACKING]}
    if is_going:
        metadata["deletionTimestamp"] = stamp(NOW)
    status = {"phase": phase, "containerStatuses": [{"name": "main", "state": state}], "conditions": list(conditions)}
    return {"metadata": metadata, "status": status}


def look(job, *pods, now=NOW) -> Verdict:
    return judge(job, list(pods), now, Retry())


def conditions(verdict: Verdict) -> dict[str, str]:
    return {c["type"]: c["reason"] for c in verdict.status.get("conditions", []) if c["status"] == "True"}


def test_a_new_job_starts_one_pod() -> None:
    verdict = look(batch_job())

    assert verdict.create == 1
    assert verdict.status["startTime"] == stamp(NOW)
    assert conditions(verdict) == {}


def test_a_running_pod_is_active_and_gets_no_twin() -> None:
    verdict = look(batch_job(), pod("a", "Running"))

    assert (verdict.create, verdict.status["active"]) == (0, 1)


def test_a_succeeded_pod_completes_the_job() -> None:
    verdict = look(batch_job(), pod("a", "Succeeded", 0))

    assert conditions(verdict) == {"SuccessCriteriaMet": "CompletionsReached", "Complete": "CompletionsReached"}
    assert (verdict.status["succeeded"], verdict.status["completionTime"]) == (1, stamp(NOW))
    assert (verdict.create, verdict.release) == (0, ("a",))


def test_a_failed_pod_is_replaced_after_the_backoff() -> None:
    soon = look(batch_job(), pod("a", "Failed", 1, ago=4))
    later = look(batch_job(), pod("a", "Failed", 1, ago=10))

    assert (soon.create, soon.again_seconds) == (0, 6.0)
    assert (later.create, later.again_seconds) == (1, None)
    assert soon.status["failed"] == 1


def test_the_backoff_doubles_with_each_failure() -> None:
    pods = [pod("a", "Failed", 1, is_counted=True), pod("b", "Failed", 1, is_counted=True), pod("c", "Failed", 1, ago=5)]

    assert look(batch_job(backoffLimit=9), *pods).again_seconds == 35.0


def test_a_pod_is_counted_once() -> None:
    verdict = look(batch_job({"failed": 1, "startTime": stamp(NOW)}), pod("a", "Failed", 1, is_counted=True))

    assert verdict.status["failed"] == 1
    assert verdict.release == ()


def test_more_failures_than_the_limit_fail_the_job() -> None:
    verdict = look(batch_job({"failed": 2}), pod("c", "Failed", 70))

    assert conditions(verdict) == {"FailureTarget": "BackoffLimitExceeded", "Failed": "BackoffLimitExceeded"}
    assert verdict.create == 0


def test_as_many_failures_as_the_limit_do_not_fail_the_job() -> None:
    assert conditions(look(batch_job({"failed": 1}), pod("b", "Failed", 70))) == {}


def test_a_terminal_exit_status_fails_the_job_at_once() -> None:
    verdict = look(batch_job(podFailurePolicy=POLICY), pod("a", "Failed", 64))
    said = next(c for c in verdict.status["conditions"] if c["type"] == "Failed")

    assert conditions(verdict)["Failed"] == "PodFailurePolicy"
    assert said["message"] == "Container main for pod ns/a failed with exit code 64 matching FailJob rule at index 1"


def test_another_exit_status_does_not_match_the_policy() -> None:
    assert conditions(look(batch_job(podFailurePolicy=POLICY), pod("a", "Failed", 65))) == {}


def test_a_disrupted_pod_does_not_count_as_a_failure() -> None:
    disrupted = pod("a", "Failed", 137, conditions=[{"type": "DisruptionTarget", "status": "True"}])
    verdict = look(batch_job({"failed": 2}, podFailurePolicy=POLICY), disrupted)

    assert verdict.status["failed"] == 2
    assert conditions(verdict) == {}
    assert (verdict.create, verdict.release) == (1, ("a",))


def test_a_pod_that_is_going_is_not_replaced_before_its_end() -> None:
    verdict = look(batch_job(podFailurePolicy=POLICY), pod("a", "Running", is_going=True))

    assert (verdict.create, verdict.status["terminating"]) == (0, 1)
    assert "failed" not in verdict.status


def test_without_a_policy_a_pod_that_is_going_is_replaced_at_once() -> None:
    assert look(batch_job(), pod("a", "Running", is_going=True)).create == 1


def test_the_deadline_ends_the_pods_and_then_the_job() -> None:
    job = batch_job({"startTime": stamp(NOW - timedelta(seconds=60))}, activeDeadlineSeconds=60)
    first = look(job, pod("a", "Running"))
    job["status"] = first.status
    going = look(job, pod("a", "Running", is_going=True, is_counted=True))
    job["spec"]["podReplacementPolicy"] = "Failed"
    held = look(job, pod("a", "Running", is_going=True))
    last = look(job, pod("a", "Failed", 137))

    assert (conditions(first), first.delete) == ({"FailureTarget": "DeadlineExceeded"}, ("a",))
    assert conditions(going)["Failed"] == "DeadlineExceeded"
    assert "Failed" not in conditions(held)
    assert conditions(last)["Failed"] == "DeadlineExceeded"


def test_a_job_before_its_deadline_is_looked_at_again_then() -> None:
    job = batch_job({"startTime": stamp(NOW)}, activeDeadlineSeconds=60)

    assert look(job, pod("a", "Running"), now=NOW + timedelta(seconds=20)).again_seconds == 40.0


def test_a_suspended_job_has_no_pods_and_no_start() -> None:
    verdict = look(batch_job({"startTime": stamp(NOW)}, suspend=True), pod("a", "Running"))

    assert (verdict.create, verdict.delete) == (0, ("a",))
    assert conditions(verdict) == {"Suspended": "JobSuspended"}
    assert "startTime" not in verdict.status


def test_a_resumed_job_starts_anew() -> None:
    suspended = look(batch_job(suspend=True))
    verdict = look(batch_job(suspended.status), now=NOW + timedelta(seconds=9))

    assert verdict.create == 1
    assert conditions(verdict) == {}
    assert verdict.status["startTime"] == stamp(NOW + timedelta(seconds=9))


@pytest.mark.parametrize("kind", ["Complete", "Failed"])
def test_a_finished_job_never_changes_again(kind: str) -> None:
    status = {"conditions": [{"type": kind, "status": "True", "reason": "x", "message": ""}], "failed": 1}
    verdict = look(batch_job(status), pod("b", "Failed", 64), pod("c", "Succeeded", 0))

    assert verdict.status == status
    assert (verdict.create, verdict.release) == (0, ("c", "b"))


def test_a_succeeded_job_waits_for_its_other_pods_to_end() -> None:
    verdict = look(batch_job(), pod("a", "Succeeded", 0), pod("b", "Running"))

    assert conditions(verdict) == {"SuccessCriteriaMet": "CompletionsReached"}
    assert verdict.delete == ("b",)


def test_restarts_in_place_count_against_the_limit() -> None:
    running = pod("a", "Running")
    running["status"]["containerStatuses"][0]["restartCount"] = 2

    assert conditions(look(batch_job(restartPolicy="OnFailure"), running)) == {"FailureTarget": "BackoffLimitExceeded"}


def test_restarts_of_a_sidecar_do_not_count_against_the_limit() -> None:
    running = pod("a", "Running")
    running["status"]["initContainerStatuses"] = [{"name": "side", "restartCount": 50, "state": {}}]

    assert conditions(look(batch_job(), running)) == {}


def test_parallel_pods_are_as_many_as_are_still_needed() -> None:
    job = batch_job({"succeeded": 2}, completions=5, parallelism=4)

    assert look(job, pod("a", "Running")).create == 2
