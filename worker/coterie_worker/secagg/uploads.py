"""R1 at the aggregator: masked vectors are verified whole, added in place, and forgotten."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from coterie_worker.secagg.codec import encode
from coterie_worker.secagg.contexts import RESULT, digest
from coterie_worker.secagg.errors import Replayed, Unexpected, WrongLength
from coterie_worker.secagg.masks import Words, elements
from coterie_worker.secagg.messages import SlotStart

if TYPE_CHECKING:
    from coterie_worker.secagg.consistency import Opening


@dataclass(frozen=True, slots=True)
class FrozenSlot:
    """A header and its survivors, fixed for ever.

    The caller writes it down before R2 goes out, and has it on disk if a later process could take up the slot (docs/adr/0012).
    """

    header: SlotStart
    survivors: tuple[int, ...]

    def to_bytes(self) -> bytes:
        """Return the canonical bytes of slot, header hash inputs and survivors."""
        header = self.header
        facts = (header.sid, header.slot, header.model_hash, header.participants, header.deadline, header.length, header.previous_result)
        return encode([*facts, self.survivors])


@dataclass(frozen=True, slots=True)
class SlotSum:
    """The opened sum of the survivors' vectors in the job's ring."""

    sum: Words
    survivors: frozenset[int]


class Uploads:
    """The running sum of one slot, and who is in it. One vector of memory, whatever the number of clients."""

    def __init__(self, opening: Opening) -> None:
        self.opening = opening
        self.total: Words = np.zeros(opening.header.length, np.uint32)
        self.signed: dict[int, tuple[bytes, bytes]] = {}  # client -> (SHA-256 of its masked vector, its signature)
        self.skipped: set[int] = set()

    def accept(self, sender: int, vector: Words, signature: bytes) -> None:
        """Verify a whole upload, add it in place, keep only its hash.

        Raises: Unexpected for strangers, Replayed for a second upload, WrongLength, BadSignature; the sum is unchanged.
        """
        header = self.opening.header
        if sender not in header.participants or sender in self.skipped:
            raise Unexpected(f"upload: client {sender} is not asked for an update in slot {header.slot}", sender)
        if sender in self.signed:
            raise Replayed(f"upload: client {sender} has submitted its vector of slot {header.slot}", sender)
        if vector.dtype != np.uint32 or vector.shape != (header.length,) or not vector.flags.c_contiguous:
            raise WrongLength(f"upload: {vector.dtype}{vector.shape}, expected uint32({header.length},)", sender)
        vector_hash = hashlib.sha256(vector.data).digest()
        self.opening.check_upload(sender, vector_hash, signature)
        ring_bits = self.opening.parameters.ring_bits
        total = elements(self.total, ring_bits)
        np.add(total, elements(vector, ring_bits), out=total)
        self.signed[sender] = (vector_hash, signature)

    def survivors(self) -> tuple[int, ...]:
        """Return whose vectors are in the sum."""
        return tuple(sorted(self.signed))

    def result_hash(self) -> bytes:
        """Return the hash by which the next header names this result.

        It covers the masked vectors, of which the sum is a function, so the sum itself need not be hashed again.
        """
        return digest(RESULT, self.opening.hash, [[client, self.signed[client][0]] for client in self.survivors()])
