"""Runs `coterie_worker` in a process that kills itself, by SIGKILL, at an exact place: before or after one call of one function.

The place is named in the environment, so nothing in the product knows of it.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import signal
import sys
from dataclasses import asdict, dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

VARIABLE = "TEST_DIES"


@dataclass(frozen=True)
class Death:
    """Where a process dies.

    Attributes:
        place: module:Class.method.
        is_before: the call, else after it.
        number: of the call, from 1.
        argument: count only calls with this text in an argument.
    """

    place: str
    is_before: bool = True
    number: int = 1
    argument: str = ""

    @property
    def environment(self) -> dict[str, str]:
        return {VARIABLE: json.dumps(asdict(self))}


def arm() -> None:
    """Put the death in its place, if the environment names one."""
    if VARIABLE in os.environ:
        death = Death(**json.loads(os.environ[VARIABLE]))
        module, _, qualified = death.place.partition(":")
        owner, _, name = qualified.rpartition(".")
        target = importlib.import_module(module)
        target = getattr(target, owner) if owner else target
        setattr(target, name, mortal(getattr(target, name), death))


def mortal(function: Callable[..., Any], death: Death) -> Callable[..., Any]:
    calls = count(1)

    @functools.wraps(function)
    def call(*arguments: Any, **keywords: Any) -> Any:
        is_last = death.argument in " ".join(map(str, arguments)) and next(calls) == death.number
        if is_last and death.is_before:
            die()
        result = function(*arguments, **keywords)
        if is_last:
            die()
        return result

    return call


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    from coterie_worker.cli import main

    arm()
    main(sys.argv[1:])
