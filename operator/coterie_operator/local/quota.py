"""Object-count quotas of the in-memory cluster: the 403 that a tenant's ResourceQuota answers with."""

from __future__ import annotations

from coterie_operator.cluster import POD, Forbidden, Kind, Object
from coterie_operator.local.admission import RESOURCE_QUOTA
from coterie_operator.local.store import Selection, Store

_FINISHED = frozenset({"Succeeded", "Failed"})


def refuse_over_quota(store: Store, kind: Kind, obj: Object) -> None:
    """Raise Forbidden if one more object of `kind` would exceed a `pods` or `count/<resource>` quota of its namespace."""
    namespace = obj["metadata"].get("namespace", "")
    for quota in store.select(Selection(RESOURCE_QUOTA, namespace, {})).values():
        hard = quota.get("spec", {}).get("hard", {})
        for resource in (f"count/{kind.plural}.{kind.group}" if kind.group else f"count/{kind.plural}", kind.plural):
            if resource in hard:
                _check(quota["metadata"]["name"], resource, int(hard[resource]), _used(store, kind, namespace, resource), obj, kind)


def _used(store: Store, kind: Kind, namespace: str, resource: str) -> int:
    objects = store.select(Selection(kind, namespace, {})).values()
    if kind == POD and resource == "pods":  # finished pods are counted by `count/pods` alone
        return sum(pod.get("status", {}).get("phase") not in _FINISHED for pod in objects)
    return len(objects)


def _check(quota: str, resource: str, hard: int, used: int, obj: Object, kind: Kind) -> None:
    if used + 1 > hard:
        name = obj["metadata"]["name"]
        limits = f"requested: {resource}=1, used: {resource}={used}, limited: {resource}={hard}"
        raise Forbidden(f'{kind.plural} "{name}" is forbidden: exceeded quota: {quota}, {limits}')
