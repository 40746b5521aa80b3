"""The port to a cluster: six verbs over plain objects, and the errors that a caller can act on.

Implemented by `kube.KubeCluster` (a real API server) and `local.memory.MemoryCluster` (embedded mode); both pass the same
contract suite. Objects are JSON as the API server sends it; they are parsed into typed values by `observe`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Protocol

from coterie_api.names import GROUP, VERSION

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

Object = dict[str, Any]
NO_LABELS: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object and where the API serves it."""

    group: str  # empty for the core group
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


FEDERATED_JOB: Final = Kind(GROUP, VERSION, "federatedjobs", "FederatedJob")
FEDERATED_DATASET: Final = Kind(GROUP, VERSION, "federateddatasets", "FederatedDataset")
BATCH_JOB: Final = Kind("batch", "v1", "jobs", "Job")
POD: Final = Kind("", "v1", "pods", "Pod")
SERVICE: Final = Kind("", "v1", "services", "Service")
SECRET: Final = Kind("", "v1", "secrets", "Secret")
CONFIG_MAP: Final = Kind("", "v1", "configmaps", "ConfigMap")
CLAIM: Final = Kind("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
NAMESPACE: Final = Kind("", "v1", "namespaces", "Namespace", namespaced=False)
NETWORK_POLICY: Final = Kind("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
EVENT: Final = Kind("", "v1", "events", "Event")


class Change(StrEnum):
    """What a watch reports. SYNCED comes once, after the objects that existed at its start."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    SYNCED = "SYNCED"


@dataclass(frozen=True, slots=True)
class Notice:
    """One event of a watch; `obj` is empty for SYNCED."""

    change: Change
    obj: Object


class ApiError(Exception):
    """The API refused or failed; the message is the API's own."""


class NotFound(ApiError):
    """404: the object or its namespace does not exist."""


class AlreadyExists(ApiError):
    """409 on create: an object of that name is there already."""


class Conflict(ApiError):
    """409 on write: somebody changed the object since it was read, or a precondition failed."""


class Forbidden(ApiError):
    """403: RBAC, quota or an admission policy says no; also a create in a namespace that is being terminated."""


class Invalid(ApiError):
    """400 or 422: the object itself is refused."""


class Unavailable(ApiError):
    """The API can't be reached, is overloaded (429), or failed (5xx): retry later."""


class Cluster(Protocol):
    """What the control plane asks of a cluster."""

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Return one object. Raises NotFound."""
        ...

    async def list(
        self, kind: Kind, namespace: str | None = None, labels: Mapping[str, str] = NO_LABELS, *, fields: Mapping[str, str] = NO_LABELS
    ) -> list[Object]:
        """Return the objects of a namespace (None: of all) that carry all of `labels`, and whose `fields` (dotted paths) have these values.

        An API server knows only some fields of a kind; of Events among others `involvedObject.uid`, `reason` and `type`.
        """
        ...

    async def create(self, kind: Kind, obj: Object) -> Object:
        """Create `obj` in its own `metadata.namespace`. Raises AlreadyExists, NotFound (namespace), Forbidden, Invalid."""
        ...

    async def patch(self, kind: Kind, namespace: str, name: str, body: Object, *, status: bool = False) -> Object:
        """Apply a JSON merge patch (RFC 7386), to the status subresource if asked.

        A `metadata.resourceVersion` in `body` is a precondition. Raises NotFound, Conflict, Invalid.
        """
        ...

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str | None = None) -> None:
        """Delete an object with background propagation; one that is already gone is no error. Raises Conflict if `uid` differs."""
        ...

    def watch(self, kind: Kind, namespace: str | None = None, labels: Mapping[str, str] = NO_LABELS) -> AsyncIterator[Notice]:
        """Yield what exists, then SYNCED, then each change; reconnects by itself and re-lists when its version is too old."""
        ...
