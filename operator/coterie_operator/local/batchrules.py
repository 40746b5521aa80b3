"""What the Job controller does next with one batch Job: the rules of kube-controller-manager for what we rely on. Pure.

Source: Kubernetes' `pkg/controller/job/job_controller.go` (syncJob, manageJob, enactJobFinished) and KEPs 3329, 3939, 3998.
Non-indexed Jobs alone; no success policy; a Job is finished only once none of its pods runs.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from coterie_operator.cluster import Object
from coterie_operator.local.batchpods import Match, Pods, Stand, finished_at, match_policy, sort_pods
from coterie_operator.local.times import moment, stamp

if TYPE_CHECKING:
    from datetime import datetime

FINISHED: Final = ("Complete", "Failed")
SUSPENDED: Final = ("JobSuspended", "Job suspended")
RESUMED: Final = ("JobResumed", "Job resumed")
COMPLETED: Final = ("CompletionsReached", "Reached expected number of succeeded pods")
EXHAUSTED: Final = ("BackoffLimitExceeded", "Job has reached the specified backoff limit")
LATE: Final = ("DeadlineExceeded", "Job was active longer than specified deadline")


@dataclass(frozen=True, slots=True)
class Retry:
    """Seconds before a failed pod is replaced: `first` · 2ⁿ⁻¹ after n failures, at most `limit`. The real one has 10 and 600."""

    first: float = 10.0
    limit: float = 600.0

    def seconds(self, failures: int) -> float:
        """Return the wait after so many failures."""
        return 0.0 if failures == 0 else min(self.limit, self.first * 2.0 ** min(failures - 1, 30))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be done: the status to write, then pods to count off, to delete and to create; and when to look again."""

    status: Object
    release: tuple[str, ...] = ()
    delete: tuple[str, ...] = ()
    create: int = 0
    again_seconds: float | None = None


def judge(job: Object, owned: list[Object], now: datetime, retry: Retry) -> Verdict:
    """Return what is to be done with a Job, given all of its pods."""
    status = copy.deepcopy(job.get("status") or {})
    pods = sort_pods(job, owned)
    fresh = pods.fresh(Stand.SUCCEEDED) + pods.fresh(Stand.FAILED)
    release = tuple(pod["metadata"]["name"] for pod in fresh)
    if any(_has(status, kind) for kind in FINISHED):
        return Verdict(status, release, _names(pods, Stand.ACTIVE))
    matches = [match_policy(job, pod) for pod in pods.fresh(Stand.FAILED)]
    _count(status, pods, matches)
    _begin(job, status, now)
    _decide(job, status, matches, pods, now)
    is_ending = _has(status, "FailureTarget") or _has(status, "SuccessCriteriaMet")
    delete = _names(pods, Stand.ACTIVE) if is_ending or job["spec"]["suspend"] else ()
    if is_ending and not delete and not pods.count(Stand.TERMINATING):
        _finish(status, now)
    create, wait = (0, None) if is_ending or job["spec"]["suspend"] else _wanted(job, status, pods, retry, now)
    return Verdict(status, release, delete, create, _earliest(wait, _until_deadline(job, status, now)))


def _names(pods: Pods, stand: Stand) -> tuple[str, ...]:
    return tuple(pod["metadata"]["name"] for pod in pods.by_stand[stand])


def _count(status: Object, pods: Pods, matches: list[Match]) -> None:
    """Count each finished pod once, and those that are not finished anew."""
    status["succeeded"] = status.get("succeeded", 0) + len(pods.fresh(Stand.SUCCEEDED))
    status["failed"] = status.get("failed", 0) + sum(match.counts for match in matches)
    for member in ("succeeded", "failed"):
        if not status[member]:
            del status[member]
    status["terminating"], status["ready"] = pods.count(Stand.TERMINATING), pods.ready
    status.pop("active", None)
    if pods.count(Stand.ACTIVE):
        status["active"] = pods.count(Stand.ACTIVE)
    status["uncountedTerminatedPods"] = {}


def _begin(job: Object, status: Object, now: datetime) -> None:
    """Keep the start time and the condition Suspended in step with `spec.suspend`."""
    if job["spec"]["suspend"]:
        status.pop("startTime", None)
        _set(status, "Suspended", "True", SUSPENDED, now)
        return
    if _has(status, "Suspended"):
        _set(status, "Suspended", "False", RESUMED, now)
    status.setdefault("startTime", stamp(now))


def _decide(job: Object, status: Object, matches: list[Match], pods: Pods, now: datetime) -> None:
    """Say whether the Job is to fail or has succeeded; the first word holds."""
    if _has(status, "FailureTarget") or _has(status, "SuccessCriteriaMet"):
        return
    doom = next((match for match in matches if match.fails_job), None)
    limit = job["spec"]["backoffLimit"]
    counts_restarts = job["spec"]["template"]["spec"]["restartPolicy"] == "OnFailure"  # with Never, only a sidecar restarts
    deadline = _until_deadline(job, status, now)
    if doom is not None:
        _set(status, "FailureTarget", "True", ("PodFailurePolicy", doom.message), now)
    elif status.get("failed", 0) > limit or (counts_restarts and pods.restarts >= max(limit, 1)):
        _set(status, "FailureTarget", "True", EXHAUSTED, now)
    elif deadline is not None and deadline <= 0:
        _set(status, "FailureTarget", "True", LATE, now)
    elif status.get("succeeded", 0) >= job["spec"]["completions"]:
        _set(status, "SuccessCriteriaMet", "True", COMPLETED, now)


def _finish(status: Object, now: datetime) -> None:
    """Set the final condition for the reason of the interim one."""
    for interim, final in (("FailureTarget", "Failed"), ("SuccessCriteriaMet", "Complete")):
        if said := _has(status, interim):
            _set(status, final, "True", (said["reason"], said["message"]), now)
            if final == "Complete":
                status["completionTime"] = stamp(now)
            return


def _wanted(job: Object, status: Object, pods: Pods, retry: Retry, now: datetime) -> tuple[int, float | None]:
    """Return how many pods to create now, or in how many seconds some will be."""
    spec = job["spec"]
    wanted = min(spec["parallelism"], spec["completions"] - status.get("succeeded", 0))
    holding = pods.count(Stand.TERMINATING) if spec["podReplacementPolicy"] == "Failed" else 0
    missing = wanted - pods.count(Stand.ACTIVE) - holding
    if missing <= 0:
        return 0, None
    failed = pods.by_stand[Stand.FAILED]
    last = max((finished_at(pod) for pod in failed), default="")
    wait = retry.seconds(len(failed)) - ((now - moment(last)).total_seconds() if last else retry.limit)
    return (missing, None) if wait <= 0 else (0, wait)


def _until_deadline(job: Object, status: Object, now: datetime) -> float | None:
    seconds, start = job["spec"].get("activeDeadlineSeconds"), status.get("startTime")
    return None if seconds is None or start is None else float(seconds - (now - moment(start)).total_seconds())


def _earliest(*waits: float | None) -> float | None:
    return min((wait for wait in waits if wait is not None), default=None)


def _has(status: Object, kind: str) -> Object | None:
    """Return the condition of that type if it is True."""
    conditions = status.get("conditions") or ()
    return next((condition for condition in conditions if condition["type"] == kind and condition["status"] == "True"), None)


def _set(status: Object, kind: str, value: str, why: tuple[str, str], now: datetime) -> None:
    conditions = status.setdefault("conditions", [])
    before = next((condition for condition in conditions if condition["type"] == kind), None)
    if before is not None and before["status"] == value:
        return
    if before is not None:
        conditions.remove(before)
    times = {"lastProbeTime": stamp(now), "lastTransitionTime": stamp(now)}
    conditions.append({"type": kind, "status": value, **times, "reason": why[0], "message": why[1]})
