"""Objects, versions and history of the in-memory cluster: what etcd and the watch cache are to a real one."""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from coterie_operator.cluster import Change, Kind, Notice, Object

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

HISTORY: Final = 4096  # changes kept; a watcher that is further behind lists again, as after a 410 of a real API server


class Key(NamedTuple):
    """Where an object lies; `namespace` is empty for a cluster-scoped one."""

    api: str  # group/plural: versions of one resource share their storage
    namespace: str
    name: str


def key_of(kind: Kind, namespace: str, name: str) -> Key:
    """Return the key of an object of `kind`."""
    return Key(f"{kind.group}/{kind.plural}", namespace if kind.namespaced else "", name)


def has_labels(obj: Object, labels: Mapping[str, str]) -> bool:
    """Whether `obj` carries all of `labels`."""
    found = obj["metadata"].get("labels") or {}
    return all(found.get(name) == value for name, value in labels.items())


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects a list or a watch is about; `namespace` None means every one."""

    kind: Kind
    namespace: str | None
    labels: Mapping[str, str]

    def holds(self, key: Key, obj: Object) -> bool:
        """Whether the object at `key` belongs to the selection."""
        return self.is_about(key) and has_labels(obj, self.labels)

    def is_about(self, key: Key) -> bool:
        """Whether `key` is of the kind and the namespace, whatever its labels."""
        return key.api == f"{self.kind.group}/{self.kind.plural}" and self.namespace in (None, "", key.namespace)


@dataclass(frozen=True, slots=True)
class _Entry:
    version: int
    change: Change
    key: Key
    obj: Object


class Store:
    """A versioned map of objects that can be watched; single-threaded, for one event loop."""

    def __init__(self, history: int = HISTORY) -> None:
        self._objects: dict[Key, Object] = {}
        self._history: deque[_Entry] = deque(maxlen=history)
        self._version = 0
        self._lost = 0  # the newest version that has left the history
        self._wakers: set[asyncio.Event] = set()

    def __contains__(self, key: object) -> bool:
        return key in self._objects

    def peek(self, key: Key) -> Object | None:
        """Return the stored object itself, which the caller must not change."""
        return self._objects.get(key)

    def items(self) -> Iterator[tuple[Key, Object]]:
        """Iterate over a snapshot of keys and stored objects, which the caller must not change."""
        return iter(tuple(self._objects.items()))

    def select(self, selection: Selection) -> dict[Key, Object]:
        """Return the stored objects of a selection in the order of their names."""
        return {key: obj for key, obj in sorted(self._objects.items()) if selection.holds(key, obj)}

    def put(self, key: Key, obj: Object) -> Object:
        """Store `obj` under the next resource version and return a copy of it."""
        change = Change.MODIFIED if key in self._objects else Change.ADDED
        self._objects[key] = obj
        self._record(change, key, obj)
        return copy.deepcopy(obj)

    def remove(self, key: Key) -> None:
        """Remove the object at `key`, which must exist."""
        obj = copy.deepcopy(self._objects.pop(key))
        self._record(Change.DELETED, key, obj)

    def _record(self, change: Change, key: Key, obj: Object) -> None:
        self._version += 1
        obj["metadata"]["resourceVersion"] = str(self._version)
        if self._history and len(self._history) == self._history.maxlen:
            self._lost = self._history[0].version
        self._history.append(_Entry(self._version, change, key, obj))
        for waker in self._wakers:
            waker.set()

    async def watch(self, selection: Selection) -> AsyncIterator[Notice]:
        """Yield what exists, SYNCED, then changes; one that fell behind the history gets the differences of a new list."""
        known: dict[Key, Object] = {}
        waker = asyncio.Event()
        self._wakers.add(waker)
        try:
            seen = self._version
            for notice in self._relist(selection, known):
                yield notice
            yield Notice(Change.SYNCED, {})
            while True:
                if seen == self._version:
                    waker.clear()
                    await waker.wait()
                start, seen = seen, self._version
                notices = self._relist(selection, known) if start < self._lost else self._since(start, selection, known)
                for notice in notices:
                    yield notice
        finally:
            self._wakers.discard(waker)

    def _relist(self, selection: Selection, known: dict[Key, Object]) -> list[Notice]:
        now = self.select(selection)
        gone = [Notice(Change.DELETED, copy.deepcopy(known.pop(key))) for key in tuple(known) if key not in now]
        return gone + [notice for key, obj in now.items() for notice in _told(key, obj, known)]

    def _since(self, version: int, selection: Selection, known: dict[Key, Object]) -> list[Notice]:
        notices: list[Notice] = []
        for entry in self._newer(version):
            if not selection.is_about(entry.key):
                continue
            if entry.change is not Change.DELETED and has_labels(entry.obj, selection.labels):
                notices += _told(entry.key, entry.obj, known)
            elif known.pop(entry.key, None) is not None:
                notices.append(Notice(Change.DELETED, copy.deepcopy(entry.obj)))
        return notices

    def _newer(self, version: int) -> list[_Entry]:
        newer: list[_Entry] = []
        for entry in reversed(self._history):
            if entry.version <= version:
                break
            newer.append(entry)
        return newer[::-1]


def _told(key: Key, obj: Object, known: dict[Key, Object]) -> list[Notice]:
    """Return what a watcher that knows `known` must hear of `obj`, and note that it has heard it."""
    before = known.get(key)
    known[key] = obj
    if before is None:
        return [Notice(Change.ADDED, copy.deepcopy(obj))]
    if before["metadata"]["uid"] != obj["metadata"]["uid"]:
        return [Notice(Change.DELETED, copy.deepcopy(before)), Notice(Change.ADDED, copy.deepcopy(obj))]
    if before["metadata"]["resourceVersion"] == obj["metadata"]["resourceVersion"]:
        return []
    return [Notice(Change.MODIFIED, copy.deepcopy(obj))]
