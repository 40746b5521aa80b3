"""Everything that one pass over a job knows. Gathered by `observe`, judged by pure functions, never changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from coterie_api.errors import FieldError
from coterie_api.progress import Progress
from coterie_api.v1alpha1.types import FederatedDataset, FederatedJobSpec, FederatedJobStatus, ObjectMeta, Reason
from coterie_operator.core.children import Children
from coterie_operator.manifests.naming import DatasetKey, JobKey
from coterie_operator.settings import Settings


class NamespaceState(StrEnum):
    """Whether anything may be created in a namespace."""

    ACTIVE = "Active"
    TERMINATING = "Terminating"
    ABSENT = "Absent"
    DENIED = "Denied"  # it may exist, but the operator has no permission there


@dataclass(frozen=True, slots=True)
class Write:
    """One write to the cluster, whatever it says."""

    verb: str  # create | delete
    kind: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """What the last attempt to act ran into, told without the API's own words where they would speak of a tenant."""

    namespace: str
    reason: Reason
    message: str
    write: Write | None = None  # that was refused


@dataclass(frozen=True, slots=True)
class Job:
    """The FederatedJob as the API server has it; `spec` is None if it does not parse."""

    metadata: ObjectMeta
    spec: FederatedJobSpec | None
    status: FederatedJobStatus = FederatedJobStatus()  # noqa: RUF009 - a frozen value
    errors: tuple[FieldError, ...] = ()

    @property
    def key(self) -> JobKey:
        return JobKey(self.metadata.namespace, self.metadata.name, self.metadata.uid)

    @property
    def is_going(self) -> bool:
        return self.metadata.deletion_timestamp is not None


@dataclass(frozen=True, slots=True)
class Observed:
    """The world, as far as one job is concerned."""

    now: datetime  # aware
    settings: Settings
    job: Job | None  # None: it does not exist (any more)
    datasets: Mapping[DatasetKey, FederatedDataset] = field(default_factory=dict)  # without those that are absent or don't parse
    namespaces: Mapping[str, NamespaceState] = field(default_factory=dict)
    children: Children = Children()  # noqa: RUF009 - a frozen value
    progress: Progress | None = None  # None: can't be read now
    authority: str = ""  # certificate of the operator's authority, PEM
    troubles: tuple[Trouble, ...] = ()
    held: frozenset[Write] = frozenset()  # writes that were refused, or did nothing, a moment ago: not yet again
    probe_seconds: float = 10.0  # when a running job's progress is worth another look

    def namespace(self, name: str) -> NamespaceState:
        """Return the state of a namespace; one that was not looked at counts as absent."""
        return self.namespaces.get(name, NamespaceState.ABSENT)


def stamp(moment: datetime) -> str:
    """Return a time as the API writes it: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: str) -> datetime:
    """Return the time of a timestamp of the API. Raises ValueError if it is none."""
    parsed = datetime.fromisoformat(text)
    return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)
