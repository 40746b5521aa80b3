"""One replica of the operator: what Kopf sees becomes a key in the queue, and the elected replica works the queue off.

Only `on.event` is used, for the kinds that are readable everywhere: with it Kopf writes nothing, neither finalizers nor
annotations, on the leader or on a standby. Every replica watches, so that a standby is warm; only the leader acts.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import logging
import os
import secrets
import signal
import socket
from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

import kopf
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from coterie_api.names import GROUP, VERSION
from coterie_operator.account import owner_references
from coterie_operator.act import ensure_authority
from coterie_operator.catchup import CatchUp
from coterie_operator.cluster import FEDERATED_DATASET, FEDERATED_JOB, NAMESPACE, ApiError, Unavailable
from coterie_operator.kube import KubeCluster
from coterie_operator.leader import Candidate, Elector, GuardedCluster
from coterie_operator.loop import Controller, Key
from coterie_operator.pki import Validity, operator_request
from coterie_operator.probe import HttpsProbe
from coterie_operator.scope import ScopedCluster

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from coterie_operator.cluster import Cluster, Kind, Object
    from coterie_operator.settings import Settings

LEASE: Final = "coterie-operator"
EXIT_FAILED: Final = 1

_LOG: Final = logging.getLogger(__name__)
_T = TypeVar("_T")

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


class DatasetNews:
    """Tells a change of a data set that may matter to jobs from one of its status, which the operator itself writes."""

    def __init__(self) -> None:
        self._seen: dict[Key, tuple[object, ...]] = {}

    def is_news(self, metadata: Mapping[str, Any], *, is_gone: bool) -> bool:
        """Return whether the data set has gone, is going, is another one, or says something else than when last heard of."""
        key = (metadata["namespace"], metadata["name"])
        before = self._seen.pop(key, None)
        now = (metadata.get("uid"), metadata.get("generation"), metadata.get("deletionTimestamp"))
        if not is_gone:
            self._seen[key] = now
        return is_gone or now != before


def _nobody(_: Key) -> None:
    """Hear of a data set and do nothing."""


def registry(
    index: JobIndex,
    enqueue: Callable[[Key], None],
    dataset_touched: Callable[[Key], None] = _nobody,
    *,
    told: Callable[[Kind, Mapping[str, Any]], None] = lambda _kind, _metadata: None,
    is_clusterwide: bool = True,
) -> kopf.OperatorRegistry:
    """Return Kopf's handlers: each event is looked up in `index` and its jobs are enqueued.

    Every event of a data set goes to `dataset_touched`; its jobs are woken only by what may matter to them, which its status does not.
    Each object is `told` of once its event is dealt with. Namespaces can't be watched by who may not see all of them; what becomes of
    one is then seen by its pods, and in each resync.
    """
    found = kopf.OperatorRegistry()
    news = DatasetNews()

    kopf.on.login(registry=found)(_credentials)

    @kopf.on.event(GROUP, VERSION, "federatedjobs", registry=found)
    async def job_changed(type: str | None, body: Mapping[str, Any], **_: object) -> None:  # noqa: A002 - Kopf's name for it
        key = (body["metadata"]["namespace"], body["metadata"]["name"])
        if type == "DELETED":
            index.drop(key)
        else:
            index.put(dict(body))
        enqueue(key)
        told(FEDERATED_JOB, body["metadata"])

    @kopf.on.event(GROUP, VERSION, "federateddatasets", registry=found)
    async def dataset_changed(type: str | None, body: Mapping[str, Any], **_: object) -> None:  # noqa: A002 - Kopf's name for it
        dataset = (body["metadata"]["namespace"], body["metadata"]["name"])
        dataset_touched(dataset)
        for key in index.naming(dataset) if news.is_news(body["metadata"], is_gone=type == "DELETED") else ():
            enqueue(key)
        told(FEDERATED_DATASET, body["metadata"])

    async def namespace_changed(name: str, **_: object) -> None:
        for key in index.touching(name):
            enqueue(key)
        told(NAMESPACE, {"name": name})

    if is_clusterwide:
        kopf.on.event("", "v1", "namespaces", registry=found)(namespace_changed)
    return found


def _credentials(**parts: Any) -> kopf.ConnectionInfo | None:
    """Choose as `KubeCluster.connect` does."""
    if os.environ.get("KUBECONFIG"):
        return kopf.login_with_kubeconfig(**parts)
    return kopf.login_with_service_account(**parts) or kopf.login_with_kubeconfig(**parts)


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


def run(settings: Settings) -> int:
    """Run one replica until a signal ends it; return its exit status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("kopf").setLevel(logging.WARNING)  # it tells of every event
    return asyncio.run(_run(settings))


async def _run(settings: Settings) -> int:
    async with await KubeCluster.connect() as cluster:
        try:
            replica = await _Replica.prepare(cluster, settings)
        except (ApiError, ValueError) as error:
            _LOG.critical("the operator can't start; are the chart's definitions and roles installed? %s: %s", type(error).__name__, error)
            return EXIT_FAILED
        return await replica.serve()


class _Replica:
    """What one process runs: Kopf's watches, the election, the controller while it leads, and two small HTTP servers."""

    def __init__(self, settings: Settings, elector: Elector, controller: Controller, catch_up: CatchUp, ends: datetime) -> None:
        self._settings = settings
        self._elector = elector
        self._controller = controller
        self._catch_up = catch_up
        self._ends = ends
        self._index = JobIndex()
        self._stop, self._kopf_ready, self._kopf_stop = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @classmethod
    async def prepare(cls, cluster: KubeCluster, settings: Settings) -> _Replica:
        """Read or make the authority, and list the jobs. Raises ApiError when the cluster isn't set up for the operator."""
        now = datetime.now(UTC)
        owners = owner_references()
        authority = await _insist(lambda: ensure_authority(cluster, settings, now, owners))
        identity = authority.issue(operator_request(), now, settings.certificate_days)
        ends = Validity.of_days(now, settings.certificate_days).renewal
        name = f"{settings.identity or socket.gethostname()}-{secrets.token_hex(4)}"
        elector = Elector(cluster, Candidate(settings.namespace, LEASE, name, owners))
        probe = HttpsProbe(identity, settings.probe_timeout_seconds)
        seen: Cluster = cluster
        if settings.namespaces:
            seen = ScopedCluster(cluster, settings.namespaces)
        controller = Controller(GuardedCluster(seen, elector), probe, settings, authority, is_leader=lambda: elector.seconds_left() > 0)
        cluster.metrics.register(controller.metrics.registry)
        watched = (FEDERATED_JOB, FEDERATED_DATASET) if settings.namespaces else (FEDERATED_JOB, FEDERATED_DATASET, NAMESPACE)
        replica = cls(settings, elector, controller, CatchUp(seen, watched), ends)
        replica._catch_up.show(controller.metrics.watches, replica._kopf_ready.is_set)
        await replica._list()
        return replica

    async def _list(self) -> None:
        """Note all that exists, which Kopf is to tell of before the replica is ready. Raises ApiError."""
        for kind in self._catch_up.kinds:
            there = await _insist(functools.partial(self._catch_up.owe, kind))
            for job in there if kind is FEDERATED_JOB else ():
                self._controller.enqueue(self._index.put(job))

    async def serve(self) -> int:
        """Work until a signal, until the replica's own certificate is to be renewed by a new process, or until a part of it dies."""
        servers = [
            await self._listen(self._settings.health_port, self._health),
            await self._listen(self._settings.metrics_port, self._metrics),
        ]
        leading = asyncio.create_task(self._elector.lead(self._controller.run), name="leading")
        watching = asyncio.create_task(self._watch(), name="watching")
        ending = asyncio.create_task(self._until_end(), name="ending")
        forgiving = asyncio.create_task(self._catch_up.forgive(), name="catching up")
        done, _ = await asyncio.wait({leading, watching, ending}, return_when=asyncio.FIRST_COMPLETED)
        # The order matters: the work stops and hands its lease over, only then Kopf ends, which cancels whatever it finds.
        leading.cancel()
        forgiving.cancel()
        await asyncio.wait({leading, forgiving})
        self._kopf_stop.set()
        await asyncio.wait({watching}, timeout=_EXIT_SECONDS)
        for server in servers:
            await server.cleanup()
        if ending in done:
            return 0
        for task in done:
            _LOG.critical("%s ended, so the replica does", task.get_name(), exc_info=task.exception() if not task.cancelled() else None)
        return EXIT_FAILED

    async def _watch(self) -> None:
        existing = asyncio.all_tasks()
        tasks = await kopf.spawn_tasks(
            registry=registry(
                self._index,
                self._controller.enqueue,
                self._controller.dataset_changed,
                told=self._catch_up.told,
                is_clusterwide=not self._settings.namespaces,
            ),
            settings=kopf_settings(),
            clusterwide=not self._settings.namespaces,
            namespaces=self._settings.namespaces,
            ready_flag=self._kopf_ready,
            stop_flag=self._kopf_stop,
        )
        self._heed_signals()  # after Kopf, which would end at a signal before the work has
        await kopf.run_tasks(tasks, ignored=existing)

    async def _until_end(self) -> None:
        self._heed_signals()
        left = (self._ends - datetime.now(UTC)).total_seconds()
        try:
            # Not wait_for: up to Python 3.11 it can swallow a cancellation that comes together with the event.
            async with asyncio.timeout(left):
                await self._stop.wait()
        except TimeoutError:
            _LOG.info("the certificate for reading aggregators is old; a new process makes a new one")

    def _heed_signals(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._stop.set)

    async def _listen(self, port: int, routes: Callable[[], list[web.RouteDef]]) -> web.AppRunner:
        application = web.Application()
        application.add_routes(routes())
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, self._settings.listen, port).start()
        return runner

    def _health(self) -> list[web.RouteDef]:
        async def alive(_: web.Request) -> web.Response:
            return web.Response(text="ok\n")  # that it answers is the answer: a dead part ends the process

        async def ready(_: web.Request) -> web.Response:
            if not self._kopf_ready.is_set():
                return web.Response(status=503, text="not watching yet\n")
            if self._catch_up.owed:
                return web.Response(status=503, text=f"catching up: {self._catch_up.owed} objects\n")
            return web.Response(text="leading\n" if self._elector.seconds_left() > 0 else "standing by\n")

        return [web.get("/healthz", alive), web.get("/readyz", ready)]

    def _metrics(self) -> list[web.RouteDef]:
        found: CollectorRegistry = self._controller.metrics.registry

        async def metrics(_: web.Request) -> web.Response:
            return web.Response(body=generate_latest(found), headers={"Content-Type": CONTENT_TYPE_LATEST})

        return [web.get("/metrics", metrics)]


async def _insist(call: Callable[[], Awaitable[_T]]) -> _T:
    """Return what a call returns, as soon as the API server can be reached."""
    for pause in _Patience():
        try:
            return await call()
        except Unavailable as error:
            _LOG.warning("the API server can't be reached, again in %g s: %s", pause, error)
            await asyncio.sleep(pause)
    raise AssertionError("patience has no end")
