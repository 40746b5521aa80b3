"""What a client remembers from one epoch to the next, within one process and job: opened sums, cheaters, attempts at a graph."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from coterie_worker.secagg.errors import SumTooClose, TooManyGraphs
from coterie_worker.secagg.graph import bits_of

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_MODELS: Final = 4096  # the oldest are forgotten first
MAX_GRAPHS: Final = 16


@dataclass(slots=True)
class ClientMemory:
    """Pass the same object to every epoch of a process, or each epoch begins without a past."""

    opened: dict[bytes, set[int]] = field(default_factory=dict)  # model hash -> sets of survivors, as bits
    disqualified: set[int] = field(default_factory=set)  # dealers that were proved to have cheated
    graphs: int = 0  # orders of a Harary graph that this client helped to draw since a sum opened

    def check_difference(self, model_hash: bytes, survivors: Iterable[int], least: int) -> None:
        """Raise SumTooClose if two sums over one model would differ by fewer clients than a sum may have.

        Equal sets are fine: they open nothing new about a set that is already open. Disqualified dealers count on neither side:
        what two sums that differ by them alone give away is those dealers' own.
        """
        chosen, counted = bits_of(survivors), ~bits_of(self.disqualified)
        for before in self.opened.get(model_hash, ()):
            if 0 < (difference := ((before ^ chosen) & counted).bit_count()) < least:
                raise SumTooClose(f"survivors: they differ from those of an opened sum over the same model by {difference} clients")

    def remember(self, model_hash: bytes, survivors: Iterable[int]) -> None:
        """Note that the shares for this sum left."""
        self.opened.setdefault(model_hash, set()).add(bits_of(survivors))
        self.graphs = 0
        while len(self.opened) > MAX_MODELS:
            del self.opened[next(iter(self.opened))]

    def disqualify(self, dealer: int) -> None:
        """Note that a dealer was proved to have cheated; only after `fraud.Verifier.check`."""
        self.disqualified.add(dealer)

    def draw_graph(self) -> None:
        """Count an order that this client is about to reveal its part of.

        Raises: TooManyGraphs. An aggregator that dislikes an order can give the epoch up and draw again; each try counts
            against the bound on the graph's failure.
        """
        if self.graphs >= MAX_GRAPHS:
            raise TooManyGraphs(f"graph: {self.graphs} orders were drawn and no sum opened, at most {MAX_GRAPHS} are allowed")
        self.graphs += 1
