"""Heavy calls beside the event loop, and light ones in it; and how many cores there are for them."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SHORT", "cores", "offload"]

SHORT: Final = 1 << 15  # elements: hashing or masking as many takes about as long as going to another thread and back
QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")  # of this container: microseconds of processor time, and in which period (cgroups v2)
P = ParamSpec("P")
T = TypeVar("T")


async def offload(elements: int, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function whose work grows with `elements`: in another thread, unless they are so few that the way there costs more."""
    if elements <= SHORT:
        return function(*args, **kwargs)
    return await asyncio.to_thread(function, *args, **kwargs)


def cores(quota: Path = QUOTA) -> int:
    """How many threads to start: as many as there are cores to run on, but no more than the container's CPU limit pays for in full.

    More would have the kernel stop all of them, the event loop's too, until the next period.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        microseconds, period = map(int, quota.read_text().split())
    except (OSError, ValueError):  # not in a cgroup of version 2, or "max": no limit
        return allowed
    return max(1, min(allowed, microseconds // period))
