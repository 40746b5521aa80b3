"""Which objects the garbage collector and the namespace controller would delete next; pure questions to a store."""

from __future__ import annotations

from coterie_operator.cluster import NAMESPACE, POD, Object
from coterie_operator.local.store import Key, Store, key_of


def orphans(store: Store) -> list[Key]:
    """Return the objects none of whose owners exists in their own namespace (or cluster-scoped).

    An owner of another namespace counts as absent, so a cross-namespace owner deletes the child
    (Kubernetes documentation, "Owners and dependents").
    """
    alive = {obj["metadata"]["uid"]: key for key, obj in store.items()}
    return [key for key, obj in store.items() if _is_orphan(key, obj, alive) and not is_going(obj)]


def is_going(obj: Object) -> bool:
    """Whether the object is being deleted already."""
    return "deletionTimestamp" in obj["metadata"]


def _is_orphan(key: Key, obj: Object, alive: dict[str, Key]) -> bool:
    owners = obj["metadata"].get("ownerReferences") or []
    return bool(owners) and not any(_exists(owner, key.namespace, alive) for owner in owners)


def _exists(owner: Object, namespace: str, alive: dict[str, Key]) -> bool:
    key = alive.get(owner["uid"])
    return key is not None and key.name == owner["name"] and key.namespace in ("", namespace)


def ending_namespaces(store: Store) -> list[str]:
    """Return the names of the namespaces that are being deleted."""
    api = key_of(NAMESPACE, "", "").api
    return [key.name for key, obj in store.items() if key.api == api and is_going(obj)]


def contents(store: Store, namespace: str) -> list[Key]:
    """Return what is to go next from an ending namespace: its pods, and the rest once those are gone (KEP-5080)."""
    inside = [key for key, _ in store.items() if key.namespace == namespace]
    pods = [key for key in inside if key.api == key_of(POD, "", "").api]
    return pods or inside
