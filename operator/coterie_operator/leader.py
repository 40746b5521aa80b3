"""Which replica acts: a Lease, renewed while working, and a guard that refuses writes once it may have passed to another.

Formal guarantees, while the clocks of the replicas run equally fast (they need not agree on the time of day):

- A replica writes through its guard only until `renew_deadline_seconds` after the start of its last successful renewal, and each
  of its writes is given up at `lease_seconds` after it; another replica takes the Lease over no earlier than `lease_seconds` after
  it last saw it change. So writes of two leaders overlap only if the network delivers one after its sender gave it up.
- A replica that can't renew in time ends as a whole, at once: what it believes about the world may be old.

Source: the protocol of client-go's `tools/leaderelection`. Ours, because the client library's elector for asyncio lets a hung
request outlive the lease and goes on renewing after its work has died.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import os
import time
from collections.abc import Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from coterie_operator.cluster import NO_LABELS, AlreadyExists, ApiError, Cluster, Conflict, Kind, NotFound, Notice, Object, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping

LEASE: Final = Kind("coordination.k8s.io", "v1", "leases", "Lease")
EXIT_LOST: Final = 75  # "temporary failure": the Deployment starts a new replica

_LOG: Final = logging.getLogger(__name__)


def _exit_now() -> None:
    """End without clean-up: the lease may be another's already, so nothing may be written any more."""
    os._exit(EXIT_LOST)


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds; each must be well below the one before it, or one slow request costs the leadership."""

    lease_seconds: float = 10.0
    renew_deadline_seconds: float = 7.0
    request_seconds: float = 3.0
    retry_seconds: float = 2.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """Who stands for election, and for which Lease."""

    namespace: str
    lease: str
    identity: str  # unique among all replicas that ever were: a restarted process is another candidate
    owners: Sequence[Object] = ()  # of the Lease, if this candidate makes it


class Elector:
    """One replica's part in the election."""

    def __init__(
        self,
        cluster: Cluster,
        candidate: Candidate,
        timing: Timing = Timing(),
        *,
        clock: Callable[[], float] = time.monotonic,
        lost: Callable[[], None] = _exit_now,
    ) -> None:
        self._cluster = cluster
        self._candidate = candidate
        self._timing = timing
        self._clock = clock
        self._lost = lost
        self._renewed = float("-inf")
        self._seen: tuple[object, object] | None = None  # holder and time of renewal, as last read
        self._seen_at = 0.0

    def seconds_left(self) -> float:
        """Return for how long this replica may still begin to write; not positive when it doesn't lead."""
        return self._renewed + self._timing.renew_deadline_seconds - self._clock()

    async def lead(self, work: Callable[[], Awaitable[None]]) -> None:
        """Wait for the Lease, run `work` while renewing it, and hand it back when `work` ends, fails or is canceled."""
        while not await self._attempt():  # noqa: ASYNC110 - the event is in another process
            await asyncio.sleep(self._timing.retry_seconds)
        _LOG.info("%s leads", self._candidate.identity)
        try:
            async with asyncio.TaskGroup() as group:
                renewal = group.create_task(self._renew())
                await work()
                renewal.cancel()
        finally:
            await self._release()

    @asynccontextmanager
    async def writing(self) -> AsyncGenerator[None]:
        """Hold for one write. Raises Unavailable when this replica doesn't lead, or when the write outlives its lease."""
        if self.seconds_left() <= 0:
            raise Unavailable(f"{self._candidate.identity} does not hold the lease {self._candidate.lease}: nothing is written")
        try:
            async with asyncio.timeout(self._renewed + self._timing.lease_seconds - self._clock()):
                yield
        except TimeoutError as error:
            raise Unavailable("a write took longer than the lease lasts") from error

    async def _renew(self) -> None:
        while self.seconds_left() > 0:
            await asyncio.sleep(min(self._timing.retry_seconds, max(self.seconds_left(), 0)))
            await self._attempt()
        _LOG.critical("%s could not renew the lease %s in time, ending", self._candidate.identity, self._candidate.lease)
        self._lost()

    async def _attempt(self) -> bool:
        """Take or renew the Lease; return whether it is this replica's now. A failed request is another's turn to try."""
        started = self._clock()
        limit = self._timing.request_seconds
        if self.seconds_left() > 0:
            limit = min(limit, self.seconds_left())
        try:
            async with asyncio.timeout(limit):
                if await self._taken():
                    self._renewed = started  # its start, not its end: the API server may have written at any moment since
                    return True
        except (ApiError, TimeoutError) as error:
            _LOG.warning("lease %s: %s: %s", self._candidate.lease, type(error).__name__, error)
            return False
        self._renewed = float("-inf")  # if it was ours, it is no longer
        return False

    async def _taken(self) -> bool:
        namespace, name = self._candidate.namespace, self._candidate.lease
        try:
            lease = await self._cluster.get(LEASE, namespace, name)
        except NotFound:
            lease = {}
        if not self._is_free(lease.get("spec", {})):
            return False
        body: Object = {"spec": self._claim(lease.get("spec", {}))}
        try:
            if lease:
                # The version makes this a compare-and-swap: of two candidates who see a free lease, one writes.
                body["metadata"] = {"resourceVersion": lease["metadata"]["resourceVersion"]}
                await self._cluster.patch(LEASE, namespace, name, body)
            else:
                metadata: Object = {"name": name, "namespace": namespace, "ownerReferences": list(self._candidate.owners)}
                await self._cluster.create(LEASE, {**body, "metadata": metadata})
        except (AlreadyExists, Conflict, NotFound):
            return False
        return True

    def _is_free(self, spec: Object) -> bool:
        """Judge by our own clock for how long the record hasn't changed; the times written in it come from other clocks."""
        holder = spec.get("holderIdentity") or ""
        if holder in {"", self._candidate.identity}:
            return True
        record = (holder, spec.get("renewTime"))
        if record != self._seen:
            self._seen, self._seen_at = record, self._clock()
        return self._clock() - self._seen_at >= float(spec.get("leaseDurationSeconds") or self._timing.lease_seconds)

    def _claim(self, former: Object) -> Object:
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        seconds = round(self._timing.lease_seconds)
        claim: Object = {"holderIdentity": self._candidate.identity, "leaseDurationSeconds": seconds, "renewTime": now}
        if former.get("holderIdentity") != self._candidate.identity:
            claim |= {"acquireTime": now, "leaseTransitions": (former.get("leaseTransitions") or 0) + 1}
        return claim

    async def _release(self) -> None:
        """Give the Lease up so that nobody waits for its end; by now the work has stopped."""
        if self.seconds_left() <= 0:
            return
        self._renewed = float("-inf")
        namespace, name = self._candidate.namespace, self._candidate.lease
        try:
            async with asyncio.timeout(self._timing.request_seconds):
                lease = await self._cluster.get(LEASE, namespace, name)
                if lease["spec"].get("holderIdentity") == self._candidate.identity:
                    version = {"resourceVersion": lease["metadata"]["resourceVersion"]}
                    await self._cluster.patch(LEASE, namespace, name, {"metadata": version, "spec": {"holderIdentity": None}})
        except (ApiError, TimeoutError) as error:
            _LOG.warning("lease %s was not handed back and will run out: %s", name, error)


class GuardedCluster:
    """A `Cluster` whose writes need the Lease; reads don't, so that a standby replica is warm."""

    def __init__(self, cluster: Cluster, elector: Elector) -> None:
        self._cluster = cluster
        self._elector = elector

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        return await self._cluster.get(kind, namespace, name)

    async def list(
        self, kind: Kind, namespace: str | None = None, labels: Mapping[str, str] = NO_LABELS, *, fields: Mapping[str, str] = NO_LABELS
    ) -> list[Object]:
        return await self._cluster.list(kind, namespace, labels, fields=fields)

    async def create(self, kind: Kind, obj: Object) -> Object:
        async with self._elector.writing():
            return await self._cluster.create(kind, obj)

    async def patch(self, kind: Kind, namespace: str, name: str, body: Object, *, status: bool = False) -> Object:
        async with self._elector.writing():
            return await self._cluster.patch(kind, namespace, name, body, status=status)

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str | None = None) -> None:
        async with self._elector.writing():
            await self._cluster.delete(kind, namespace, name, uid=uid)

    def watch(self, kind: Kind, namespace: str | None = None, labels: Mapping[str, str] = NO_LABELS) -> AsyncIterator[Notice]:
        return self._cluster.watch(kind, namespace, labels)
