"""A cluster of which the operator may see some namespaces alone: what it asks of all, it asks of each of these in turn.

What lies elsewhere is, for the operator, not there: a job that names a data set of another namespace reads as one that nobody granted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from coterie_operator.cluster import FEDERATED_DATASET, NO_LABELS, Cluster, Kind, NotFound, Notice, Object

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence


class ScopedCluster:
    """A `Cluster` that is asked for nothing outside of `namespaces`. Watches are of one namespace each, as everywhere in the operator."""

    def __init__(self, cluster: Cluster, namespaces: Sequence[str]) -> None:
        self._cluster = cluster
        self._namespaces = tuple(namespaces)

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        if kind == FEDERATED_DATASET and namespace not in self._namespaces:
            raise NotFound(f"{kind.plural} {namespace}/{name}: the operator serves {', '.join(self._namespaces)} alone")
        return await self._cluster.get(kind, namespace, name)

    async def list(
        self, kind: Kind, namespace: str | None = None, labels: Mapping[str, str] = NO_LABELS, *, fields: Mapping[str, str] = NO_LABELS
    ) -> list[Object]:
        places = self._namespaces if namespace is None else (namespace,)
        return [obj for place in places for obj in await self._cluster.list(kind, place, labels, fields=fields)]

    async def create(self, kind: Kind, obj: Object) -> Object:
        return await self._cluster.create(kind, obj)

    async def patch(self, kind: Kind, namespace: str, name: str, body: Object, *, status: bool = False) -> Object:
        return await self._cluster.patch(kind, namespace, name, body, status=status)

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str | None = None) -> None:
        await self._cluster.delete(kind, namespace, name, uid=uid)

    def watch(self, kind: Kind, namespace: str | None = None, labels: Mapping[str, str] = NO_LABELS) -> AsyncIterator[Notice]:
        return self._cluster.watch(kind, namespace, labels)
