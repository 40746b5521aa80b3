"""Reading a running aggregator's `/status`: HTTPS with mutual TLS, one connection kept alive per aggregator."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import ssl
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import aiohttp

from coterie_api.errors import InvalidObject
from coterie_api.fields import parse
from coterie_api.names import PORT_STATUS
from coterie_api.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from coterie_operator.pki import Issued

LOG = logging.getLogger(__name__)
MAX_STATUS_BYTES = 256 * 1024
KEEPALIVE_SECONDS = 75.0
AGGREGATORS_PER_SECOND = 50
STARTING_SECONDS = 1.0
STARTING_PHASES = ("Starting", "Assembling")


class Probe(Protocol):
    """Who can tell how a running job is doing."""

    async def status(self, host: str, server_name: str) -> Progress | None:
        """Return what the aggregator at the address `host` says, or None when it can't be read now."""
        ...

    async def close(self) -> None:
        """Let go of all connections."""
        ...


class HttpsProbe:
    """Dials a pod's address, verifies the certificate against the *name* of its job's Service, and shows the operator's own."""

    def __init__(self, identity: Issued, timeout_seconds: float = 5.0, port: int = PORT_STATUS) -> None:
        self._context = client_context(identity)
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._port = port
        self._session: aiohttp.ClientSession | None = None

    async def status(self, host: str, server_name: str) -> Progress | None:
        address = f"[{host}]" if ":" in host else host
        url = f"https://{address}:{self._port}/status"
        try:
            async with self._open().get(url, server_hostname=server_name, allow_redirects=False) as answer:
                body = await answer.content.read(MAX_STATUS_BYTES + 1)
                return _read(answer.status, body, server_name)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # An aggregator that starts or restarts can't be read; what is known about the job stays as it was.
            LOG.debug("status of %s at %s: %s", server_name, host, type(error).__name__)
            return None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None
            await asyncio.sleep(0)  # lets aiohttp close its transports

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=self._context, limit=0, limit_per_host=1, keepalive_timeout=KEEPALIVE_SECONDS)
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
            )
        return self._session


def client_context(identity: Issued) -> ssl.SSLContext:
    """Return TLS 1.3 that trusts the operator's authority alone and shows `identity`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=identity.authority.decode())
    # OpenSSL reads a chain from files only; the folder is private and gone when the chain is loaded.
    with tempfile.TemporaryDirectory(prefix="coterie-") as folder:
        chain = Path(folder) / "chain.pem"
        chain.touch(mode=0o600)
        chain.write_bytes(identity.certificate + identity.key)
        context.load_cert_chain(chain)
    return context


def _read(status: int, body: bytes, server_name: str) -> Progress | None:
    if status != 200 or len(body) > MAX_STATUS_BYTES:
        LOG.warning("status of %s: HTTP %d with %d bytes; expected 200 with at most %d", server_name, status, len(body), MAX_STATUS_BYTES)
        return None
    try:
        return parse(Progress, json.loads(body), where="status", strict=False)
    except (ValueError, InvalidObject) as error:
        LOG.warning("status of %s does not parse: %s", server_name, error)
        return None


class PacedProbe:
    """Asks each aggregator no more often than its interval allows, and answers with what it said last in between.

    An aggregator that could not be read, or waits for its clients, is asked again after at most a second: people wait for it.
    """

    def __init__(self, probe: Probe, clock: Callable[[], float], least_seconds: float) -> None:
        self._probe = probe
        self._clock = clock
        self._least = least_seconds
        self._read: dict[str, tuple[float, Progress | None]] = {}

    @property
    def interval(self) -> float:
        """Seconds between two readings of one aggregator: the least, or a fiftieth of a second for each that runs."""
        return max(self._least, len(self._read) / AGGREGATORS_PER_SECOND)

    async def status(self, host: str, server_name: str) -> Progress | None:
        at, progress = self._read.get(server_name, (-math.inf, None))
        is_starting = progress is None or progress.phase in STARTING_PHASES
        wait = min(self.interval, STARTING_SECONDS) if is_starting else self.interval
        if self._clock() - at < wait:
            return progress
        progress = await self._probe.status(host, server_name)
        self._read[server_name] = (self._clock(), progress)
        return progress

    def forget(self, server_name: str) -> None:
        """Stop counting an aggregator that has ended."""
        self._read.pop(server_name, None)

    async def close(self) -> None:
        await self._probe.close()
