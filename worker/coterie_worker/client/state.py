"""The client's own record of used slots: the tenant's witness that no slot's masks cover two updates.

One JSON file in a folder that outlives the pod, and a lock beside it. It is replaced as a whole, so that a kill or a power
cut leaves the old record or the new one. Secrets are never in it.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Final, Self

from coterie_worker.durable import DISK, Disk, DurableError, FolderLock, replace

if TYPE_CHECKING:
    from pathlib import Path

FILE: Final = "slots.json"
SCHEMA: Final = "coterie/client-state/v1"


class SlotUsed(DurableError):
    """This client has used the slot, or a later one, of this job already: a second use could open an update."""


class UnreadableRecord(DurableError):
    """The record is damaged, or was written by a newer Coterie. Nothing is known of used slots, so nothing may be used."""


class SlotRecord:
    """Which slot of each job this client has used last.

    Formal guarantees:
    - a slot passes `use` at most once per job, and only in increasing order, over all restarts with the same folder;
    - when `use` returns, that is on disk. A crash inside `use` may burn the slot, and never frees it;
    - at most one process holds the record.

    Args:
        folder: exists, and outlives the pod where the tenant has given it a volume.
        disk: a stand-in for tests.

    Raises:
        FolderInUse: another process holds this record.
        UnreadableRecord: damaged, or newer than this Coterie.
    """

    def __init__(self, folder: Path, disk: Disk = DISK) -> None:
        self._path = folder / FILE
        self._disk = disk
        self._is_sound = True
        self._lock = FolderLock(folder)
        try:
            self._last = _read(self._path)
        except BaseException:
            self._lock.close()
            raise

    def last(self, job_uid: str) -> int:
        """Return the last slot used for this job; -1 if there is none."""
        return self._last.get(job_uid, -1)

    def use(self, job_uid: str, slot: int) -> None:
        """Use up a slot, durably. Call it before the first byte that depends on data leaves this process.

        Raises:
            SlotUsed: the slot isn't greater than the last one used for this job; nothing has changed.
            ValueError: a negative slot, or no job.
            OSError: the disk failed. Don't send; and this object refuses from then on, since what is on disk is unknown.
        """
        if slot < 0 or not job_uid:
            raise ValueError(f"slot {slot} of job {job_uid!r}: the slot must be at least 0, and the job must have a uid")
        if not self._is_sound:
            raise UnreadableRecord(f"{self._path}: an earlier write failed; start the client again")
        if slot <= self.last(job_uid):
            raise SlotUsed(f"slot {slot} of job {job_uid}: must be greater than {self.last(job_uid)}, the last one used")
        self._is_sound = False
        used = {**self._last, job_uid: slot}
        replace(self._disk, self._path, [_encode(used)])
        self._last = used
        self._is_sound = True

    def close(self) -> None:
        """Free the lock; the record can't be used any more."""
        self._is_sound = False
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _encode(last: dict[str, int]) -> bytes:
    body = json.dumps(last, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(body.encode()).hexdigest()
    return json.dumps({"schema": SCHEMA, "sha256": digest, "last_slots": last}, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def _read(path: Path) -> dict[str, int]:
    """Return the record; empty only if there never was one: a damaged file is no reason to begin anew."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}
    try:
        found = json.loads(content)
        schema = found["schema"]
    except (ValueError, KeyError, TypeError) as error:
        raise UnreadableRecord(f"{path}: damaged ({type(error).__name__}); it must be {SCHEMA} JSON") from error
    if schema != SCHEMA:
        raise UnreadableRecord(f"{path}: schema is {schema!r}, this Coterie reads {SCHEMA!r}")
    last = found.get("last_slots")
    if not _is_record(last) or content != _encode(last):
        raise UnreadableRecord(f"{path}: damaged (its hash does not fit its content)")
    return dict(last)


def _is_record(last: object) -> bool:
    return isinstance(last, dict) and all(isinstance(job, str) and type(slot) is int and slot >= 0 for job, slot in last.items())
