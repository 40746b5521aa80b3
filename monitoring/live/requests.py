"""Requests to an in-memory cluster, counted as the client of a real one counts its own."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any, Final

from coterie_operator.cluster import AlreadyExists, ApiError, Conflict, Forbidden, Invalid, NotFound

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from coterie_operator.local.memory import MemoryCluster
    from coterie_operator.metrics import RequestMetrics

WELL: Final = {"get": 200, "list": 200, "create": 201, "patch": 200, "delete": 200}
CODES: Final = {NotFound: 404, AlreadyExists: 409, Conflict: 409, Forbidden: 403, Invalid: 422}


def count_requests(cluster: MemoryCluster, metrics: RequestMetrics) -> None:
    """Count what is asked of a cluster from now on."""

    def counted(verb: str, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        @functools.wraps(call)
        async def asked(*arguments: Any, **named: Any) -> Any:
            started, code = time.monotonic(), WELL[verb]
            try:
                return await call(*arguments, **named)
            except ApiError as error:
                code = CODES.get(type(error), 500)
                raise
            finally:
                metrics.answered(verb, code, time.monotonic() - started)

        return asked

    for verb in WELL:
        setattr(cluster, verb, counted(verb, getattr(cluster, verb)))
