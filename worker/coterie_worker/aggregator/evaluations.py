"""The evaluator's numbers, read from the folder that it shares with the aggregator."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from coterie_api.history import bounded
from coterie_api.progress import Drop, DropReason
from coterie_api.v1alpha1.job import SelectBy
from coterie_worker.rounds import events as on

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from coterie_worker.aggregator.history import History
    from coterie_worker.aggregator.publish import Models

log = logging.getLogger(__name__)
POLL_SECONDS: Final = 0.05  # one look into a folder; there is no portable way to be told
FILE_BYTES: Final = 64 * 1024
_NAME: Final = re.compile(r"[A-Za-z0-9_./:-]{0,140}")  # of a class, a line, an incident


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One model on public data.

    Attributes:
        accuracy, loss: None where the evaluator has no such number, or none that is finite.
        metrics: all numbers of the task by name, None where one is not finite.
        failure: why there are no numbers at all. Of version 0, which nobody scores, it says that the evaluator could not begin.
    """

    version: int
    accuracy: float | None
    loss: float | None
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    failure: Drop | None = None

    @property
    def others(self) -> dict[str, float]:
        """The finite numbers beside accuracy and loss."""
        return {name: value for name, value in self.metrics.items() if value is not None and name not in ("accuracy", "loss")}

    def value(self, select_by: SelectBy | None) -> float | None:
        """Return what models are compared by: NaN for a model that gives none, None if the evaluator failed or has no such number."""
        name, found = ("loss", self.loss) if select_by is SelectBy.LOSS else ("accuracy", self.accuracy)
        is_the_models = self.failure is None and name in self.metrics
        return math.nan if found is None and is_the_models else found


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
        version, accuracy, loss = int(path.stem), number(document.get("accuracy")), number(document.get("loss"))
        return Evaluation(version, accuracy, loss, numbers(document.get("metrics")), failure(document))
    except (OSError, ValueError, AttributeError) as error:
        log.warning("evaluation %s can't be read: %s", path.name, type(error).__name__)
        return None


def number(found: Any) -> float | None:
    """A finite number, or None."""
    return float(found) if isinstance(found, int | float) and math.isfinite(found) else None


def numbers(found: Any) -> dict[str, float | None]:
    """The numbers of a task by name; nothing if it is no object."""
    return {name: number(value) for name, value in bounded(found).items()} if isinstance(found, dict) else {}


def failure(document: dict[str, Any]) -> Drop | None:
    """Why there are no numbers, with names that look like some and no other text: the task's code can write to this folder, too."""
    if document.get("error") is None:
        return None
    told = document.get("failure")
    said = told if isinstance(told, dict) else {}
    reason = next((reason for reason in DropReason if reason.value == said.get("reason")), DropReason.TASK_RAISED)
    return Drop("", reason, *(_name(said.get(each)) for each in ("error_class", "where", "incident")))


def _name(found: Any) -> str:
    return found if isinstance(found, str) and _NAME.fullmatch(found) else ""


def once_more(history: History, models: Models, last_version: int, select_by: SelectBy | None) -> Iterator[on.Evaluated]:
    """Tell again what was evaluated after the checkpoint's last evaluation, where the model is still there to become the result."""
    lines, present = history.evaluated_since(last_version), models.present()
    for line in lines:
        if line.round in present:
            yield on.Evaluated(line.round, line.loss if select_by is SelectBy.LOSS else line.accuracy)
