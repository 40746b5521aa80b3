"""The edge of the control plane: what Kopf sees becomes a key in the queue, and nothing more.

Only `on.event` is used, for the kinds that are readable everywhere: with it Kopf writes nothing, neither finalizers nor
annotations, on the leader or on a standby. Every replica watches, so that a standby is warm; only the leader acts.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

import kopf

from coterie_api.names import GROUP, VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from coterie_operator.cluster import Object

Key = tuple[str, str]  # namespace and name

_CONNECT_SECONDS: Final = 5
_REQUEST_SECONDS: Final = 30
_WATCH_SECONDS: Final = 240
_SILENCE_SECONDS: Final = 75  # bookmarks come every minute
_EXIT_SECONDS: Final = 15


class JobIndex:
    """Which jobs an event may concern: a job by itself, by a data set that it names, by a namespace that it touches."""

    def __init__(self) -> None:
        self._datasets: dict[Key, frozenset[Key]] = {}
        self._by_dataset: defaultdict[Key, set[Key]] = defaultdict(set)
        self._by_namespace: defaultdict[str, set[Key]] = defaultdict(set)

    def put(self, job: Object) -> Key:
        """Note what a job names now; return its key."""
        metadata = job["metadata"]
        key = (metadata["namespace"], metadata["name"])
        self.drop(key)
        self._datasets[key] = frozenset(_datasets(job))
        for dataset in self._datasets[key]:
            self._by_dataset[dataset].add(key)
        for namespace in self._namespaces(key):
            self._by_namespace[namespace].add(key)
        return key

    def drop(self, key: Key) -> None:
        """Forget a job that is gone."""
        if key not in self._datasets:
            return
        for namespace in self._namespaces(key):
            _discard(self._by_namespace, namespace, key)
        for dataset in self._datasets.pop(key):
            _discard(self._by_dataset, dataset, key)

    def naming(self, dataset: Key) -> tuple[Key, ...]:
        """Return the jobs that name a data set."""
        return tuple(sorted(self._by_dataset.get(dataset, ())))

    def touching(self, namespace: str) -> tuple[Key, ...]:
        """Return the jobs that lie in a namespace or name a data set there."""
        return tuple(sorted(self._by_namespace.get(namespace, ())))

    def _namespaces(self, key: Key) -> set[str]:
        return {key[0]} | {namespace for namespace, _ in self._datasets[key]}


def _datasets(job: Object) -> Iterator[Key]:
    """Yield what a job names; one that doesn't parse is looked at all the same, so nothing is taken for granted."""
    spec = job.get("spec")
    participants = spec.get("participants") if isinstance(spec, dict) else None
    named = participants.get("datasets") if isinstance(participants, dict) else None
    for each in named if isinstance(named, list) else []:
        if isinstance(each, dict):
            yield str(each.get("namespace", "")), str(each.get("name", ""))


def _discard(index: dict[Any, set[Key]], name: object, key: Key) -> None:
    index[name].discard(key)
    if not index[name]:
        del index[name]


def registry(index: JobIndex, enqueue: Callable[[Key], None]) -> kopf.OperatorRegistry:
    """Return Kopf's handlers: each event is looked up in `index` and its jobs are enqueued."""
    found = kopf.OperatorRegistry()

    @kopf.on.login(registry=found)
    def credentials(**parts: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**parts) or kopf.login_with_kubeconfig(**parts)

    @kopf.on.event(GROUP, VERSION, "federatedjobs", registry=found)
    async def job_changed(type: str | None, body: Mapping[str, Any], **_: object) -> None:  # noqa: A002 - Kopf's name for it
        key = (body["metadata"]["namespace"], body["metadata"]["name"])
        if type == "DELETED":
            index.drop(key)
        else:
            index.put(dict(body))
        enqueue(key)

    @kopf.on.event(GROUP, VERSION, "federateddatasets", registry=found)
    async def dataset_changed(namespace: str | None, name: str, **_: object) -> None:
        for key in index.naming((namespace or "", name)):
            enqueue(key)

    @kopf.on.event("", "v1", "namespaces", registry=found)
    async def namespace_changed(name: str, **_: object) -> None:
        for key in index.touching(name):
            enqueue(key)

    return found


def kopf_settings() -> kopf.OperatorSettings:
    """Return Kopf's settings: no writes, no peers, no scan of kinds or namespaces, and no wait without an end."""
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.networking = dataclasses.replace(
        settings.networking, request_timeout=_REQUEST_SECONDS, connect_timeout=_CONNECT_SECONDS, error_backoffs=_Patience()
    )
    settings.watching = dataclasses.replace(
        settings.watching,
        server_timeout=_WATCH_SECONDS,
        client_timeout=_WATCH_SECONDS + _REQUEST_SECONDS,
        connect_timeout=_CONNECT_SECONDS,
        inactivity_timeout=_SILENCE_SECONDS,
    )
    settings.process.ultimate_exiting_timeout = _EXIT_SECONDS
    return settings


class _Patience:
    """Pauses between attempts, in seconds, without an end: an API server that is away for an hour is no reason to exit."""

    def __iter__(self) -> Iterator[float]:
        yield from (0.5, 1, 2, 4, 8)
        while True:
            yield 15
