"""What a pass over a job can decide to do. Values only: `act` performs them, in the order in which they stand in the plan."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from coterie_api.v1alpha1.types import FederatedJobStatus
from coterie_operator.core.observed import Write
from coterie_operator.manifests.naming import JobKey

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Create:
    """Create an object. One of that name that belongs to the same job is as good; one that doesn't is a trouble."""

    obj: Json

    @property
    def write(self) -> Write:
        return _creation(self.obj)


@dataclass(frozen=True, slots=True)
class CreateCertificate:
    """Create the Secret with the aggregator's certificate; its key is made at that moment and can't be read back by anyone here.

    `obj` is the Secret without its data.
    """

    obj: Json
    job_uid: str
    dns_names: tuple[str, ...]

    @property
    def write(self) -> Write:
        return _creation(self.obj)


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete an object if it still has that uid."""

    kind: str
    namespace: str
    name: str
    uid: str

    @property
    def write(self) -> Write:
        return Write("delete", self.kind, self.namespace, self.name)


@dataclass(frozen=True, slots=True)
class AddFinalizer:
    """Hold the job back from vanishing before its children in other namespaces are gone. Always comes before any of those."""

    job: JobKey
    finalizers: tuple[str, ...]  # the whole list after it


@dataclass(frozen=True, slots=True)
class RemoveFinalizer:
    """Let the job go."""

    job: JobKey
    finalizers: tuple[str, ...]  # the whole list after it


@dataclass(frozen=True, slots=True)
class Emit:
    """Tell people about a change, as an Event of the job."""

    job: JobKey
    reason: str
    message: str
    is_warning: bool = False


def _creation(obj: Json) -> Write:
    meta = obj["metadata"]
    return Write("create", obj["kind"], meta["namespace"], meta["name"])


Action = Create | CreateCertificate | Delete | AddFinalizer | RemoveFinalizer | Emit


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that one pass decided.

    Actions come first, the status (if it is to change) is written after them, events and the removal of the finalizer last.
    """

    actions: tuple[Action, ...] = ()
    status: FederatedJobStatus | None = None  # None: as it is
    events: tuple[Emit, ...] = field(default=())
    look_again: datetime | None = None  # when nothing changes until then
    held: frozenset[Write] = frozenset()  # what is not done yet, because it was refused a moment ago

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to write."""
        return not self.actions and self.status is None
