"""A server and connections to it, over real TLS on loopback."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.local.dataplane.authority import Authority

from coterie_worker.transport import (
    Admission,
    Connection,
    Credential,
    Greeting,
    Limits,
    Peer,
    Reset,
    RoundsServer,
    ServerCertificate,
    VectorKind,
    role_uri,
)

JOB = "6a9f0c1e-0000-4000-8000-000000000001"
NAME = "digits-aggregator.research.svc"
SPEC_HASH = hashlib.sha256(b"job.json").digest()
SERVER_BYTES = {VectorKind.MASKED: 1 << 26}
CLIENT_BYTES = {VectorKind.LAYOUT: 1 << 20, VectorKind.INITIAL: 1 << 26, VectorKind.PARAMETERS: 1 << 26}
SOON = 10.0  # seconds
GREETING = Greeting.of(lambda: (np.frombuffer(b"{}", np.uint8), np.arange(100, dtype=np.uint8)))


@dataclass
class World:
    """One job: its CA, its aggregator's certificate, its tenants' keys."""

    folder: Path
    clients: int = 2
    authority: Authority = field(default_factory=Authority)
    limits: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.keys = [Ed25519PrivateKey.generate() for _ in range(self.clients)]
        self.pair = self.authority.issue(dns=NAME, uri=role_uri(JOB, "aggregator"))
        self.hosts = self.folder / "hosts"

    def server(self) -> RoundsServer:
        admission = Admission(JOB, SPEC_HASH, tuple(key.public_key().public_bytes_raw() for key in self.keys))
        limits = Limits(dict(SERVER_BYTES), 1 << 16, self.clients, **self.limits)
        return RoundsServer(ServerCertificate(self.pair.certificate, self.pair.key), admission, GREETING, limits)

    def credential(self, index: int) -> Credential:
        return Credential(JOB, index, SPEC_HASH, self.keys[index])

    def connection(self, credential: Credential, port: int) -> Connection:
        peer = Peer(NAME, port, self.hosts, self.authority.certificate)
        return Connection(peer, credential, Limits(dict(CLIENT_BYTES), 1 << 16, **self.limits))


@asynccontextmanager
async def serving(world: World, host: str = "127.0.0.1", port: int = 0):
    server = world.server()
    bound = await server.start(host, port)
    world.hosts.write_text(f"{host} {NAME}\n")
    try:
        yield server, bound
    finally:
        await server.stop()


@asynccontextmanager
async def dialed(connection: Connection):
    task = asyncio.create_task(connection.run())
    try:
        yield connection
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def soon(awaitable):
    async with asyncio.timeout(SOON):
        return await awaitable


async def greeted(connection: Connection) -> None:
    """Read what every new session begins with."""
    assert isinstance(await soon(connection.receive()), Reset)
    for kind in (VectorKind.LAYOUT, VectorKind.INITIAL):
        assert (await soon(connection.receive())).kind is kind
