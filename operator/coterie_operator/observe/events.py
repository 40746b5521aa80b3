"""Events of what is stuck without its status saying why: why the Job controller can't create a pod, why a node can't mount its volumes.

Events are read for nothing else, one object's at a time, and not more often than they change. A namespace whose owner does not let the
operator read them is no failure: then people are told where to look themselves.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from coterie_operator.cluster import BATCH_JOB, EVENT, POD, Forbidden, NotFound, Object
from coterie_operator.core.observed import moment
from coterie_operator.observe.obstacles import is_stuck_alone

if TYPE_CHECKING:
    from collections.abc import Iterable

    from coterie_operator.cluster import Cluster

LOG: Final = logging.getLogger(__name__)
PATIENCE: Final = {BATCH_JOB.kind: timedelta(seconds=2), POD.kind: timedelta(seconds=15)}  # before anything counts as stuck
INTERVAL: Final = timedelta(seconds=10)  # between two looks at the events of one object
MEMORY: Final = timedelta(minutes=10)


@dataclass(slots=True)
class Explainer:
    """Reads events of stuck objects; remembers them for a moment, since passes come more often than events."""

    _read: dict[str, tuple[datetime, tuple[Object, ...]]] = field(default_factory=dict)

    async def explain(self, cluster: Cluster, objects: Iterable[Object], now: datetime) -> dict[str, tuple[Object, ...]]:
        """Return the events of those of the objects that are stuck, by uid. Raises Unavailable."""
        found = {obj["metadata"]["uid"]: await self._events(cluster, obj, now) for obj in stuck(list(objects), now)}
        self._read = {uid: entry for uid, entry in self._read.items() if now - entry[0] < MEMORY}
        return found

    async def _events(self, cluster: Cluster, obj: Object, now: datetime) -> tuple[Object, ...]:
        uid, namespace = obj["metadata"]["uid"], obj["metadata"]["namespace"]
        before = self._read.get(uid)
        if before is not None and now - before[0] < INTERVAL:
            return before[1]
        try:
            events = tuple(await cluster.list(EVENT, namespace, fields={"involvedObject.uid": uid, "type": "Warning"}))
        except (Forbidden, NotFound) as error:
            LOG.info("events of %s %s/%s can't be read: %s", obj["kind"], namespace, obj["metadata"]["name"], error)
            events = ()
        self._read[uid] = (now, events)
        return events


def stuck(objects: list[Object], now: datetime) -> tuple[Object, ...]:
    """Return the batch Jobs that have no pod, and the pods that a node has and can't make, both for a while."""
    owners = {owner["uid"] for obj in objects if obj["kind"] == POD.kind for owner in obj["metadata"].get("ownerReferences") or ()}
    return tuple(
        obj for obj in objects if _is_stuck(obj, owners) and now - moment(obj["metadata"]["creationTimestamp"]) > PATIENCE[obj["kind"]]
    )


def _is_stuck(obj: Object, owners: set[str]) -> bool:
    if obj["kind"] == POD.kind:
        return is_stuck_alone(obj)
    if obj["kind"] != BATCH_JOB.kind or obj["metadata"]["uid"] in owners:
        return False
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return not any(each.get("type") in ("Complete", "Failed", "Suspended") and each.get("status") == "True" for each in conditions)
