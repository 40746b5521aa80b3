"""The operator's probe against a real HTTPS server on loopback: whom it believes, and whom it does not."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from coterie_api.fields import canonical
from coterie_api.progress import Progress
from coterie_operator.pki import Authority, Issued, aggregator_request, operator_request
from coterie_operator.probe import HttpsProbe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NOW = datetime.now(UTC)
NAME = "fashion-aggregator-abcdefghij.research.svc"
PROGRESS = Progress(rounds_done=3, rounds=10, phase="Training", connected=5)
AUTHORITY = Authority.create(NOW - timedelta(days=30))
STRANGER = Authority.create(NOW)


def server_context(folder: Path, issued: Issued) -> ssl.SSLContext:
    (folder / "chain.pem").write_bytes(issued.certificate + issued.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(folder / "chain.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=AUTHORITY.certificate.decode())
    return context


@asynccontextmanager
async def aggregator(folder: Path, issued: Issued) -> AsyncIterator[tuple[int, list[int]]]:
    """Serve a status on a free port; yields the port, and the ids of the connections that asked."""
    connections: list[int] = []

    async def status(request: web.Request) -> web.Response:
        connections.append(id(request.transport))
        return web.Response(body=canonical(PROGRESS), content_type="application/json")

    app = web.Application()
    app.router.add_get("/status", status)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_context(folder, issued))
    await site.start()
    try:
        yield runner.addresses[0][1], connections
    finally:
        await runner.cleanup()


@asynccontextmanager
async def probe(identity: Issued, port: int) -> AsyncIterator[HttpsProbe]:
    made = HttpsProbe(identity, timeout_seconds=5, port=port)
    try:
        yield made
    finally:
        await made.close()


def issue(*names: str, authority: Authority = AUTHORITY, at: datetime = NOW) -> Issued:
    return authority.issue(aggregator_request("uid-1", names), at, 10)


OPERATOR = AUTHORITY.issue(operator_request(), NOW, 10)


async def test_an_aggregator_of_our_authority_is_read_by_the_name_of_its_service(tmp_path: Path) -> None:
    async with aggregator(tmp_path, issue(NAME)) as (port, _), probe(OPERATOR, port) as asker:
        assert await asker.status("127.0.0.1", NAME) == PROGRESS


async def test_the_connection_is_kept_for_the_next_reading(tmp_path: Path) -> None:
    async with aggregator(tmp_path, issue(NAME)) as (port, connections), probe(OPERATOR, port) as asker:
        for _ in range(3):
            assert await asker.status("127.0.0.1", NAME) == PROGRESS

    assert len(set(connections)) == 1


REFUSED = {
    "another job's certificate": issue("other-aggregator-abcdefghij.research.svc"),
    "another authority's certificate": issue(NAME, authority=STRANGER),
    "a certificate that has ended": issue(NAME, at=NOW - timedelta(days=20)),
    "the operator's own certificate": OPERATOR,
}


@pytest.mark.parametrize("issued", REFUSED.values(), ids=REFUSED.keys())
async def test_nobody_else_is_believed(tmp_path: Path, issued: Issued) -> None:
    async with aggregator(tmp_path, issued) as (port, connections), probe(OPERATOR, port) as asker:
        assert await asker.status("127.0.0.1", NAME) is None

    assert connections == [], "nothing was asked of it"


@pytest.mark.parametrize("identity", [issue(NAME), STRANGER.issue(operator_request(), NOW, 10)], ids=["an aggregator", "a stranger"])
async def test_nobody_but_the_operator_may_ask(tmp_path: Path, identity: Issued) -> None:
    trusting = Issued(identity.certificate, identity.key, AUTHORITY.certificate)
    async with aggregator(tmp_path, issue(NAME)) as (port, connections), probe(trusting, port) as asker:
        assert await asker.status("127.0.0.1", NAME) is None

    assert connections == []


async def test_an_aggregator_that_is_not_there_is_none() -> None:
    async with probe(OPERATOR, 1) as asker:
        assert await asker.status("127.0.0.1", NAME) is None
