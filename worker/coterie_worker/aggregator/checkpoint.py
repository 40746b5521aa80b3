"""The checkpoint: all that an aggregator needs to go on after a crash, in one file that is whole or is the one before.

```text
COTERIE-CHECKPOINT 1\\n          magic and format version
<length of the header>\\n        decimal
{...}                           header, JSON: the job, the numbers, and for each array its name and length
<float32 little-endian> ...     the arrays, in the header's order
<32 bytes>                      SHA-256 of everything before
```

Writing streams the arrays from where they are, and reading streams them to where they will be: no second copy.
"""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np

from coterie_worker.durable import DISK, Disk, DurableError, FolderLock
from coterie_worker.rounds.optimizers import Moments, Vector
from coterie_worker.rounds.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from typing_extensions import Buffer


FILE: Final = "checkpoint.bin"
MAGIC: Final = b"COTERIE-CHECKPOINT "
VERSION: Final = 1
PARAMETERS: Final = "parameters"

_LITTLE: Final = np.dtype("<f4")
_DIGEST: Final = 32
_MAX_HEADER: Final = 1 << 20
_BLOCK: Final = 1 << 20  # elements hashed and read at a time: 4 MiB


class UnreadableCheckpoint(DurableError):
    """The checkpoint is damaged, or is written in a newer format. The message says which."""


class ForeignCheckpoint(DurableError):
    """The checkpoint is of another job or model: the volume is not this job's."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a checkpoint holds.

    Attributes:
        job_uid: of the job that it is of.
        layout_hash: of the model's layout, hexadecimal.
        rounds_done: the version of the parameters.
        next_slot: a slot from which on all were free when it was written; the slot log may know better.
        next_epoch: likewise.
        parameters: float32[layout.size].
        moments: the server optimizer's, by name.
        selection: what the evaluations have shown.
    """

    job_uid: str
    layout_hash: str
    rounds_done: int
    next_slot: int
    next_epoch: int
    parameters: Vector
    moments: Moments = field(default_factory=dict)
    selection: Selection = Selection()  # noqa: RUF009  (a frozen value)


class Checkpoint:
    """The checkpoint in a folder that this process alone may use.

    Formal guarantees: after any crash there is one whole checkpoint, the last one saved or, until `settle` has returned, the
    one before. Whoever tells anybody of a saved model settles first.

    Raises:
        FolderInUse: another aggregator holds this volume.
    """

    def __init__(self, folder: Path, disk: Disk = DISK) -> None:
        self._path = folder / FILE
        self._disk = disk
        self.is_settled = True  # the name is on disk, too
        self._lock = FolderLock(folder)

    def save(self, snapshot: Snapshot, first: Callable[[], None] = lambda: None) -> None:
        """Replace the checkpoint: its content is on disk on return, its name is after `settle`. A failure leaves the one before.

        Args:
            first: called in another thread while the content is written, and done before the new checkpoint counts: two syncs
                at a time cost hardly more than one.
        """
        temporary = self._path.with_name(FILE + ".tmp")
        with ThreadPoolExecutor(1, "sync") as beside:
            before = beside.submit(first)
            self._disk.write(temporary, _parts(snapshot))
        before.result()
        self.is_settled = False
        self._disk.rename(temporary, self._path)

    def settle(self) -> None:
        """Bring the name of the last checkpoint to disk, so that no power cut brings the one before back."""
        if not self.is_settled:
            self._disk.sync(self._path.parent)
            self.is_settled = True

    def load(self, job_uid: str, layout_hash: str) -> Snapshot | None:
        """Return the last checkpoint; None if there has never been one.

        Raises:
            UnreadableCheckpoint: damaged or too new.
            ForeignCheckpoint: of another job or layout.
        """
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return None
        with file:
            snapshot = _Reader(file, str(self._path)).snapshot()
        for name, allowed in (("job_uid", job_uid), ("layout_hash", layout_hash)):
            if getattr(snapshot, name) != allowed:
                raise ForeignCheckpoint(f"{self._path}: {name} is {getattr(snapshot, name)!r}, this job's is {allowed!r}")
        return snapshot

    def close(self) -> None:
        """Let another process use the folder."""
        self._lock.close()


def _parts(snapshot: Snapshot) -> Iterator[Buffer]:
    arrays = {PARAMETERS: snapshot.parameters, **snapshot.moments}
    header = json.dumps(
        {
            "job_uid": snapshot.job_uid,
            "layout_hash": snapshot.layout_hash,
            "rounds_done": snapshot.rounds_done,
            "next_slot": snapshot.next_slot,
            "next_epoch": snapshot.next_epoch,
            "selection": asdict(snapshot.selection),
            "arrays": [[name, vector.size] for name, vector in arrays.items()],
        },
        separators=(",", ":"),
    ).encode()
    digest = hashlib.sha256()
    preamble = b"%s%d\n%d\n%s" % (MAGIC, VERSION, len(header), header)
    digest.update(preamble)
    yield preamble
    for vector in arrays.values():
        for start in range(0, vector.size, _BLOCK):
            block = np.ascontiguousarray(vector[start : start + _BLOCK], dtype=_LITTLE)
            digest.update(block.data)
            yield block.data
    yield digest.digest()


class _Reader:
    """Reads a checkpoint once, from its beginning to its end, and hashes as it reads."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file = file
        self._name = name
        self._digest = hashlib.sha256()

    def snapshot(self) -> Snapshot:
        header = self._header()
        try:
            arrays = {str(name): self._array(int(size)) for name, size in header["arrays"]}
            self._end()
            return Snapshot(
                job_uid=str(header["job_uid"]),
                layout_hash=str(header["layout_hash"]),
                rounds_done=int(header["rounds_done"]),
                next_slot=int(header["next_slot"]),
                next_epoch=int(header["next_epoch"]),
                parameters=arrays.pop(PARAMETERS),
                moments=arrays,
                selection=Selection(**header["selection"]),
            )
        except (KeyError, TypeError, ValueError, MemoryError) as error:
            raise self._damaged(f"its header does not make sense: {type(error).__name__}") from error

    def _header(self) -> dict[str, Any]:
        if self._take(len(MAGIC)) != MAGIC:
            raise self._damaged("it does not begin as a checkpoint does")
        version = self._number()
        if version > VERSION:
            raise UnreadableCheckpoint(f"{self._name}: format version is {version}, this Coterie reads up to {VERSION}")
        length = self._number()
        if version != VERSION or length > _MAX_HEADER:
            raise self._damaged(f"version {version}, header of {length} bytes")
        try:
            header = json.loads(self._take(length))
        except ValueError as error:
            raise self._damaged("its header is no JSON") from error
        if not isinstance(header, dict):
            raise self._damaged("its header is no object")
        return header

    def _number(self) -> int:
        digits = self._file.readline(12)
        self._digest.update(digits)
        if not (digits.endswith(b"\n") and digits[:-1].isdigit()):
            raise self._damaged("a number is missing")
        return int(digits)

    def _array(self, size: int) -> Vector:
        vector = np.empty(size, dtype=_LITTLE)
        for start in range(0, size, _BLOCK):
            block = vector[start : start + _BLOCK]
            if self._file.readinto(block.view(np.uint8).data) != block.nbytes:  # type: ignore[attr-defined]
                raise self._damaged("it ends too early")
            self._digest.update(block.data)
        return vector.astype(np.float32, copy=False)

    def _end(self) -> None:
        if self._file.read(_DIGEST + 1) != self._digest.digest():
            raise self._damaged("its hash does not fit its content")

    def _take(self, length: int) -> bytes:
        data = self._file.read(length)
        if len(data) != length:
            raise self._damaged("it ends too early")
        self._digest.update(data)
        return data

    def _damaged(self, how: str) -> UnreadableCheckpoint:
        return UnreadableCheckpoint(f"{self._name}: damaged ({how})")
