"""The in-memory cluster: the `Cluster` port of one process, with the API server's rules for what we rely on.

It claims: optimistic concurrency, generations, the status subresource, merge patches, finalizers, owner garbage
collection, the life of namespaces, object-count quotas, label selectors, watches. It does not schedule: a pod is never
bound to a node, so deleting one takes no grace period of its own, as for an unbound pod of a real cluster. The contract
suite in `tests/contracts` runs on it and on a real API server.
"""

from __future__ import annotations

import copy
import secrets
import uuid
from typing import TYPE_CHECKING, Final

from coterie_operator.cluster import (
    BATCH_JOB,
    NAMESPACE,
    NO_LABELS,
    AlreadyExists,
    Conflict,
    Forbidden,
    Invalid,
    Kind,
    NotFound,
    Notice,
    Object,
)
from coterie_operator.local.admission import (
    HAS_GENERATION,
    HAS_STATUS,
    invalid,
    refuse_bad_metadata,
    refuse_changes,
    select_by_uid,
    with_defaults,
)
from coterie_operator.local.collect import contents, ending_namespaces, is_going, orphans
from coterie_operator.local.merge import merge
from coterie_operator.local.quota import refuse_over_quota
from coterie_operator.local.schema import admit, refuse_spec_changes
from coterie_operator.local.store import HISTORY, Key, Selection, Store, key_of
from coterie_operator.local.times import stamp, utc_now

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from datetime import datetime

_SERVER_OWNED: Final = ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion")
_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"  # of generated names, as the API server's: no vowels, no words


class MemoryCluster:
    """A cluster of one process; starts with the namespace `default` and nothing else."""

    def __init__(self, *, now: Callable[[], datetime] = utc_now, history: int = HISTORY) -> None:
        self._store = Store(history)
        self._now = now
        self._insert(NAMESPACE, {"metadata": {"name": "default"}})

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        return copy.deepcopy(self._existing(kind, namespace, name))

    async def list(
        self, kind: Kind, namespace: str | None = None, labels: Mapping[str, str] = NO_LABELS, *, fields: Mapping[str, str] = NO_LABELS
    ) -> list[Object]:
        found = self._store.select(Selection(kind, namespace, labels))
        return [copy.deepcopy(obj) for obj in found.values() if all(_field(obj, path) == value for path, value in fields.items())]

    def watch(self, kind: Kind, namespace: str | None = None, labels: Mapping[str, str] = NO_LABELS) -> AsyncIterator[Notice]:
        return self._store.watch(Selection(kind, namespace, labels))

    async def create(self, kind: Kind, obj: Object) -> Object:
        created = self._insert(kind, obj)
        self._settle()
        return created

    def _insert(self, kind: Kind, obj: Object) -> Object:
        obj = self._named(kind, obj)
        self._refuse_ending_namespace(kind, obj)
        obj = admit(kind, with_defaults(kind, obj))
        refuse_bad_metadata(kind, obj)
        key = self._key(kind, obj)
        if key in self._store:
            raise AlreadyExists(f'{kind.plural} "{key.name}" already exists')
        refuse_over_quota(self._store, kind, obj)
        if kind == BATCH_JOB:
            select_by_uid(obj)
        return self._store.put(key, obj)

    def _named(self, kind: Kind, obj: Object) -> Object:
        """Return a copy with the metadata that the server gives a new object."""
        if obj.get("metadata", {}).get("resourceVersion"):
            raise Invalid(f"{kind.kind}: metadata.resourceVersion: must not be set on objects to be created")
        obj = {"apiVersion": kind.api_version, "kind": kind.kind, **copy.deepcopy(obj)}
        metadata = obj.setdefault("metadata", {})
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"] + "".join(secrets.choice(_ALPHABET) for _ in range(5))
        if kind.namespaced and not metadata.get("namespace"):
            raise Invalid(f'{kind.kind} "{metadata.get("name")}": metadata.namespace: Required value')
        for member in _SERVER_OWNED:
            metadata.pop(member, None)
        metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": stamp(self._now())}
        if kind in HAS_GENERATION:
            metadata["generation"] = 1
        return obj

    def _refuse_ending_namespace(self, kind: Kind, obj: Object) -> None:
        if not kind.namespaced:
            return
        name = obj["metadata"]["namespace"]
        namespace = self._existing(NAMESPACE, "", name)
        if is_going(namespace):
            refused = f'{kind.plural} "{obj["metadata"].get("name")}" is forbidden'
            raise Forbidden(f"{refused}: unable to create new content in namespace {name} because it is being terminated")

    async def patch(self, kind: Kind, namespace: str, name: str, body: Object, *, status: bool = False) -> Object:
        before = self._existing(kind, namespace, name)
        _refuse_stale(kind, before, body)
        after = self._patched(kind, before, body, status=status)
        if after == before:
            return copy.deepcopy(before)
        key = self._key(kind, before)
        if is_going(after) and not after["metadata"].get("finalizers"):
            self._store.remove(key)
        else:
            after = self._store.put(key, after)
        self._settle()
        return copy.deepcopy(after)

    def _patched(self, kind: Kind, before: Object, body: Object, *, status: bool) -> Object:
        if status:
            if kind not in HAS_STATUS:
                raise NotFound(f'{kind.plural} "{before["metadata"]["name"]}" not found: {kind.kind} has no status subresource')
            return admit(kind, copy.deepcopy({**before, "status": merge(before.get("status"), body.get("status", {}))}))
        after: Object = merge(copy.deepcopy(before), body)
        if kind in HAS_STATUS:
            _restore(before, after, ("status",))
        _restore(before["metadata"], after.setdefault("metadata", {}), _SERVER_OWNED)
        after = admit(kind, after)
        refuse_changes(kind, before, after)
        refuse_spec_changes(kind, before, after)
        refuse_bad_metadata(kind, after)
        _refuse_new_finalizers(kind, before, after)
        if kind in HAS_GENERATION and before.get("spec") != after.get("spec"):
            after["metadata"]["generation"] = before["metadata"]["generation"] + 1
        return after

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str | None = None) -> None:
        key = key_of(kind, namespace, name)
        found = self._store.peek(key)
        if found is None:
            return
        if uid is not None and found["metadata"]["uid"] != uid:
            raise Conflict(
                f'{kind.plural} "{name}": precondition failed: UID in precondition: {uid}, UID in object: {found["metadata"]["uid"]}'
            )
        self._remove(key)
        self._settle()

    def _remove(self, key: Key) -> None:
        """Delete the object, or mark it as going if a finalizer or a namespace's contents hold it."""
        found = self._store.peek(key)
        if found is None or is_going(found):
            return
        is_namespace = key.api == key_of(NAMESPACE, "", "").api
        if not is_namespace and not found["metadata"].get("finalizers"):
            self._store.remove(key)
            return
        going = copy.deepcopy(found)
        going["metadata"] |= {"deletionTimestamp": stamp(self._now()), "deletionGracePeriodSeconds": 0}
        if "generation" in going["metadata"]:
            going["metadata"]["generation"] += 1
        if is_namespace:
            going["status"]["phase"] = "Terminating"
        self._store.put(key, going)

    def _settle(self) -> None:
        """Do at once what the garbage collector and the namespace controller would do a moment later."""
        while True:
            doomed = [key for key in orphans(self._store) if key in self._store]
            ending = {name: contents(self._store, name) for name in ending_namespaces(self._store)}
            doomed += [key for keys in ending.values() for key in keys if not is_going(self._store.peek(key) or {"metadata": {}})]
            for key in doomed:
                self._remove(key)
            empty = [name for name, keys in ending.items() if not keys]
            for name in empty:
                self._store.remove(key_of(NAMESPACE, "", name))
            if not doomed and not empty:
                return

    def _existing(self, kind: Kind, namespace: str, name: str) -> Object:
        found = self._store.peek(key_of(kind, namespace, name))
        if found is None:
            raise NotFound(f'{kind.plural} "{name}" not found')
        return found

    @staticmethod
    def _key(kind: Kind, obj: Object) -> Key:
        return key_of(kind, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])


def _restore(before: Object, after: Object, members: tuple[str, ...]) -> None:
    for member in members:
        after.pop(member, None)
        if member in before:
            after[member] = copy.deepcopy(before[member])


def _refuse_stale(kind: Kind, before: Object, body: Object) -> None:
    metadata = body.get("metadata") or {}
    for member in ("resourceVersion", "uid"):
        asked, found = metadata.get(member), before["metadata"][member]
        if asked and asked != found:
            name = before["metadata"]["name"]
            raise Conflict(f'{kind.plural} "{name}": the object has been modified: {member} is {found}, not {asked}')


def _refuse_new_finalizers(kind: Kind, before: Object, after: Object) -> None:
    new = set(after["metadata"].get("finalizers") or ()) - set(before["metadata"].get("finalizers") or ())
    if is_going(before) and new:
        raise invalid(
            kind, before, "metadata.finalizers", f"no new finalizers can be added to an object that is being deleted: {sorted(new)}"
        )


def _field(obj: Object, path: str) -> str:
    """Return a field by its dotted path; empty if it is not there, as in a field selector."""
    value: object = obj
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return str(value) if value is not None else ""
