"""The controller: takes jobs from the queue, and for each observes, decides and acts.

Whoever hears of a change (the handlers of a cluster, the embedded mode) only calls `enqueue`, `related` or `dataset_changed`;
nothing depends on having heard of all changes, since every job and data set is looked at again in each resync.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from coterie_api.podconfig import Role
from coterie_operator.act import Actor, NotLeader, Outcome
from coterie_operator.cluster import FEDERATED_DATASET, FEDERATED_JOB, ApiError, Cluster, Conflict
from coterie_operator.core.actions import Emit
from coterie_operator.core.observed import NamespaceState, Observed
from coterie_operator.core.reconcile import reconcile
from coterie_operator.core.rules.ttl import is_finished
from coterie_operator.loop.datasets import DatasetKeeper
from coterie_operator.loop.queue import Backoff, Key, WorkQueue
from coterie_operator.loop.refusals import Refusals
from coterie_operator.loop.watchers import WATCHED, Watchers
from coterie_operator.manifests.naming import DatasetKey, child_name, service_dns
from coterie_operator.metrics import OperatorMetrics
from coterie_operator.observe import Explainer, Gathering, observe, read_job, referenced
from coterie_operator.probe import PacedProbe, Probe

if TYPE_CHECKING:
    from coterie_operator.core.actions import Plan
    from coterie_operator.pki import Authority
    from coterie_operator.settings import Settings

LOG = logging.getLogger(__name__)
STANDBY_SECONDS = 0.5
RECONCILE_FAILED = "ReconcileFailed"

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return the present, aware."""
    return datetime.now(UTC)


class Controller:
    """Looks after all jobs of a cluster."""

    def __init__(
        self,
        cluster: Cluster,
        probe: Probe,
        settings: Settings,
        authority: Authority,
        *,
        clock: Clock = utc_now,
        is_leader: Callable[[], bool] = lambda: True,
    ) -> None:
        self.metrics = OperatorMetrics()
        self._cluster = cluster
        self._settings = settings
        self._authority = authority.certificate.decode()
        self._clock = clock
        self._is_leader = is_leader
        self._actor = Actor(cluster, settings, authority, is_leader)
        self._datasets = DatasetKeeper(cluster, self._actor, settings, clock)
        self._probe = PacedProbe(probe, time.monotonic, settings.probe_seconds)
        backoff = Backoff(settings.retry_seconds, settings.retry_max_seconds)
        self._queue = WorkQueue(time.monotonic, backoff)
        self._watchers = Watchers(cluster, self.enqueue, backoff)
        self._group: asyncio.TaskGroup | None = None
        self._measure()
        self._references: dict[Key, frozenset[DatasetKey]] = {}
        self._namespaces: dict[Key, frozenset[str]] = {}
        self._refusals = Refusals(backoff)
        self._explainer = Explainer()

    def _measure(self) -> None:
        """Let what is true at a moment be asked for at each scrape."""
        self.metrics.is_leader.set_function(lambda: float(self._is_leader()))
        self.metrics.queue_depth.set_function(lambda: len(self._queue.overdue()))
        self.metrics.queue_age.set_function(lambda: max(self._queue.overdue(), default=0.0))
        for kind in WATCHED:
            for synced in (True, False):
                count = functools.partial(self._watchers.count, kind, synced=synced)
                self.metrics.watches.labels(kind.kind, str(synced).lower()).set_function(count)

    def enqueue(self, key: Key) -> None:
        """Ask for a pass over a job: something about it may have changed."""
        self._queue.add(key, after=self._settings.coalesce_seconds)

    def related(self, namespace: str, dataset: str | None = None) -> None:
        """Ask for a pass over every job that has to do with a data set, or with a namespace if no data set is named."""
        for key, datasets in list(self._references.items()):
            mentions = any(entry.namespace == namespace and dataset in (None, entry.name) for entry in datasets)
            if mentions or (dataset is None and key[0] == namespace):
                self.enqueue(key)

    def dataset_changed(self, key: Key) -> None:
        """Ask for a look at what a data set is told: something about it may have changed."""
        self._datasets.changed(key)

    async def tell_datasets(self) -> None:
        """Bring the status of every data set up to date now. Raises ApiError, or what kept it from being done for one of them."""
        there = [(raw["metadata"]["namespace"], raw["metadata"]["name"]) for raw in await self._cluster.list(FEDERATED_DATASET)]
        for error in (await self._datasets.tell(there)).values():
            raise error

    async def run(self) -> None:
        """Work until cancelled. A pass that fails is repeated; only a bug outside of all passes ends this."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                for number in range(self._settings.workers):
                    group.create_task(self._work(), name=f"worker {number}")
                group.create_task(self._datasets.run(self._lead), name="data sets")
                group.create_task(self._resync(), name="resync")
        finally:
            self._group = None
            await self._probe.close()

    async def process(self, key: Key) -> Plan:
        """Make one pass over a job, and return what was decided.

        Raises:
            ApiError: the API could not be asked or told; the pass is to be repeated.
            NotLeader: another replica acts now.
        """
        seen = await observe(self._gathering(key), *key)
        plan = reconcile(seen)
        outcome = await self._actor.perform(plan.actions, seen.job, seen.now)
        self._refusals.note(key, plan, outcome, seen.now)
        troubles = self._refusals.troubles(key)
        if troubles != seen.troubles:
            # What acting ran into belongs into the same status; the decision itself does not depend on it.
            told = reconcile(replace(seen, troubles=troubles))
            plan = replace(plan, status=told.status, events=told.events)
        if plan.status is not None and seen.job is not None:
            await self._actor.write_status(seen.job, plan.status, outcome.version)
        await self._actor.emit(plan.events, seen.now)
        self._remember(key, seen, plan)
        self._schedule(key, plan, outcome)
        return plan

    def _gathering(self, key: Key) -> Gathering:
        now = self._clock()
        return Gathering(
            cluster=self._cluster,
            settings=self._settings,
            authority=self._authority,
            read_progress=self._probe.status,
            now=now,
            troubles=self._refusals.troubles(key),
            held=self._refusals.held(key, now),
            explainer=self._explainer,
            probe_seconds=self._probe.interval,
            namespaces=self._watchers.namespaces,
        )

    def _remember(self, key: Key, seen: Observed, plan: Plan) -> None:
        job = seen.job
        if job is None:
            self._forget(key)
            return
        self._references[key] = frozenset(referenced(job))
        self._namespaces[key] = frozenset(seen.namespaces)
        status = plan.status or job.status
        self._datasets.saw(key, status)
        self.metrics.saw(key, status, job.spec, seen.now)
        if is_finished(status):
            self._probe.forget(service_dns(child_name(job.key, Role.AGGREGATOR), job.key.namespace))
        if self._group is not None:
            visible = [name for name, state in seen.namespaces.items() if state in (NamespaceState.ACTIVE, NamespaceState.TERMINATING)]
            self._watchers.want(visible, self._group)

    def _forget(self, key: Key) -> None:
        for memory in (self._references, self._namespaces):
            memory.pop(key, None)
        self._datasets.saw(key, None)
        self.metrics.forget(key)

    def _schedule(self, key: Key, plan: Plan, outcome: Outcome) -> None:
        if plan.look_again is not None:
            self._queue.add(key, after=(plan.look_again - self._clock()).total_seconds())
        again = self._refusals.next(key)
        if again is not None:
            self._queue.add(key, after=(again - self._clock()).total_seconds())
        self._queue.succeeded(key)
        if outcome.troubles:
            return
        if plan.status is not None or outcome.wrote:
            self.enqueue(key)

    async def _work(self) -> None:
        while True:
            await self._lead()
            key = await self._queue.take()
            try:
                await self._pass(key)
            finally:
                self._queue.done(key)

    async def _lead(self) -> None:
        """Wait until this replica leads."""
        while not self._is_leader():  # noqa: ASYNC110 - the event is in another process
            await asyncio.sleep(STANDBY_SECONDS)

    async def _pass(self, key: Key) -> None:
        with self.metrics.reconcile_seconds.time():
            try:
                await self.process(key)
            except (NotLeader, Conflict):
                # Another replica leads, or somebody else wrote in between: look again at what there is then.
                self.enqueue(key)
            except ApiError as error:
                self._failed(key, error)
            except Exception as error:
                # A bug in one job's pass must not stop the others; it is told and tried again.
                LOG.exception("pass over job %s/%s", *key)
                self._failed(key, error)
                await self._tell(key, type(error).__name__)

    def _failed(self, key: Key, error: Exception) -> None:
        reason = type(error).__name__
        self.metrics.errors.labels(reason).inc()
        wait = self._queue.failed(key)
        LOG.warning("pass over job %s/%s failed (%s: %s); again in %.1f s", *key, reason, error, wait)

    async def _tell(self, key: Key, what: str) -> None:
        """Tell the job's author that a pass failed. The exception's text stays in the operator's log."""
        try:
            job = read_job(await self._cluster.get(FEDERATED_JOB, *key))
            event = Emit(
                job.key,
                RECONCILE_FAILED,
                f"a pass over the job failed with {what} and is repeated; see the operator's log",
                is_warning=True,
            )
            await self._actor.emit((event,), self._clock())
        except (ApiError, NotLeader) as error:
            LOG.warning("job %s/%s can't be told: %s", *key, error)

    async def _resync(self) -> None:
        """Look at every job and data set again and again, and let go of watches that no job needs."""
        while True:
            try:
                for raw in await self._cluster.list(FEDERATED_JOB):
                    self.enqueue((raw["metadata"]["namespace"], raw["metadata"]["name"]))
                await self._datasets.look_at_all()
            except ApiError as error:
                LOG.warning("jobs or data sets can't be listed: %s", error)
            for key in list(self._references):
                self.enqueue(key)
            await asyncio.sleep(self._settings.resync_seconds)
            self._watchers.keep(set().union(*self._namespaces.values()))
