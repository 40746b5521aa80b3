"""Bounds on everything that a peer may send, and how long one waits for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
WORD_BYTES: Final = 4
LEAST_CHUNK: Final = 128 * KIB  # below it, frames cost more than what they carry
LEAST_WINDOW: Final = 512 * KIB
MOST_WINDOW: Final = 4 * MIB  # 80 MB/s at 50 ms


@dataclass(frozen=True, slots=True)
class Limits:
    """What one side accepts. Sizes in bytes, times in seconds."""

    vector_bytes: dict[int, int]  # by kind of vector; a kind that isn't here is refused
    control_bytes: int  # one control message
    clients: int = 1  # of the roster: bounds how many streams a server takes, and what it keeps for each
    chunk_bytes: int = MIB
    short_bytes: int = LEAST_CHUNK  # a vector up to here is one frame, and an upload needs no credit: control messages are as long
    sending_bytes: int = 5 * MIB  # one chunk on its way to every client, however slow: each may wait in memory
    receiving_bytes: int = 40 * MIB  # windows of all streams: what a connection has once buffered, the heap is slow to give back
    queued_messages: int = 256  # sent and not yet acknowledged
    uploads: int = 2  # in memory at a time
    chunks_on_the_way: int = 4  # to clients, of all longer vectors together
    ack_seconds: float = 0.1  # that an acknowledgment may wait for a frame to travel with
    turn_seconds: float = 0.1  # that a chunk may take before the next one goes, too: 40 MB/s to clients that are all slow
    connect_seconds: float = 5.0
    handshake_seconds: float = 10.0
    chunk_seconds: float = 30.0  # between two chunks of one vector
    least_rate: int = 128 * KIB  # bytes a second of a whole vector, on top: whoever is slower keeps a place that others wait for
    grace_seconds: float = 3.0  # how long a broken stream may take to come back as the same session
    finish_seconds: float = 5.0  # for clients to hear that the job ended
    keepalive_seconds: float = 20.0
    keepalive_answer_seconds: float = 10.0

    def seconds_for(self, size: int) -> float:
        """How long a vector of so many bytes may take."""
        return self.chunk_seconds + size / self.least_rate

    @property
    def sent_chunk_bytes(self) -> int:
        """Largest chunk sent, either way; among many clients they are smaller."""
        share = self.sending_bytes // self.clients // LEAST_CHUNK * LEAST_CHUNK
        return min(self.chunk_bytes, max(LEAST_CHUNK, share))

    @property
    def window_bytes(self) -> int:
        """What one stream may send ahead of being read."""
        return min(MOST_WINDOW, max(LEAST_WINDOW, self.receiving_bytes // self.clients))

    @property
    def message_bytes(self) -> int:
        """Largest frame: one chunk or one control message, and its head."""
        return max(self.chunk_bytes, self.control_bytes) + 4 * KIB


def control_bytes(clients: int, slots_per_epoch: int) -> int:
    """Bound on one control message: adverts or shares of every client for every slot of an epoch, with room to spare."""
    return 64 * KIB + clients * (KIB + slots_per_epoch * 512)
