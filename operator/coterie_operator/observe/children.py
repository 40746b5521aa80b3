"""From objects of the API to classified children."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from coterie_api.names import LABEL_ATTEMPT, LABEL_DATASET, LABEL_JOB_UID, LABEL_ROLE
from coterie_api.podconfig import Role
from coterie_operator.cluster import Object
from coterie_operator.core.children import BatchJob, Child, Children, Outcome, Pod
from coterie_operator.core.observed import moment
from coterie_operator.observe.obstacles import has_sandbox, mount_obstacle, pod_obstacle, refusal_obstacle
from coterie_operator.observe.words import from_aggregator, from_client

if TYPE_CHECKING:
    from collections.abc import Iterable

    from coterie_api.progress import Termination

SPEAKERS = (Role.AGGREGATOR.value, Role.CLIENT.value, Role.INITIALIZE.value)  # an evaluator never decides anything


Events = Mapping[str, tuple[Object, ...]]  # by the uid of what they are about
NO_EVENTS: Events = {}


def children(objects: Iterable[Object], events: Events = NO_EVENTS) -> Children:
    """Return all objects of a job, sorted out; each carries its `kind`."""
    found: dict[str, list[Object]] = {}
    for obj in objects:
        found.setdefault(obj["kind"], []).append(obj)
    pods = tuple(sorted((_pod(obj, events) for obj in found.pop("Pod", [])), key=lambda pod: str(pod.created)))
    by_owner: dict[str, list[Pod]] = {}
    for pod in pods:
        by_owner.setdefault(pod.owner_uid, []).append(pod)
    jobs = tuple(_batch_job(obj, tuple(by_owner.get(obj["metadata"]["uid"], ())), events) for obj in found.pop("Job", []))
    return Children(jobs, tuple(_child(obj) for others in found.values() for obj in others), pods)


def _child(obj: Object) -> Child:
    meta = obj["metadata"]
    labels = meta.get("labels") or {}
    attempt = str(labels.get(LABEL_ATTEMPT, "0"))
    return Child(
        kind=obj["kind"],
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        job_uid=labels.get(LABEL_JOB_UID, ""),
        role=labels.get(LABEL_ROLE, ""),
        attempt=int(attempt) if attempt.isdecimal() else 0,
        is_going="deletionTimestamp" in meta,
    )


def _batch_job(obj: Object, pods: tuple[Pod, ...], events: Events) -> BatchJob:
    answers = {entry["type"]: entry for entry in (obj.get("status") or {}).get("conditions") or () if entry.get("status") == "True"}
    end = answers.get("Complete") or answers.get("Failed")
    outcome = Outcome.ACTIVE if end is None else Outcome.COMPLETE if "Complete" in answers else Outcome.FAILED
    return BatchJob(
        child=_child(obj),
        outcome=outcome,
        created=moment(obj["metadata"]["creationTimestamp"]),
        ended=moment(end["lastTransitionTime"]) if end is not None and end.get("lastTransitionTime") else None,
        reason=(end or {}).get("reason") or "",
        refusal=refusal_obstacle(events.get(obj["metadata"]["uid"], ())),
        pods=pods,
    )


def _pod(obj: Object, events: Events) -> Pod:
    warnings = events.get(obj["metadata"]["uid"], ())
    meta, status = obj["metadata"], obj.get("status") or {}
    owners = meta.get("ownerReferences") or ()
    containers = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    phase = status.get("phase") or "Pending"
    return Pod(
        child=_child(obj),
        owner_uid=next((owner["uid"] for owner in owners if owner.get("controller")), ""),
        phase=phase,
        ip=status.get("podIP") or "",
        created=moment(meta["creationTimestamp"]),
        is_initialized=phase in ("Running", "Succeeded") or any(_initialized(container) for container in containers),
        waiting=next((reason for container in containers if (reason := _waiting(container))), ""),
        has_sandbox=has_sandbox(obj),
        obstacle=pod_obstacle(obj) or mount_obstacle(warnings),
        is_explained=bool(warnings),
        termination=_termination(meta, containers),
    )


def _initialized(container: dict[str, Any]) -> bool:
    ended = (container.get("state") or {}).get("terminated")
    return container.get("name") == Role.INITIALIZE.value and ended is not None and ended.get("exitCode") == 0


def _waiting(container: dict[str, Any]) -> str:
    waits = (container.get("state") or {}).get("waiting") or {}
    return waits.get("reason") or ""


def _termination(meta: dict[str, Any], containers: list[dict[str, Any]]) -> Termination | None:
    """Return the last word of the pod's main container, or of `initialize` where it ended badly."""
    labels = meta.get("labels") or {}
    client = f"{meta['namespace']}/{labels.get(LABEL_DATASET, '')}"
    is_client = labels.get(LABEL_ROLE) == Role.CLIENT.value
    for container in reversed(containers):
        ended = (container.get("state") or {}).get("terminated")
        if container.get("name") not in SPEAKERS or ended is None:
            continue
        if container.get("name") == Role.INITIALIZE.value and ended.get("exitCode") == 0:
            continue
        said = from_client(ended, client) if is_client else from_aggregator(ended)
        if said is not None:
            return said
    return None
