"""Kopf on a real API server: every change becomes a key, and Kopf itself writes nothing."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import kopf
import pytest

from coterie_operator.cluster import FEDERATED_DATASET, FEDERATED_JOB, NAMESPACE
from coterie_operator.handlers import JobIndex, kopf_settings, registry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from coterie_operator.kube import KubeCluster
    from coterie_operator.loop import Key

JOBS = "research"


class Edge:
    """Kopf in a thread of its own, and what it enqueued."""

    def __init__(self) -> None:
        self.keys: list[Key] = []
        self.ready, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        handlers = registry(JobIndex(), self.keys.append)
        kopf.run(registry=handlers, settings=kopf_settings(), clusterwide=True, ready_flag=self.ready, stop_flag=self._stop)

    def start(self) -> None:
        self._thread.start()
        assert self.ready.wait(30)

    def end(self) -> None:
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    async def hears(self, key: Key) -> None:
        """Wait for a key, and forget what came before."""
        async with asyncio.timeout(30):
            while key not in self.keys:
                await asyncio.sleep(0.05)
        self.keys.clear()


@pytest.fixture
async def edge(operator_kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Edge]:
    monkeypatch.setenv("KUBECONFIG", str(operator_kubeconfig))
    running = Edge()
    running.start()
    yield running
    running.end()


def job(name: str, tenant: str) -> dict[str, Any]:
    spec = {
        "rounds": 1,
        "task": {"entrypoint": "a:B"},
        "participants": {"datasets": [{"namespace": tenant, "name": "visits"}]},
        "privacy": {"mode": "None"},
        "secureAggregation": {"protocol": "None"},
    }
    return {"metadata": {"name": name, "namespace": JOBS}, "spec": spec}


def dataset(namespace: str) -> dict[str, Any]:
    spec = {
        "source": {"persistentVolumeClaim": {"claimName": "visits"}},
        "grants": [{"jobs": {"namespaces": [JOBS]}, "images": ["registry.example/train:1"]}],
        "identity": {"publicKey": "A" * 43 + "=", "secretName": "coterie-identity"},
    }
    return {"metadata": {"name": "visits", "namespace": namespace}, "spec": spec}


async def test_every_change_that_concerns_a_job_enqueues_it_and_kopf_writes_nothing(edge: Edge, admin: KubeCluster) -> None:
    tenant, key = "edge-tenant", (JOBS, "edge")
    before = await admin.create(FEDERATED_JOB, job("edge", tenant))
    await edge.hears(key)

    await admin.create(NAMESPACE, {"metadata": {"name": tenant}})
    await edge.hears(key)
    created = await admin.create(FEDERATED_DATASET, dataset(tenant))
    await edge.hears(key)
    await admin.patch(FEDERATED_DATASET, tenant, "visits", {"spec": {"declaredRecords": 5}})
    await edge.hears(key)
    await admin.delete(FEDERATED_DATASET, tenant, "visits")
    await edge.hears(key)

    assert await admin.get(FEDERATED_JOB, JOBS, "edge") == before
    assert "annotations" not in created["metadata"]
    await admin.delete(NAMESPACE, "", tenant)
    await edge.hears(key)
    await admin.delete(FEDERATED_JOB, JOBS, "edge")
    await edge.hears(key)


async def test_a_tenants_data_wakes_the_jobs_that_name_it_alone(edge: Edge, admin: KubeCluster) -> None:
    for name, tenant in (("edge", "hospital-a"), ("other", "hospital-b")):
        await admin.create(FEDERATED_JOB, job(name, tenant))
        await edge.hears((JOBS, name))
    await admin.create(FEDERATED_DATASET, dataset("hospital-b"))
    async with asyncio.timeout(30):
        while not edge.keys:
            await asyncio.sleep(0.05)
    woken = set(edge.keys)
    await admin.delete(FEDERATED_DATASET, "hospital-b", "visits")
    for name in ("edge", "other"):
        await admin.delete(FEDERATED_JOB, JOBS, name)

    assert woken == {(JOBS, "other")}
