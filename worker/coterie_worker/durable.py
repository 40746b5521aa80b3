"""Files that survive a crash: the few calls whose order decides what is left after a kill or a power cut.

Two recipes, both through the port `Disk`, so that tests can crash between any two calls:

    replace   write NAME.tmp, fsync it, rename it over NAME, fsync the folder     whole old content or whole new content
    append    write at the end, fsync the file                                    whole old lines, perhaps a torn last one
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from typing_extensions import Buffer

__all__ = ["DISK", "Disk", "DurableError", "FolderInUse", "FolderLock", "SystemDisk", "replace"]


class DurableError(Exception):
    """Root of the errors of files that must survive a crash."""


class FolderInUse(DurableError):
    """Another process holds the lock of this folder."""


class Disk(Protocol):
    """What Coterie asks of a disk; each call returns when its effect is in the file system."""

    def write(self, path: Path, parts: Iterable[Buffer]) -> None:
        """Create or truncate `path` and write `parts` one after the other; the content is on disk on return."""

    def append(self, path: Path, data: bytes, *, sync: bool = True) -> None:
        """Write `data` at the end of `path`, creating it; with `sync` the content, and a new file's name, is on disk on return."""

    def truncate(self, path: Path, size: int) -> None:
        """Cut `path` to `size` bytes; on disk on return."""

    def rename(self, source: Path, target: Path) -> None:
        """Put `source` in the place of `target`, atomically."""

    def remove(self, path: Path) -> None:
        """Delete `path`; an absent one is fine."""

    def sync(self, path: Path) -> None:
        """Bring a file's content, or a folder's list of names, to disk."""


class SystemDisk:
    """The disk of this machine."""

    def write(self, path: Path, parts: Iterable[Buffer]) -> None:
        with path.open("wb", buffering=0) as file:
            for part in parts:
                _write_all(file.fileno(), part)
            os.fsync(file.fileno())

    def append(self, path: Path, data: bytes, *, sync: bool = True) -> None:
        is_new = not path.exists()
        with path.open("ab", buffering=0) as file:
            _write_all(file.fileno(), data)
            if sync:
                os.fsync(file.fileno())
        if sync and is_new:
            self.sync(path.parent)  # else a power cut may take the name, and with it every line

    def truncate(self, path: Path, size: int) -> None:
        with path.open("r+b", buffering=0) as file:
            file.truncate(size)
            os.fsync(file.fileno())

    def rename(self, source: Path, target: Path) -> None:
        source.replace(target)

    def remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def sync(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


DISK = SystemDisk()


def replace(disk: Disk, path: Path, parts: Iterable[Buffer]) -> None:
    """Give `path` the content `parts`, or leave it as it is: never anything in between."""
    temporary = path.with_name(path.name + ".tmp")
    disk.write(temporary, parts)
    disk.rename(temporary, path)
    disk.sync(path.parent)


class FolderLock:
    """An exclusive lock on a folder for as long as this process lives; the kernel frees it when the process is killed.

    Raises:
        FolderInUse: another process (or another lock in this one) holds it.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "lock"
        self._file = self._path.open("ab")
        try:
            fcntl.flock(self._file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise FolderInUse(f"{self._path} is locked by another process; exactly one may use this folder") from None

    def close(self) -> None:
        """Free the lock."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _write_all(descriptor: int, data: Buffer) -> None:
    """Write every byte: one call writes at most about 2 GiB on Linux, and may write less."""
    view = memoryview(data).cast("B")
    while view.nbytes:
        view = view[os.write(descriptor, view) :]
