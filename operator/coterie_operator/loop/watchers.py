"""Watches on children, one pair per namespace: what happens to a child is a reason to look at its job.

Never an exit: a namespace without access is remembered as such, and asked again later.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from coterie_api.names import LABEL_JOB_NAME, LABEL_JOB_NAMESPACE, MANAGED_BY
from coterie_operator.cluster import BATCH_JOB, POD, ApiError, Change, Cluster, Forbidden, Kind, Object
from coterie_operator.manifests.naming import LABEL_MANAGED_BY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from coterie_operator.loop.queue import Backoff, Key

LOG = logging.getLogger(__name__)
WATCHED: Final = (BATCH_JOB, POD)
LABELS: Final = {LABEL_MANAGED_BY: MANAGED_BY}


def parent(obj: Object) -> Key | None:
    """Return which job an object says it belongs to, by its labels."""
    labels = obj.get("metadata", {}).get("labels") or {}
    namespace, name = labels.get(LABEL_JOB_NAMESPACE), labels.get(LABEL_JOB_NAME)
    return (namespace, name) if namespace and name else None


class Watchers:
    """The watches of all namespaces that any job has to do with."""

    def __init__(self, cluster: Cluster, changed: Callable[[Key], None], backoff: Backoff) -> None:
        self._cluster = cluster
        self._changed = changed
        self._backoff = backoff
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self.denied: set[str] = set()
        self._synced: set[tuple[str, str]] = set()

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Where children are watched."""
        return tuple(sorted({namespace for namespace, _ in self._tasks}))

    def count(self, kind: Kind, *, synced: bool) -> int:
        """Return how many watches of a kind there are that have seen all there is, or haven't yet."""
        return sum(1 for place in list(self._tasks) if place[1] == kind.kind and (place in self._synced) is synced)

    def want(self, namespaces: Iterable[str], group: asyncio.TaskGroup) -> None:
        """Watch these namespaces too."""
        for namespace in namespaces:
            for kind in WATCHED:
                if (namespace, kind.kind) not in self._tasks:
                    self._tasks[namespace, kind.kind] = group.create_task(
                        self.watch(kind, namespace), name=f"watch {kind.plural} {namespace}"
                    )

    def keep(self, namespaces: set[str]) -> None:
        """Stop watching all but these namespaces."""
        for place in [place for place in self._tasks if place[0] not in namespaces]:
            self._tasks.pop(place).cancel()
            self._synced.discard(place)
            self.denied.discard(place[0])

    async def watch(self, kind: Kind, namespace: str) -> None:
        """Watch one kind in one namespace until cancelled."""
        failures = 0
        while True:
            try:
                async for notice in self._cluster.watch(kind, namespace, LABELS):
                    failures = 0
                    self.denied.discard(namespace)
                    if notice.change is Change.SYNCED:
                        self._synced.add((namespace, kind.kind))
                    elif (key := parent(notice.obj)) is not None:
                        self._changed(key)
            except Forbidden as error:
                self.denied.add(namespace)
                LOG.warning("may not watch %s in namespace %s: %s", kind.plural, namespace, error)
            except ApiError as error:
                LOG.warning("watch of %s in namespace %s ended: %s", kind.plural, namespace, error)
            self._synced.discard((namespace, kind.kind))
            failures += 1
            await asyncio.sleep(self._backoff.after(failures))
