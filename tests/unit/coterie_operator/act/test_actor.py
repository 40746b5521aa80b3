"""Laws of acting: writes can be repeated, refusals are told without a tenant's words, and the authority is made once."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest
from tests.unit.coterie_operator import builders
from tests.unit.coterie_operator.manifests.started_parts import KEY, parts
from tests.unit.coterie_operator.world import AUTHORITY

from coterie_api.v1alpha1.types import Reason
from coterie_operator.act import Actor, NotLeader, ensure_authority
from coterie_operator.cluster import CONFIG_MAP, EVENT, FEDERATED_JOB, NAMESPACE, SECRET, Forbidden, Invalid, Unavailable
from coterie_operator.core.actions import Create, CreateCertificate, Delete, Emit
from coterie_operator.local.memory import MemoryCluster
from coterie_operator.manifests.aggregator import certificate_names, certificate_secret
from coterie_operator.observe import read_job
from coterie_operator.settings import Settings


@pytest.fixture
async def cluster() -> MemoryCluster:
    memory = MemoryCluster(now=lambda: builders.START)
    for name in ("research", "coterie-system"):
        await memory.create(NAMESPACE, {"metadata": {"name": name}})
    return memory


def actor(cluster: Any, may_write: bool = True) -> Actor:
    return Actor(cluster, Settings(), AUTHORITY, lambda: may_write)


def config_map(uid: str = KEY.uid) -> dict[str, Any]:
    meta = {"name": "x", "namespace": "research", "labels": {"coterie.dev/job-uid": uid}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"a": "b"}}


async def test_creating_twice_is_the_same_as_once(cluster: MemoryCluster) -> None:
    for _ in range(2):
        outcome = await actor(cluster).perform((Create(config_map()),), None, builders.START)
        assert outcome.troubles == ()

    assert len(await cluster.list(CONFIG_MAP, "research")) == 1


async def test_an_object_of_another_job_in_the_way_is_a_trouble_and_stays(cluster: MemoryCluster) -> None:
    await cluster.create(CONFIG_MAP, config_map("another-uid"))

    outcome = await actor(cluster).perform((Create(config_map()),), None, builders.START)

    (trouble,) = outcome.troubles
    assert trouble.reason is Reason.CREATION_FAILED
    assert "does not belong to this job" in trouble.message
    assert (await cluster.get(CONFIG_MAP, "research", "x"))["metadata"]["labels"]["coterie.dev/job-uid"] == "another-uid"


async def test_only_the_object_that_was_seen_is_deleted(cluster: MemoryCluster) -> None:
    created = await cluster.create(CONFIG_MAP, config_map())

    await actor(cluster).perform((Delete("ConfigMap", "research", "x", "another-uid"),), None, builders.START)
    assert len(await cluster.list(CONFIG_MAP, "research")) == 1
    for _ in range(2):
        await actor(cluster).perform((Delete("ConfigMap", "research", "x", created["metadata"]["uid"]),), None, builders.START)

    assert await cluster.list(CONFIG_MAP, "research") == []


async def test_a_namespace_that_is_gone_is_no_trouble(cluster: MemoryCluster) -> None:
    obj = config_map()
    obj["metadata"]["namespace"] = "gone"

    outcome = await actor(cluster).perform((Create(obj),), None, builders.START)

    assert outcome.troubles == ()


REFUSALS = {
    "a quota": (Forbidden('configmaps "x" is forbidden: exceeded quota: count, used: 7'), Reason.QUOTA_EXCEEDED),
    "no permission": (Forbidden('User "x" cannot create resource "configmaps"'), Reason.TENANT_ACCESS_MISSING),
    "an admission policy": (Invalid("spec.foo: 7 patients"), Reason.CREATION_FAILED),
}


@pytest.mark.parametrize(("error", "reason"), REFUSALS.values(), ids=REFUSALS.keys())
async def test_a_refusal_is_told_without_the_apis_words(cluster: MemoryCluster, error: Exception, reason: Reason) -> None:
    async def refuse(*_: Any) -> Any:
        raise error

    cluster.create = refuse  # type: ignore[method-assign]

    outcome = await actor(cluster).perform((Create(config_map()),), None, builders.START)

    (trouble,) = outcome.troubles
    assert trouble.reason is reason
    assert "7" not in trouble.message


async def test_a_namespace_that_is_being_terminated_is_no_trouble(cluster: MemoryCluster) -> None:
    async def refuse(*_: Any) -> Any:
        raise Forbidden("unable to create new content in namespace research because it is being terminated")

    cluster.create = refuse  # type: ignore[method-assign]

    assert (await actor(cluster).perform((Create(config_map()),), None, builders.START)).troubles == ()


async def test_an_api_that_can_not_be_reached_is_not_swallowed(cluster: MemoryCluster) -> None:
    async def down(*_: Any) -> Any:
        raise Unavailable("503")

    cluster.create = down  # type: ignore[method-assign]

    with pytest.raises(Unavailable):
        await actor(cluster).perform((Create(config_map()),), None, builders.START)


ACTIONS = {
    "create": Create(config_map()),
    "delete": Delete("ConfigMap", "research", "x", "u"),
    "certificate": CreateCertificate(certificate_secret(parts(), 0), KEY.uid, certificate_names(parts())),
}


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS.keys())
async def test_without_leadership_nothing_is_written(cluster: MemoryCluster, action: Any) -> None:
    with pytest.raises(NotLeader):
        await actor(cluster, may_write=False).perform((action,), None, builders.START)

    assert await cluster.list(SECRET) == []
    assert await cluster.list(CONFIG_MAP, "research") == []


async def test_a_certificate_is_issued_into_the_secret_and_never_replaced(cluster: MemoryCluster) -> None:
    secret = certificate_secret(parts(), 0)
    del secret["metadata"]["ownerReferences"]  # this job is not in the cluster, and the garbage collector would see that
    action = CreateCertificate(secret, KEY.uid, certificate_names(parts()))

    await actor(cluster).perform((action,), None, builders.START)
    (first,) = await cluster.list(SECRET, "research")
    await actor(cluster).perform((action,), None, builders.START)
    (second,) = await cluster.list(SECRET, "research")

    assert first == second
    assert sorted(first["data"]) == ["ca.crt", "tls.crt", "tls.key"]
    assert base64.b64decode(first["data"]["ca.crt"]) == AUTHORITY.certificate


async def test_a_secret_that_is_there_is_never_read(cluster: MemoryCluster) -> None:
    action = CreateCertificate(certificate_secret(parts(), 0), KEY.uid, certificate_names(parts()))
    await actor(cluster).perform((action,), None, builders.START)

    async def forbidden(*_: Any) -> Any:
        raise AssertionError("a Secret was read")

    cluster.get = forbidden  # type: ignore[method-assign]

    assert (await actor(cluster).perform((action,), None, builders.START)).troubles == ()


async def test_the_same_news_is_told_once(cluster: MemoryCluster) -> None:
    job = read_job(await cluster.create(FEDERATED_JOB, builders.job())).key
    for message in ("a", "a", "b"):
        await actor(cluster).emit((Emit(job, "Failed", message, is_warning=True),), builders.START)

    events = await cluster.list(EVENT, "research")
    assert sorted(event["message"] for event in events) == ["a", "b"]
    assert {(event["type"], event["involvedObject"]["uid"]) for event in events} == {("Warning", job.uid)}


async def test_an_event_that_can_not_be_written_stops_nothing(cluster: MemoryCluster) -> None:
    async def refuse(*_: Any) -> Any:
        raise Forbidden("no events")

    cluster.create = refuse  # type: ignore[method-assign]

    await actor(cluster).emit((Emit(KEY, "Failed", "a"),), builders.START)


async def test_the_authority_is_made_once_and_then_read(cluster: MemoryCluster) -> None:
    first = await ensure_authority(cluster, Settings(), builders.START)
    second = await ensure_authority(cluster, Settings(), builders.START)

    assert first.certificate == second.certificate


async def test_of_replicas_that_start_together_all_use_the_same_authority(cluster: MemoryCluster) -> None:
    found = await asyncio.gather(*(ensure_authority(cluster, Settings(), builders.START) for _ in range(4)))

    assert len({authority.certificate for authority in found}) == 1


async def test_a_secret_that_holds_no_authority_is_refused(cluster: MemoryCluster) -> None:
    meta = {"name": "coterie-ca", "namespace": "coterie-system"}
    await cluster.create(SECRET, {"metadata": meta, "data": {"tls.crt": "YQ=="}})

    with pytest.raises(ValueError, match=r"coterie-system/coterie-ca: data: tls\.key missing"):
        await ensure_authority(cluster, Settings(), builders.START)
