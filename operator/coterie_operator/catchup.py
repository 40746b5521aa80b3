"""Whether a replica has seen all that there was when it started: until then it isn't ready, whoever leads.

Kopf tells of each object but not when it has told of all, so what exists is listed once and struck off as it is told of.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from typing import TYPE_CHECKING, Final

from coterie_operator.cluster import ApiError, Cluster, Kind, Object

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from prometheus_client import Gauge

LOG: Final = logging.getLogger(__name__)
CHECK_SECONDS: Final = 5.0

Place = tuple[str, str, str]  # kind, namespace, name


class CatchUp:
    """The objects of some kinds that a replica has yet to be told of."""

    def __init__(self, cluster: Cluster, kinds: Sequence[Kind]) -> None:
        self.kinds = tuple(kinds)
        self._cluster = cluster
        self._owed: set[Place] = set()

    @property
    def owed(self) -> int:
        """Return how many objects it has not been told of yet."""
        return len(self._owed)

    def show(self, watches: Gauge, is_watching: Callable[[], bool]) -> None:
        """Let each scrape ask which kinds it has been told of: none before anybody watches, even where there is nothing to tell."""

        def count(kind: Kind, *, synced: bool) -> int:
            is_synced = is_watching() and all(place[0] != kind.kind for place in self._owed)
            return int(is_synced is synced)

        for kind in self.kinds:
            for synced in (True, False):
                watches.labels(kind.kind, str(synced).lower()).set_function(functools.partial(count, kind, synced=synced))

    async def owe(self, kind: Kind) -> list[Object]:
        """Note what exists of a kind, and return it. Raises ApiError."""
        there = await self._cluster.list(kind)
        self._owed.update(_place(kind, obj["metadata"]) for obj in there)
        return there

    def told(self, kind: Kind, metadata: Mapping[str, Any]) -> None:
        """Strike an object off."""
        self._owed.discard(_place(kind, metadata))

    async def forgive(self) -> None:
        """Strike off what has gone before anybody could tell of it, until nothing is owed."""
        while self._owed:
            await asyncio.sleep(CHECK_SECONDS)
            try:
                there = {_place(kind, obj["metadata"]) for kind in self.kinds for obj in await self._cluster.list(kind)}
            except ApiError as error:
                LOG.warning("what exists can't be listed: %s", error)
                continue
            self._owed &= there


def _place(kind: Kind, metadata: Mapping[str, Any]) -> Place:
    return kind.kind, metadata.get("namespace", ""), metadata["name"]
