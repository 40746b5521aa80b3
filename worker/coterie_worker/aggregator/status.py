"""What the aggregator tells: `/status` to the operator alone, over mutual TLS, and `/metrics` to Prometheus."""

from __future__ import annotations

import json
import ssl
from typing import TYPE_CHECKING, Any

from aiohttp import web

from coterie_api.fields import dump
from coterie_api.names import PATH_TLS, PORT_METRICS, PORT_STATUS
from coterie_worker.transport import OPERATOR_URI

if TYPE_CHECKING:
    from collections.abc import Callable

    from coterie_api.progress import Progress
    from coterie_worker.config import Pod
    from coterie_worker.metrics import AggregatorMetrics


class StatusServer:
    """Serves a `Progress` that is made anew for each request."""

    def __init__(self, pod: Pod, progress: Callable[[], Progress], metrics: AggregatorMetrics) -> None:
        self._pod = pod
        self._progress = progress
        self._numbers = metrics
        self._runners: list[web.AppRunner] = []

    async def start(self) -> None:
        """Listen on both ports."""
        await self._listen("/status", self._status, PORT_STATUS, server_context(self._pod))
        await self._listen("/metrics", self._metrics, PORT_METRICS, None)

    async def stop(self) -> None:
        """Close both ports."""
        for runner in self._runners:
            await runner.cleanup()

    async def _listen(self, path: str, handler: Any, port: int, context: ssl.SSLContext | None) -> None:
        application = web.Application(client_max_size=4096)
        application.router.add_get(path, handler)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, self._pod.host, port, ssl_context=context, shutdown_timeout=0.2).start()

    async def _status(self, request: web.Request) -> web.Response:
        certificate = request.transport.get_extra_info("peercert") if request.transport else None
        if not is_operator(certificate):
            raise web.HTTPForbidden(text="the operator's certificate is needed")
        return web.Response(body=json.dumps(dump(self._progress())).encode(), content_type="application/json")

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=self._numbers.exposition(self._progress()), headers={"Content-Type": "text/plain; version=0.0.4"})


def is_operator(certificate: dict[str, Any] | None) -> bool:
    """Whether a peer's verified certificate is the operator's."""
    return ("URI", OPERATOR_URI) in (certificate or {}).get("subjectAltName", ())


def server_context(pod: Pod) -> ssl.SSLContext:
    """TLS 1.3 with the aggregator's certificate, for clients with a certificate of the same CA."""
    folder = pod.at(PATH_TLS)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    context.load_verify_locations(folder / "ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    return context
