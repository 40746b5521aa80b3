"""Which attempt of a client is the present one, and when the next is due."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from coterie_operator.core.children import BatchJob, Children, Outcome
from coterie_operator.core.rules.termination import failure_of

if TYPE_CHECKING:
    from coterie_api.v1alpha1.types import FederatedJobStatus, FrozenDataset
    from coterie_operator.settings import Settings


@dataclass(frozen=True, slots=True)
class Turn:
    """The present attempt of one client."""

    attempt: int
    job: BatchJob | None  # of that attempt; None: it is to be created
    retry_at: datetime | None = None  # of an exhausted attempt: when the next one begins

    @property
    def is_backing_off(self) -> bool:
        return self.retry_at is not None


def written_attempts(status: FederatedJobStatus) -> dict[str, int]:
    """Return the attempts that the status names, by the tenant's namespace."""
    return {tenant.namespace: tenant.attempt for tenant in status.tenants}


def turn(entry: FrozenDataset, children: Children, floor: int, settings: Settings, now: datetime) -> Turn:
    """Return the present attempt of a client, at least `floor`.

    An exhausted batch Job is followed by another, so that a tenant can join later rounds.
    """
    jobs = [job for job in children.clients(entry.namespace) if not job.child.is_going and job.child.attempt >= floor]
    if not jobs:
        return Turn(floor, None)
    newest = jobs[-1]
    if newest.outcome is not Outcome.FAILED or failure_of(children, entry) is not None:
        return Turn(newest.child.attempt, newest)
    retry_at = (newest.ended or newest.created) + backoff(newest.child.attempt, settings)
    return Turn(newest.child.attempt, newest, retry_at) if now < retry_at else Turn(newest.child.attempt + 1, None)


def backoff(attempt: int, settings: Settings) -> timedelta:
    """Return the wait after that attempt."""
    wait = settings.client_backoff_seconds * 2.0 ** min(attempt, 32)
    return timedelta(seconds=min(wait, settings.client_backoff_max_seconds))
