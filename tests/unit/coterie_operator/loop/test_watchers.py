"""Watches on children: whose child it is, and what a namespace without access means."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from coterie_operator.cluster import BATCH_JOB, NAMESPACE, Forbidden, Notice, Unavailable
from coterie_operator.local.memory import MemoryCluster
from coterie_operator.loop.queue import Backoff
from coterie_operator.loop.watchers import Watchers, parent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LABELS = {"app.kubernetes.io/managed-by": "coterie", "coterie.dev/job-namespace": "research", "coterie.dev/job-name": "fashion"}

SPEC = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}


def test_a_childs_job_is_told_by_its_labels() -> None:
    assert parent({"metadata": {"labels": LABELS}}) == ("research", "fashion")


@pytest.mark.parametrize("labels", [None, {}, {"coterie.dev/job-name": "fashion"}, {"coterie.dev/job-namespace": "research"}])
def test_an_object_without_those_labels_is_nobodys_child(labels: Any) -> None:
    assert parent({"metadata": {"labels": labels}}) is None


async def test_a_change_of_a_child_is_a_reason_to_look_at_its_job() -> None:
    cluster = MemoryCluster()
    await cluster.create(NAMESPACE, {"metadata": {"name": "hospital-a"}})
    heard = asyncio.Event()
    watchers = Watchers(cluster, lambda key: heard.set() if key == ("research", "fashion") else None, Backoff(0.01, 0.01))
    task = asyncio.create_task(watchers.watch(BATCH_JOB, "hospital-a"))

    await cluster.create(
        BATCH_JOB, {"metadata": {"name": "x", "namespace": "hospital-a", "labels": LABELS}, "spec": {"template": {"spec": SPEC}}}
    )

    await asyncio.wait_for(heard.wait(), 5)
    task.cancel()


class Failing:
    """A cluster whose watch fails some times and then reports one change."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    async def watch(self, *_: Any) -> AsyncIterator[Notice]:
        if self.errors:
            raise self.errors.pop(0)
        yield Notice("ADDED", {"metadata": {"labels": LABELS}})  # type: ignore[arg-type]
        await asyncio.Event().wait()


@pytest.mark.parametrize("error", [Forbidden("no"), Unavailable("503")])
async def test_a_watch_that_fails_is_begun_again_and_ends_nothing(error: Exception) -> None:
    heard = asyncio.Event()
    watchers = Watchers(Failing(error, error), lambda _: heard.set(), Backoff(0.001, 0.001))  # type: ignore[arg-type]
    task = asyncio.create_task(watchers.watch(BATCH_JOB, "hospital-a"))

    await asyncio.wait_for(heard.wait(), 5)

    assert watchers.denied == set(), "access that came back is no longer missing"
    task.cancel()


async def test_a_namespace_without_access_is_remembered() -> None:
    watchers = Watchers(Failing(*[Forbidden("no")] * 1000), lambda _: None, Backoff(10, 10))  # type: ignore[arg-type]
    task = asyncio.create_task(watchers.watch(BATCH_JOB, "hospital-a"))
    while not watchers.denied:
        await asyncio.sleep(0)

    assert watchers.denied == {"hospital-a"}
    assert not task.done()
    task.cancel()


async def test_namespaces_that_no_job_needs_are_watched_no_more() -> None:
    watchers = Watchers(MemoryCluster(), lambda _: None, Backoff(10, 10))
    async with asyncio.TaskGroup() as group:
        watchers.want(["a", "b"], group)
        watchers.want(["b"], group)
        assert watchers.namespaces == ("a", "b")

        watchers.keep({"b"})
        assert watchers.namespaces == ("b",)
        watchers.keep(set())
