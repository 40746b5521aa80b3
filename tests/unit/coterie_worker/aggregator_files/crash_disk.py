"""A disk that crashes at a chosen call, and keeps what a kill or a power cut would leave.

Calls are made for real in a temporary folder. Beside it, the disk knows what is safe: contents that were synced and names
that a synced folder holds. After a crash `settle` leaves the folder as one of the `Loss`es would.
"""

from __future__ import annotations

from enum import Enum

import pytest


class Crash(Exception):
    """The process is gone."""


class Loss(Enum):
    """What is gone with the process."""

    NOTHING = "a kill: the kernel still writes everything"
    ALL_UNSYNCED = "a power cut: only what was synced is left, under names that were synced"
    UNSYNCED_CONTENT = "a power cut: all names are left, and zeros where content was not synced"


class _Content:
    def __init__(self):
        self.safe = b""


class CrashDisk:
    """Performs calls in `folder` until call number `crash_at`, of which only a part (0 to 1) happens. It syncs nothing for real."""

    def __init__(self, folder, crash_at=None, part=0.0):
        self.folder, self.crash_at, self.part = folder, crash_at, part
        self.calls = 0
        self.torn_calls = set()  # of which only a part may happen
        self.names, self.safe_names = {}, {}
        for path in folder.rglob("*"):
            if path.is_file():
                self.names[path] = content = _Content()
                content.safe = path.read_bytes()
        self.safe_names = dict(self.names)

    def _is_last(self):
        self.calls += 1
        return self.crash_at is not None and self.calls - 1 == self.crash_at

    def _store(self, path, kept, data, sync):
        """Write `kept + data`; of a torn call only a part of the data arrives."""
        self.torn_calls.add(self.calls)
        is_last = self._is_last()
        if is_last:
            data = data[: int(len(data) * self.part)]
        path.write_bytes(kept + data)
        content = self.names.setdefault(path, _Content())
        if not kept:
            content.safe = b""  # created or truncated: what was safe may be gone
        if is_last:
            raise Crash
        if sync:
            content.safe = kept + data

    def write(self, path, parts):
        self._store(path, b"", b"".join(bytes(memoryview(part).cast("B")) for part in parts), sync=True)

    def append(self, path, data, *, sync=True):
        is_new = path not in self.names
        self._store(path, b"" if is_new else path.read_bytes(), data, sync)
        if sync and is_new:
            self.sync(path.parent)

    def truncate(self, path, size):
        self._step()
        path.write_bytes(path.read_bytes()[:size])
        self.names[path].safe = path.read_bytes()

    def rename(self, source, target):
        self._step()
        source.replace(target)
        self.names[target] = self.names.pop(source)

    def remove(self, path):
        self._step()
        path.unlink(missing_ok=True)
        self.names.pop(path, None)

    def sync(self, path):
        self._step()
        if path.is_dir():
            self.safe_names = {p: c for p, c in self.safe_names.items() if p.parent != path}
            self.safe_names |= {p: c for p, c in self.names.items() if p.parent == path}
        else:
            self.names[path].safe = path.read_bytes()

    def _step(self):
        if self._is_last():
            raise Crash

    def settle(self, loss):
        """Leave in the folder what this loss leaves."""
        if loss is Loss.NOTHING:
            return
        left = self.safe_names if loss is Loss.ALL_UNSYNCED else self.names
        found = {path: path.read_bytes() for path in self.names}
        for path in found:
            path.unlink()
        for path, content in left.items():
            size = len(found.get(path, content.safe))
            path.write_bytes(content.safe if loss is Loss.ALL_UNSYNCED else content.safe.ljust(size, b"\0"))


PARTS = (0.4, 1.0)


def ways_to_crash(folder, play):
    """Return each call that a whole run makes, with each part of it that may happen; `play(folder, disk, witness)`."""
    folder.mkdir()
    disk = CrashDisk(folder)
    play(folder, disk, [])
    assert disk.calls > 0
    return [(call, part) for call in range(disk.calls) for part in (PARTS if call in disk.torn_calls else (0.0,))]


def crashes(tmp_path, play, losses=tuple(Loss)):
    """Yield (folder, witness) for each way to crash and each loss: what is left, and what `play` had noted before."""
    for call, part in ways_to_crash(tmp_path / "whole", play):
        for loss in losses:
            folder = tmp_path / f"{call}-{part}-{loss.name}"
            folder.mkdir()
            disk, witness = CrashDisk(folder, call, part), []
            with pytest.raises(Crash):
                play(folder, disk, witness)
            disk.settle(loss)
            yield folder, witness
