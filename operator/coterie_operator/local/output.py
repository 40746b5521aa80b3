"""The output folder of a run: who may write into it, what it holds, and that each file in it is whole."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from coterie_operator.local.workspace import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL: Final = "model.safetensors"
HISTORY: Final = "history.jsonl"
RESULT: Final = "result.json"
REPORT: Final = "report.html"
LOGS: Final = "logs"
VOLUMES: Final = "volumes"  # claims that the run fills: checkpoint, state, output
PODS: Final = ".pods"  # files of pods, keys among them; gone when the run has ended
DISK_FAULTS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})
OURS: Final = (MODEL, HISTORY, RESULT, REPORT, LOGS, VOLUMES, PODS)


class OutputFailed(Exception):
    """The disk of the output folder takes no more; the message says which folder and why."""


def disk_fault(error: BaseException) -> OSError | None:
    """Return the disk's fault that `error` is, or that is among a group's; None if it has another cause."""
    if isinstance(error, BaseExceptionGroup):
        return next((fault for each in error.exceptions if (fault := disk_fault(each)) is not None), None)
    return error if isinstance(error, OSError) and error.errno in DISK_FAULTS else None


@dataclass(frozen=True, slots=True)
class OutputFolder:
    """An output folder that this process holds the lock of."""

    path: Path
    lock: int

    @classmethod
    def take(cls, path: Path, *, overwrite: bool) -> OutputFolder:
        """Lock the folder, made if need be, and empty it of an earlier run's files if that is allowed.

        Raises:
          BadInput: it is no folder, none can be made there, another run writes there, or it holds an earlier run and `overwrite` is False.
        """
        if path.exists() and not path.is_dir():
            raise BadInput(f"{path}: is no folder")
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInput(f"{path}: can't be made ({error.strerror}); give another folder with --output") from None
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # the folder itself: no lock file to leave behind
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise BadInput(f"{path}: another run writes into this folder now") from None
        found = [name for name in OURS if (path / name).exists()]
        if found and not overwrite:
            os.close(lock)
            raise BadInput(f"{path}: holds an earlier run ({', '.join(found)}); give --overwrite, or another folder with --output")
        for name in found:
            _remove(path / name)
        return cls(path.resolve(), lock)

    def release(self) -> None:
        """Remove the files of pods and let go of the lock; the results stay."""
        _remove(self.path / PODS)
        os.close(self.lock)

    def claim(self, namespace: str, name: str) -> Path:
        """Return the folder of a claim that the run fills."""
        folder = self.path / VOLUMES / namespace / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def write(self, name: str, content: bytes) -> None:
        """Write a file so that it is there whole or not at all."""
        with self._draft(name) as draft, draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def copy(self, source: Path, name: str) -> bool:
        """Copy a file that a pod has written, if it has."""
        if not source.is_file():
            return False
        with self._draft(name) as draft:
            shutil.copyfile(source, draft)
        return True

    @contextmanager
    def _draft(self, name: str) -> Iterator[Path]:
        """Yield where to write a file, which takes its name when the block has gone well, and goes when it hasn't."""
        draft = self.path / f".{name}.new"
        try:
            yield draft
            draft.replace(self.path / name)
        finally:
            draft.unlink(missing_ok=True)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
