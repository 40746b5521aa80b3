"""Keeping the status of data sets: whoever hears of a change names a data set, and what it is told is worked out from what there is.

All data sets that are due are worked on together, so that the jobs are listed once for them and not once for each.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from typing import TYPE_CHECKING

from coterie_operator.act import Actor, NotLeader
from coterie_operator.cluster import FEDERATED_DATASET, FEDERATED_JOB, ApiError, Cluster, Conflict, NotFound
from coterie_operator.core.datasets import Use, dataset_status, uses
from coterie_operator.loop.queue import Backoff, Key, WorkQueue
from coterie_operator.observe import read_dataset, read_job

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from datetime import datetime

    from coterie_api.v1alpha1.types import FederatedJobStatus
    from coterie_operator.settings import Settings

LOG = logging.getLogger(__name__)
IN_FLIGHT = 16  # data sets that are read or written at one time


class DatasetKeeper:
    """Looks after the status of all data sets of a cluster."""

    def __init__(self, cluster: Cluster, actor: Actor, settings: Settings, clock: Callable[[], datetime]) -> None:
        self._cluster = cluster
        self._actor = actor
        self._clock = clock
        self._pause = settings.coalesce_seconds
        self._queue = WorkQueue(time.monotonic, Backoff(settings.retry_seconds, settings.retry_max_seconds))
        self._uses: dict[Key, frozenset[Use]] = {}

    def changed(self, dataset: Key) -> None:
        """Ask for a look at a data set."""
        self._queue.add(dataset, after=self._pause)

    def saw(self, job: Key, status: FederatedJobStatus | None) -> None:
        """Hear of a job's status, None once the job is gone, and ask for a look at each data set whose use has begun or ended."""
        now = uses(status) if status is not None else frozenset()
        before = self._uses.pop(job, frozenset())
        if now:
            self._uses[job] = now
        for use in now ^ before:
            self.changed((use.namespace, use.name))

    async def look_at_all(self) -> None:
        """Ask for a look at every data set that there is. Raises ApiError."""
        for raw in await self._cluster.list(FEDERATED_DATASET):
            self.changed((raw["metadata"]["namespace"], raw["metadata"]["name"]))

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Work until cancelled, each time once `lead` has returned."""
        while True:
            await lead()
            due = [await self._queue.take()]
            while (key := self._queue.take_now()) is not None:
                due.append(key)
            try:
                await self._look_after(due)
            finally:
                for key in due:
                    self._queue.done(key)

    async def tell(self, datasets: Iterable[Key]) -> dict[Key, Exception]:
        """Bring the status of data sets up to date; returns those that it could not be done for, and why. Raises ApiError."""
        jobs = Counter(use for raw in await self._cluster.list(FEDERATED_JOB) for use in uses(read_job(raw).status))
        gate = asyncio.Semaphore(IN_FLIGHT)

        async def one(key: Key) -> None:
            async with gate:
                await self._tell(key, jobs)

        keys = list(datasets)
        answers = await asyncio.gather(*(one(key) for key in keys), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, Exception):
                raise answer
        return {key: answer for key, answer in zip(keys, answers, strict=True) if isinstance(answer, Exception)}

    async def _look_after(self, due: list[Key]) -> None:
        try:
            failed = await self.tell(due)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is logged below, and tried again
            failed = dict.fromkeys(due, error)
        for key in due:
            self._judge(key, failed.get(key))

    def _judge(self, key: Key, error: Exception | None) -> None:
        """Decide when a data set is looked at again. A bug in the look at one must not stop the others."""
        if error is None:
            self._queue.succeeded(key)
        elif isinstance(error, (Conflict, NotLeader)):
            self.changed(key)
        else:
            wait = self._queue.failed(key)
            trace = None if isinstance(error, ApiError) else error
            LOG.warning("data set %s/%s not told: %s: %s; again in %.1f s", *key, type(error).__name__, error, wait, exc_info=trace)

    async def _tell(self, key: Key, jobs: Counter[Use]) -> None:
        try:
            dataset = read_dataset(await self._cluster.get(FEDERATED_DATASET, *key))
        except NotFound:
            return
        new = dataset_status(dataset, jobs[dataset.use], self._clock())
        if new != dataset.status:
            await self._actor.write_dataset_status(dataset, new)
