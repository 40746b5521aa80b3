"""Objects that the laws of the `Cluster` port are asked of, and the waits for what a real cluster does a moment later."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from coterie_api.names import API_VERSION
from coterie_operator.cluster import Change, Cluster, Kind, NotFound, Notice, Object

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

PATIENCE_SECONDS = 60.0  # a real namespace controller takes several seconds; memory answers at once


async def eventually(holds: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait until `holds`, and fail with `what` if it never does."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not await holds():
        if time.monotonic() > end:
            pytest.fail(f"not within {PATIENCE_SECONDS:g} s: {what}")
        await asyncio.sleep(0.05)


def config_map(namespace: str, name: str = "settings", **metadata: object) -> Object:
    return {"metadata": {"name": name, "namespace": namespace, **metadata}, "data": {"color": "blue", "size": "1"}}


def dataset(namespace: str, name: str = "visits", **metadata: object) -> Object:
    return {
        "apiVersion": API_VERSION,
        "kind": "FederatedDataset",
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "spec": {
            "source": {"persistentVolumeClaim": {"claimName": "visits"}},
            "grants": [{"jobs": {"namespaces": ["research"]}, "images": ["registry.example/train:1"]}],
            "identity": {"publicKey": "A" * 42 + "A=", "secretName": "coterie-identity"},
        },
    }


def federated_job(namespace: str, name: str = "digits", **metadata: object) -> Object:
    return {
        "apiVersion": API_VERSION,
        "kind": "FederatedJob",
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "spec": {
            "rounds": 3,
            "task": {"entrypoint": "digits_task:Digits"},
            "participants": {"datasets": [{"namespace": f"tenant-{letter}", "name": "visits"} for letter in "abc"]},
            "privacy": {"mode": "None"},
        },
    }


def pod(namespace: str, name: str = "one", **metadata: object) -> Object:
    container = {"name": "main", "image": "example.invalid/none:1", "command": ["true"]}
    spec = {"containers": [container], "restartPolicy": "Never", "automountServiceAccountToken": False}
    return {"metadata": {"name": name, "namespace": namespace, **metadata}, "spec": spec}


def owned_by(owner: Object) -> dict[str, object]:
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
    }
    return {"ownerReferences": [reference]}


async def is_gone(cluster: Cluster, kind: Kind, namespace: str, name: str) -> bool:
    try:
        await cluster.get(kind, namespace, name)
    except NotFound:
        return True
    return False


async def notices(watch: AsyncIterator[Notice], until: Callable[[Notice], bool]) -> list[Notice]:
    """Collect the notices of a watch up to and with the first that satisfies `until`."""
    seen: list[Notice] = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for notice in watch:
            seen.append(notice)
            if until(notice):
                return seen
    raise AssertionError("the watch ended")


def names(seen: list[Notice]) -> list[tuple[Change, str]]:
    return [(notice.change, notice.obj.get("metadata", {}).get("name", "")) for notice in seen]


def is_synced(notice: Notice) -> bool:
    return notice.change is Change.SYNCED
