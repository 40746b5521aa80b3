"""The log of opened slots: a line is on disk before any client is asked, so a crash can waste a slot and never reuse it.

One JSON object a line: `{"epoch":2}`, `{"slot":9,"round":4}`, `{"frozen":9,"survivors":"<SHA-256>"}`,
`{"asked":9,"round":4,"clients":[0,1,2]}`, `{"excluded":9,"clients":[2]}`. Only whole lines count. A torn last line was never
acted upon, for its append didn't return or didn't sync, and it is cut off.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from coterie_worker.durable import DISK, Disk, DurableError

if TYPE_CHECKING:
    from pathlib import Path

FILE: Final = "slots.log"
_FIRST: Final = 1


class DamagedSlotLog(DurableError):
    """A line before the last one can't be read, or the numbers don't increase: which slots were opened is unknown."""


class SlotUsedBefore(DurableError):
    """A slot or epoch isn't greater than all before it: this process's own mistake."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Clients were asked to open the sum of these survivors, and it may be open."""

    round_index: int
    survivors: frozenset[int]


class SlotLog:
    """The log of one job's epochs and slots.

    Formal guarantees: slots and epochs strictly increase over all restarts with the same folder; when an `open_*` returns, its
    line is on disk. Lines of what happens inside an open slot are written and not synced: they are there after a kill, and after
    a power cut the line that opened the slot is, which is enough for it never to be taken up again.

    Raises:
        DamagedSlotLog: see there; never for a torn last line.
    """

    def __init__(self, folder: Path, disk: Disk = DISK) -> None:
        self._path = folder / FILE
        self._disk = disk
        self._is_sound = True
        self._last = dict.fromkeys(("asked", "excluded", "slot", "epoch", "frozen"), _FIRST - 1)
        self._asked: Asked | None = None
        self._excluded: frozenset[int] = frozenset()
        self._recover()

    @property
    def next_slot(self) -> int:
        """The least slot that is free for certain."""
        return self._last["slot"] + 1

    @property
    def next_epoch(self) -> int:
        """The least epoch that is free for certain."""
        return self._last["epoch"] + 1

    def asked_in(self, round_index: int) -> frozenset[int]:
        """Return the survivors whose sum clients were last asked to open in this round, but for excluded ones; none if they weren't."""
        asked = self._asked
        return asked.survivors - self._excluded if asked is not None and asked.round_index == round_index else frozenset()

    @property
    def excluded(self) -> frozenset[int]:
        """Who was proved to have cheated: the others open sums without them, and they take no part any more."""
        return self._excluded

    def open_epoch(self, epoch: int) -> None:
        """Log an epoch before its first message is sent."""
        self._append("epoch", {"epoch": epoch})

    def open_slot(self, slot: int, round_index: int) -> None:
        """Log a slot before any client is asked."""
        self._append("slot", {"slot": slot, "round": round_index})

    def freeze(self, slot: int, survivors_hash: bytes) -> None:
        """Log which set of survivors a slot has, before they are asked to agree: there can't be a second one, not even after a
        crash, for no process takes up a slot that an earlier one has opened."""
        self._append("frozen", {"frozen": slot, "survivors": survivors_hash.hex()}, sync=False)

    def ask(self, slot: int, round_index: int, survivors: frozenset[int]) -> None:
        """Log that clients are about to be asked to open a slot's sum: from here on they open no other one close to it.

        What a power cut takes away of it, the clients' refusals tell.
        """
        self._append("asked", {"asked": slot, "round": round_index, "clients": sorted(survivors)}, sync=False)
        self._asked = Asked(round_index, survivors)

    def exclude(self, slot: int, clients: frozenset[int]) -> None:
        """Log that clients were proved to have cheated in a slot. Only once everyone else has the proofs: who hasn't opens the lost
        sum with those clients alone, and after a restart nobody could prove anything."""
        self._append("excluded", {"excluded": slot, "clients": sorted(clients)})
        self._excluded |= clients

    def _append(self, kind: str, line: dict[str, Any], *, sync: bool = True) -> None:
        if line[kind] <= self._last[kind]:
            raise SlotUsedBefore(f"{self._path}: {kind} {line[kind]}, must be greater than {self._last[kind]}")
        if not self._is_sound:
            raise DamagedSlotLog(f"{self._path}: an earlier write failed, so its end is unknown; start the aggregator again")
        self._is_sound = False
        self._disk.append(self._path, json.dumps(line, separators=(",", ":")).encode() + b"\n", sync=sync)
        self._last[kind] = line[kind]
        self._is_sound = True

    def _recover(self) -> None:
        content = self._path.read_bytes() if self._path.exists() else b""
        *whole, torn = content.split(b"\n")
        lines = [line + b"\n" for line in whole] + ([torn] if torn else [])
        size = 0
        for number, line in enumerate(lines, start=1):
            fields = _parse(line)
            if fields is None and self._is_unsynced(lines[number:]):
                break
            self._count(fields, number)
            size += len(line)
        if size < len(content):
            self._disk.truncate(self._path, size)

    def _is_unsynced(self, rest: list[bytes]) -> bool:
        """Whether a line that can't be read was never on disk for certain: it is the last one, or nothing comes after it but that
        clients were asked in the slot that is open, so it told that slot's survivors."""
        if len(rest) != 1:
            return not rest
        fields = _parse(rest[0])
        return fields is not None and fields.get("asked") == self._last["slot"] > self._last["frozen"]

    def _count(self, fields: dict[str, Any] | None, number: int) -> None:
        kind = next((kind for kind in self._last if fields and type(fields.get(kind)) is int), None)
        if fields is None or kind is None:
            raise DamagedSlotLog(f"{self._path}:{number}: not a line of this log")
        if fields[kind] <= self._last[kind]:
            raise DamagedSlotLog(f"{self._path}:{number}: {kind} {fields[kind]}, must be greater than {self._last[kind]}")
        self._last[kind] = fields[kind]
        if kind == "asked":
            self._asked = self._asked_of(fields, number)
        if kind == "excluded":
            self._excluded |= self._clients_of(fields, number)

    def _asked_of(self, fields: dict[str, Any], number: int) -> Asked:
        round_index = fields.get("round")
        if type(round_index) is not int:
            raise DamagedSlotLog(f"{self._path}:{number}: not a line of this log")
        return Asked(round_index, self._clients_of(fields, number))

    def _clients_of(self, fields: dict[str, Any], number: int) -> frozenset[int]:
        clients = fields.get("clients")
        if not isinstance(clients, list) or not all(type(client) is int for client in clients):
            raise DamagedSlotLog(f"{self._path}:{number}: not a line of this log")
        return frozenset(clients)


def _parse(line: bytes) -> dict[str, Any] | None:
    """Return a whole line's fields. Of a torn one, only a part is there, or the disk's zeros in a part's place."""
    if not line.endswith(b"\n"):
        return None
    try:
        fields = json.loads(line)
    except ValueError:
        return None
    return fields if isinstance(fields, dict) else None
