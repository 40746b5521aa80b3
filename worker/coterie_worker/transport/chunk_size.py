"""How large the next chunk to one peer is: small, until it has shown that it is quick."""

from __future__ import annotations

from typing import Final

from coterie_worker.transport.limits import KIB

LEAST: Final = 128 * KIB  # the overhead of frames is still small beside it, and short models need but one
QUICK: Final = 0.25  # of the time allowed; so a chunk of double the size is in time, too


class ChunkSize:
    """Bytes of the next chunk.

    gRPC holds a chunk up to three times until the peer has taken it: as it came, copied, and encrypted. With many peers that
    are all slow this is most of what a server's memory grows by.

    Args:
        most: bytes, of a chunk to a peer that is quick.
        seconds: that a chunk may take.
    """

    def __init__(self, most: int, seconds: float) -> None:
        self._most, self._least = most, min(LEAST, most)
        self._seconds = seconds
        self.bytes = self._least  # a hundred clients that join at once are all slow

    def took(self, seconds: float) -> None:
        """Tell how long the last chunk took: quick ones let the next ones grow, one that was late makes them small again."""
        if seconds > self._seconds:
            self.bytes = self._least
        elif seconds < QUICK * self._seconds:
            self.bytes = min(2 * self.bytes, self._most)
