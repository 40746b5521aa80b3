"""Heavy calls beside the event loop, and light ones in it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SHORT", "offload"]

SHORT: Final = 1 << 15  # elements: hashing or masking as many takes about as long as going to another thread and back
P = ParamSpec("P")
T = TypeVar("T")


async def offload(elements: int, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function whose work grows with `elements`: in another thread, unless they are so few that the way there costs more."""
    if elements <= SHORT:
        return function(*args, **kwargs)
    return await asyncio.to_thread(function, *args, **kwargs)
