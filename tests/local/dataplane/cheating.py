"""Makes a client's process cheat as a dealer: it shares other secrets than those that it has committed to."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

VARIABLE = "TEST_CHEATS"


def arm() -> None:
    """Put the lie in its place, if the environment asks for it."""
    if VARIABLE in os.environ:
        from coterie_worker.secagg import dealing

        honest = dealing.split_many

        def lies(secrets: Sequence[bytes], *arguments: Any) -> Iterator[list[int]]:
            return honest([bytes(31) + b"\7"] * len(secrets), *arguments)

        dealing.split_many = lies
