"""Models that others may read: for the evaluator while the job runs, and the result in the end.

`models/<version>.f32` is the raw vector, little-endian float32, as long as the layout's `size`. Version = rounds done.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

import numpy as np

from coterie_api.history import FILE as HISTORY_FILE
from coterie_worker.durable import DISK, Disk, DurableError, replace
from coterie_worker.layout import Layout, publish

if TYPE_CHECKING:
    from collections.abc import Iterable

    from coterie_api.history import RoundLine
    from coterie_worker.layout.dtypes import Vector

FOLDER: Final = "models"
MODEL_FILE: Final = "model.safetensors"
_SUFFIX: Final = ".f32"
_WAITING_BYTES: Final = 256 * 2**20  # of models that the evaluator may still want: a bound on the volume, not on what it needs
_WAITING_LEAST: Final = 3  # whatever their size: the one it reads, and those made while it does


class ModelMissing(DurableError):
    """The file of a model that should be there is absent or of another length."""


class OutsideOutput(DurableError):
    """The output's path leads out of the output volume."""


class OutputFailed(DurableError):
    """A file of the result can't be written; the message names it and says why."""


class Models:
    """The models in the checkpoint folder."""

    def __init__(self, folder: Path, disk: Disk = DISK) -> None:
        self._folder = folder / FOLDER
        self._folder.mkdir(exist_ok=True)
        self._disk = disk

    def present(self) -> frozenset[int]:
        """Return the versions that have a file."""
        stems = (path.name.removesuffix(_SUFFIX) for path in self._folder.iterdir() if path.name.endswith(_SUFFIX))
        return frozenset(int(stem) for stem in stems if stem.isdecimal())

    def publish(self, version: int, parameters: Vector) -> None:
        """Show a model; a reader sees all of it or nothing, and it is on disk on return: it may turn out to be the best."""
        replace(self._disk, self._path(version), [np.ascontiguousarray(parameters, dtype="<f4").data])

    def prune(self, keep: frozenset[int]) -> None:
        """Delete all other models."""
        for version in self.present() - keep:
            self._disk.remove(self._path(version))

    def read(self, version: int, size: int) -> Vector:
        """Return a model, float32[size].

        Raises:
            ModelMissing: there is no such file, or it has another length.
        """
        path = self._path(version)
        found = path.stat().st_size if path.exists() else None
        if found != 4 * size:
            raise ModelMissing(f"{path}: {'absent' if found is None else f'{found} bytes'}, must be {4 * size} bytes")
        return np.fromfile(path, dtype="<f4").astype(np.float32, copy=False)

    def _path(self, version: int) -> Path:
        return self._folder / f"{version}{_SUFFIX}"


def capacity(size: int, *, has_evaluator: bool) -> int:
    """Return how many models to keep for the evaluator besides the newest and the best, for a vector of `size` elements."""
    return max(_WAITING_LEAST, _WAITING_BYTES // max(4 * size, 1)) if has_evaluator else 0


class Output:
    """The folder below the output volume that the job's result goes to.

    Raises:
        OutsideOutput: the path is absolute or climbs.
    """

    def __init__(self, volume: Path, path: str, disk: Disk = DISK) -> None:
        relative = PurePosixPath(path)
        if relative.is_absolute() or ".." in relative.parts:
            raise OutsideOutput(f"output.path is {path!r}, must be a path below the output volume")
        self._folder = volume / relative
        self._disk = disk

    def write_history(self, lines: Iterable[RoundLine]) -> None:
        """Write `history.jsonl`, one line for each round. Raises OutputFailed."""
        self._write(HISTORY_FILE, [line.encode() for line in lines])

    def write_model(self, layout: Layout, parameters: Vector, initial: bytes) -> None:
        """Write `model.safetensors`, which `load_state_dict(strict=True)` takes without Coterie.

        Args:
            layout: of the model.
            parameters: float32[layout.size].
            initial: the initial model's safetensors file, for frozen parameters and integer buffers.

        Raises:
            OutputFailed: the volume does not take it.
        """
        self._write(MODEL_FILE, [publish(layout, parameters, initial)])

    def _write(self, name: str, parts: list[bytes]) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            replace(self._disk, self._folder / name, parts)
        except OSError as error:
            raise OutputFailed(f"{name}: {error.strerror or type(error).__name__}") from error
