"""The evaluator's numbers, read from the folder that it shares with the aggregator."""

from __future__ import annotations

import asyncio
import json
import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

log = logging.getLogger(__name__)
POLL_SECONDS: Final = 0.05  # one look into a folder; there is no portable way to be told
FILE_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One model on public data; None where the evaluator has no such number."""

    version: int
    accuracy: float | None
    loss: float | None


async def follow(folder: Path, tell: Callable[[Evaluation], None]) -> None:
    """Tell of each evaluation once, by version, for as long as this runs."""
    seen: set[int] = set()
    while True:
        for path in sorted(new_files(folder, seen), key=lambda path: int(path.stem)):
            seen.add(int(path.stem))
            if (evaluation := read(path)) is not None:
                tell(evaluation)
        await asyncio.sleep(POLL_SECONDS)


def new_files(folder: Path, seen: set[int]) -> list[Path]:
    """Evaluations that weren't there before."""
    try:
        return [path for path in folder.iterdir() if path.suffix == ".json" and path.stem.isdecimal() and int(path.stem) not in seen]
    except FileNotFoundError:
        return []


def read(path: Path) -> Evaluation | None:
    """One evaluation; None, with a warning, if the file makes no sense: the evaluator's failure never fails the job."""
    try:
        with path.open("rb") as file:
            document = json.loads(file.read(FILE_BYTES))
        return Evaluation(int(path.stem), number(document.get("accuracy")), number(document.get("loss")))
    except (OSError, ValueError, AttributeError) as error:
        log.warning("evaluation %s can't be read: %s", path.name, type(error).__name__)
        return None


def number(found: Any) -> float | None:
    """A finite number, or None."""
    return float(found) if isinstance(found, int | float) and math.isfinite(found) else None
