"""The history of a job's rounds, appended to in the checkpoint folder."""

from __future__ import annotations

from dataclasses import replace as changed
from typing import TYPE_CHECKING, Final

from coterie_api.history import FILE, RoundLine, UnknownSchema, UnreadableLine, decode, fold
from coterie_worker.durable import DISK, Disk, DurableError, replace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_RECENT: Final = 1000  # rounds that an evaluation may lag behind


class DamagedHistory(DurableError):
    """A line before the last one can't be read, or a line is of another schema."""


class History:
    """`history.jsonl` of the checkpoint folder, cut to the rounds that the checkpoint has.

    Formal guarantees: after any crash and resume there is a line for each round of the checkpoint, and none for a later
    one, provided `sync` returned between the append and the checkpoint that counts the round.

    Args:
        folder: the checkpoint's.
        rounds_done: by the checkpoint; lines of later rounds were never final, and go.

    Raises:
        DamagedHistory: see there; a torn last line is cut off instead, for the append never returned.
    """

    def __init__(self, folder: Path, rounds_done: int, disk: Disk = DISK) -> None:
        self._path = folder / FILE
        self._disk = disk
        content = self._path.read_bytes() if self._path.exists() else b""
        self._has_name = False  # for certain, on disk
        final = fold(line for line in self._parse(content) if line.round <= rounds_done)
        compact = b"".join(line.encode() for line in final)
        if compact != content:
            replace(disk, self._path, [compact])
        self._recent = {line.round: line for line in final[-_RECENT:]}

    def append(self, line: RoundLine) -> None:
        """Write a round's line; it is on disk after `sync`."""
        self._remember(line)
        self._disk.append(self._path, line.encode(), sync=False)

    def sync(self) -> None:
        """Bring the lines to disk."""
        if not self._path.exists():
            return
        self._disk.sync(self._path)
        if not self._has_name:
            self._disk.sync(self._path.parent)  # else a power cut may take it, and with it every line
            self._has_name = True

    def evaluated(self, version: int, accuracy: float | None, loss: float | None, metrics: Mapping[str, float] | None = None) -> None:
        """Write a round's line again with its model's numbers.

        Nothing is written for the initial model, which no round made, or for one more than a thousand rounds back.
        """
        line = self._recent.get(version)
        if line is None:
            return
        line = changed(line, accuracy=accuracy, loss=loss, metrics=dict(metrics or {}))
        self._remember(line)
        self._disk.append(self._path, line.encode(), sync=False)  # synced with the next round's line, so before that checkpoint

    def evaluated_since(self, version: int) -> tuple[RoundLine, ...]:
        """Return the evaluated rounds after `version`: what a resumed aggregator tells its round machine once more."""
        return tuple(line for line in self.lines() if line.round > version and _is_evaluated(line))

    def lines(self) -> tuple[RoundLine, ...]:
        """Return one line for each round, in order."""
        return fold(self._parse(self._path.read_bytes())) if self._path.exists() else ()

    def _remember(self, line: RoundLine) -> None:
        self._recent[line.round] = line
        if len(self._recent) > _RECENT:
            del self._recent[min(self._recent)]

    def _parse(self, content: bytes) -> list[RoundLine]:
        *whole, torn = content.split(b"\n")
        lines = [line + b"\n" for line in whole] + ([torn] if torn else [])
        found = []
        for number, line in enumerate(lines, start=1):
            try:
                found.append(decode(line))
            except UnreadableLine as error:
                if number < len(lines) or isinstance(error, UnknownSchema):
                    raise DamagedHistory(f"{self._path}:{number}: {error}") from error
        return found


def _is_evaluated(line: RoundLine) -> bool:
    return line.accuracy is not None or line.loss is not None or bool(line.metrics)
