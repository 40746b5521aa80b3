"""A job's children, classified: what decisions need to know about them, and no more."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from coterie_api.podconfig import Role
from coterie_api.progress import Termination
from coterie_api.v1alpha1.conditions import Reason


class Outcome(StrEnum):
    """How a batch Job stands."""

    ACTIVE = "Active"
    COMPLETE = "Complete"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class Child:
    """Any object that carries the labels of a job of this name; whether it is of *this* job, its uid tells."""

    kind: str
    namespace: str
    name: str
    uid: str
    job_uid: str
    role: str = ""
    attempt: int = 0
    is_going: bool = False  # has a deletionTimestamp


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What keeps a pod from running, or has ended it, in words that a person can act on and that don't change by themselves."""

    reason: Reason
    message: str  # a clause without the name of whose pod it is


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod of a batch Job."""

    child: Child
    owner_uid: str
    phase: str
    ip: str = ""
    created: datetime | None = None
    is_initialized: bool = False  # the `initialize` container has ended well, or there is none
    waiting: str = ""  # why a container waits, such as ContainerCreating
    has_sandbox: bool = False  # volumes and network are there, so that a container that waits waits for its image
    obstacle: Obstacle | None = None
    is_explained: bool = False  # there are warnings about it, so that a cause which they don't name isn't there
    termination: Termination | None = None

    @property
    def is_running(self) -> bool:
        return self.phase == "Running" and bool(self.ip) and not self.child.is_going


@dataclass(frozen=True, slots=True)
class BatchJob:
    """A batch Job with its pods, the newest last."""

    child: Child
    outcome: Outcome
    created: datetime
    ended: datetime | None = None
    reason: str = ""  # of the condition Failed: BackoffLimitExceeded, PodFailurePolicy, DeadlineExceeded
    refusal: Obstacle | None = None  # why it is given no pod
    pods: tuple[Pod, ...] = ()

    @property
    def running_pod(self) -> Pod | None:
        return next((pod for pod in reversed(self.pods) if pod.is_running), None)

    @property
    def termination(self) -> Termination | None:
        """The newest last word of its pods."""
        return next((pod.termination for pod in reversed(self.pods) if pod.termination is not None), None)

    @property
    def is_initialized(self) -> bool:
        return any(pod.is_initialized for pod in self.pods)


@dataclass(frozen=True, slots=True)
class Children:
    """All children of jobs of one name, sorted out."""

    batch_jobs: tuple[BatchJob, ...] = ()
    others: tuple[Child, ...] = ()  # claims, Services, ConfigMaps, policies
    pods: tuple[Pod, ...] = ()  # all pods, also those whose batch Job is gone
    _clients: dict[str, list[BatchJob]] = field(init=False, repr=False, compare=False)
    _names: frozenset[tuple[str, str, str]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Indexes, so that a pass over a job of a thousand tenants stays linear.
        clients: dict[str, list[BatchJob]] = {}
        for job in sorted(self.batch_jobs, key=_by_attempt):
            if job.child.role == Role.CLIENT:
                clients.setdefault(job.child.namespace, []).append(job)
        names = frozenset((child.kind, child.namespace, child.name) for child in self.everything())
        object.__setattr__(self, "_clients", clients)
        object.__setattr__(self, "_names", names)

    def of(self, uid: str) -> Children:
        """Return those of the job with that uid."""
        return Children(
            tuple(job for job in self.batch_jobs if job.child.job_uid == uid),
            tuple(child for child in self.others if child.job_uid == uid),
            tuple(pod for pod in self.pods if pod.child.job_uid == uid),
        )

    def aggregators(self) -> tuple[BatchJob, ...]:
        """Return the aggregator's batch Jobs, the newest attempt last."""
        return tuple(sorted((job for job in self.batch_jobs if job.child.role == Role.AGGREGATOR), key=_by_attempt))

    def clients(self, namespace: str) -> tuple[BatchJob, ...]:
        """Return a tenant's batch Jobs, the newest attempt last. A job has one client per tenant, so the namespace says which."""
        return tuple(self._clients.get(namespace, ()))

    @property
    def has_clients(self) -> bool:
        return bool(self._clients)

    def has(self, kind: str, namespace: str, name: str) -> bool:
        """Whether such an object is there, be it on its way out."""
        return (kind, namespace, name) in self._names

    def everything(self) -> tuple[Child, ...]:
        """Return all but the pods, batch Jobs first, so that nothing restarts what is being cleaned up."""
        return (*(job.child for job in self.batch_jobs), *self.others)


def _by_attempt(job: BatchJob) -> tuple[int, datetime]:
    return job.child.attempt, job.created
