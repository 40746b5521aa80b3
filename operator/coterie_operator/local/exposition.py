"""`/metrics` of embedded mode, on loopback alone."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server

from coterie_operator.local.workspace import BadInput

if TYPE_CHECKING:
    from types import TracebackType

HOST = "127.0.0.1"


@dataclass(slots=True)
class Exposition:
    """Serves a registry while it is entered; port 0 takes a free one."""

    registry: CollectorRegistry
    port: int = 0
    _server: WSGIServer = field(init=False)
    _thread: threading.Thread = field(init=False)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._server.server_port}/metrics"

    def __enter__(self) -> Self:
        try:
            self._server, self._thread = start_http_server(self.port, HOST, self.registry)
        except OSError as error:
            raise BadInput(f"--metrics-port {self.port}: {error.strerror}") from None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
