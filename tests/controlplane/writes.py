"""What the operator wrote to the cluster, read from the API server's audit log."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.cluster import chart
from tests.cluster.audit import Request, requests

if TYPE_CHECKING:
    from collections.abc import Sequence

OPERATOR: Final = f"system:serviceaccount:{chart.NAMESPACE}:{chart.SERVICE_ACCOUNT}"
LEASE: Final = "leases"  # its renewal is a leader's heartbeat, the one thing that is written all the time


@dataclass(slots=True)
class Writes:
    """The writes of the operator's account from a moment on."""

    log: Path
    start: int = 0

    @classmethod
    def from_now(cls, log: Path) -> Writes:
        return cls(log, log.stat().st_size)

    @property
    def heartbeats(self) -> int:
        """How often the leader has said that it lives."""
        return sum(each.resource == LEASE for each in self._asked() if each.is_write)

    def all(self) -> list[Request]:
        """Return what was written, or would have been, without heartbeats, oldest first."""
        return [each for each in self._asked() if each.is_write and each.resource != LEASE]

    def _asked(self) -> list[Request]:
        return [each for each in requests(self.log, self.start) if each.user == OPERATOR]


def table(writes: Sequence[Request]) -> str:
    """Return one line for each verb, resource and answer, with how often it was made."""
    counted = Counter((each.verb, each.resource, each.code) for each in writes)
    return "\n".join(f"{count:5} {verb} {resource} {code}" for (verb, resource, code), count in sorted(counted.items()))
