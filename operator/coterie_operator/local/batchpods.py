"""The pods of a batch Job, sorted by how they stand, and what its podFailurePolicy says of the failed ones. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from coterie_operator.cluster import Object

if TYPE_CHECKING:
    from collections.abc import Iterable

TRACKING: Final = "batch.kubernetes.io/job-tracking"  # the finalizer by which a pod is counted exactly once


class Stand(StrEnum):
    """How a pod counts for its Job."""

    ACTIVE = "active"
    TERMINATING = "terminating"  # going, but not at its end yet
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Pods:
    """A Job's pods by stand; `fresh` are the finished ones that have not been counted."""

    by_stand: dict[Stand, list[Object]]

    def count(self, stand: Stand) -> int:
        """Return how many pods stand so."""
        return len(self.by_stand[stand])

    def fresh(self, stand: Stand) -> list[Object]:
        """Return the pods of a stand that still carry the tracking finalizer."""
        return [pod for pod in self.by_stand[stand] if TRACKING in (pod["metadata"].get("finalizers") or ())]

    @property
    def ready(self) -> int:
        return sum(_is_ready(pod) for pod in self.by_stand[Stand.ACTIVE])

    @property
    def restarts(self) -> int:
        """Return how often containers of the active pods have been started again."""
        return sum(status.get("restartCount", 0) for pod in self.by_stand[Stand.ACTIVE] for status in _statuses(pod))


@dataclass(frozen=True, slots=True)
class Match:
    """What a rule of the policy says of a failed pod."""

    fails_job: bool = False
    counts: bool = True
    message: str = ""


def sort_pods(job: Object, pods: Iterable[Object]) -> Pods:
    """Sort a Job's pods; with podReplacementPolicy Failed a pod that is going has failed only once it has ended."""
    found = Pods({stand: [] for stand in Stand})
    waits = job["spec"]["podReplacementPolicy"] == "Failed"
    for pod in pods:
        found.by_stand[_stand(pod, waits=waits)].append(pod)
    return found


def _stand(pod: Object, *, waits: bool) -> Stand:
    phase = pod.get("status", {}).get("phase")
    if phase == "Succeeded":
        return Stand.SUCCEEDED
    if phase == "Failed":
        return Stand.FAILED
    if "deletionTimestamp" in pod["metadata"]:
        return Stand.TERMINATING if waits else Stand.FAILED
    return Stand.ACTIVE


def match_policy(job: Object, pod: Object) -> Match:
    """Return what the first matching rule of the Job's podFailurePolicy says of a failed pod."""
    rules = (job["spec"].get("podFailurePolicy") or {}).get("rules", [])
    for index, rule in enumerate(rules):
        said = _exit_codes(rule, pod) or _conditions(rule, pod)
        if said and rule["action"] == "FailJob":
            where = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
            return Match(fails_job=True, message=said.replace("POD", where) + f" matching FailJob rule at index {index}")
        if said:
            return Match(counts=rule["action"] != "Ignore")
    return Match()


def _exit_codes(rule: Object, pod: Object) -> str:
    wanted = rule.get("onExitCodes")
    if not wanted:
        return ""
    for status in _statuses(pod):
        code = status.get("state", {}).get("terminated", {}).get("exitCode", 0)
        is_named = wanted.get("containerName") in (None, status["name"])
        if code != 0 and is_named and (code in wanted["values"]) == (wanted["operator"] == "In"):
            return f"Container {status['name']} for pod POD failed with exit code {code}"
    return ""


def _conditions(rule: Object, pod: Object) -> str:
    for wanted in rule.get("onPodConditions") or ():
        for condition in pod.get("status", {}).get("conditions") or ():
            if condition["type"] == wanted["type"] and condition["status"] == wanted.get("status", "True"):
                return f"Pod POD has condition {condition['type']}"
    return ""


def _statuses(pod: Object) -> list[Object]:
    status = pod.get("status", {})
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


def _is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def finished_at(pod: Object) -> str:
    """Return when the last of a pod's containers ended; empty if that isn't known."""
    ends = [status.get("state", {}).get("terminated", {}).get("finishedAt") or "" for status in _statuses(pod)]
    return max(ends, default="")
