"""What keeps each part of a started job from running, named by whose it is. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from coterie_api.v1alpha1.conditions import Reason
from coterie_operator.core.children import BatchJob, Obstacle, Outcome, Pod
from coterie_operator.core.rules.children import present_turn

if TYPE_CHECKING:
    from coterie_api.v1alpha1.types import FrozenDataset
    from coterie_operator.core.rules.started import Started

MAX_NAMED: Final = 3  # of those that can't run, in one message
POD_PATIENCE: Final = timedelta(seconds=30)  # a batch Job without a pod for longer than this is being refused one
VOLUME_PATIENCE: Final = timedelta(seconds=60)  # a pod that is not made for longer than this waits for something that isn't there
REFUSALS: Final = (Reason.QUOTA_EXCEEDED, Reason.POD_REFUSED)  # the namespace does not let the pod be


def present(batch: BatchJob | None, now: datetime) -> Obstacle | None:
    """Return what keeps a batch Job from having a running pod; None if nothing is known to, or it has one, or has ended well."""
    if batch is None or batch.outcome is Outcome.COMPLETE or batch.running_pod is not None:
        return None
    if not batch.pods:
        is_late = batch.outcome is Outcome.ACTIVE and now - batch.created > POD_PATIENCE
        return batch.refusal or (_no_pod(batch) if is_late else None)
    # A pod that only begins says nothing yet; what ended the one before it is why it begins.
    return _waits(batch.pods[-1], now) or past(batch)


def past(batch: BatchJob | None) -> Obstacle | None:
    """Return what befell the newest of a batch Job's pods that anything has befallen."""
    pods = batch.pods if batch is not None else ()
    return next((pod.obstacle for pod in reversed(pods) if pod.obstacle is not None), None)


def of_aggregator(start: Started) -> Obstacle | None:
    """Return what keeps the aggregator from running."""
    return present(start.aggregator, start.seen.now) or _troubles(start, start.key.namespace)


def of_client(start: Started, entry: FrozenDataset) -> Obstacle | None:
    """Return what keeps a client from running."""
    turn = present_turn(start, entry)
    return present(turn.job, start.seen.now) or _troubles(start, entry.namespace)


def of_clients(start: Started) -> dict[str, Obstacle]:
    """Return what keeps clients from running, by the client's name, in the order of the roster."""
    found = ((f"{entry.namespace}/{entry.name}", of_client(start, entry)) for entry in start.frozen.datasets)
    return {name: obstacle for name, obstacle in found if obstacle is not None}


def told(obstacles: dict[str, Obstacle]) -> str:
    """Return the first of them in words, and how many more there are; empty if there is none."""
    parts = [f"{name}: {obstacle.message}" for name, obstacle in obstacles.items()]
    rest = len(parts) - MAX_NAMED
    return "; ".join(parts[:MAX_NAMED]) + (f"; and {rest} more" if rest > 0 else "")


def causes(start: Started) -> str:
    """Return what has befallen the aggregator and the clients that don't run, for the message of an end; empty if nothing."""
    aggregator = present(start.aggregator, start.seen.now)
    own = {f"aggregator of {start.key.namespace}/{start.key.name}": aggregator} if aggregator is not None else {}
    clients = of_clients(start)
    for entry in start.frozen.datasets:
        jobs = start.children.clients(entry.namespace)
        befell = past(jobs[-1]) if jobs else None
        if befell is not None:
            clients.setdefault(f"{entry.namespace}/{entry.name}", befell)
    return told({**own, **clients})


def _troubles(start: Started, namespace: str) -> Obstacle | None:
    """Return what the API server said to the operator itself, which is about a namespace."""
    found = next((trouble for trouble in start.seen.troubles if trouble.namespace == namespace), None)
    return Obstacle(found.reason, found.message) if found is not None else None


def _no_pod(batch: BatchJob) -> Obstacle:
    where = f"{batch.child.namespace}/{batch.child.name}"
    told = f"batch Job {where} has no pod: a quota or an admission policy may refuse it; its events say which"
    return Obstacle(Reason.POD_REFUSED, told)


def _waits(pod: Pod, now: datetime) -> Obstacle | None:
    if pod.obstacle is not None or pod.phase != "Pending" or pod.created is None or now - pod.created <= VOLUME_PATIENCE:
        return pod.obstacle
    if pod.waiting not in ("ContainerCreating", ""):
        return None
    where = f"{pod.child.namespace}/{pod.child.name}"
    if pod.has_sandbox:
        return Obstacle(Reason.STARTING, f"the node of pod {where} has pulled its image for longer than {VOLUME_PATIENCE.seconds} seconds")
    told = f"pod {where} has waited for a node or its volumes for longer than {VOLUME_PATIENCE.seconds} seconds; its events say why"
    return Obstacle(Reason.VOLUME_NOT_READY, told)
