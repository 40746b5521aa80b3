"""All clients and the aggregator of one epoch in one process, with the processor time of each role."""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from coterie_api.podconfig import TenantPolicy
from coterie_worker.entropy import system_entropy
from coterie_worker.secagg import (
    ClientEpoch,
    Encoding,
    Member,
    ServerEpoch,
    SessionParameters,
    Stage,
    default_colluders,
    least_threshold,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

JOB = hashlib.sha256(b"job").digest()


class BenchWorld:
    """One epoch. `lose` before `upload`; then `open_up` returns the aggregator right before its result."""

    def __init__(self, clients: int, *, slots: int = 8, colluders: int | None = None) -> None:
        c = default_colluders(clients) if colluders is None else colluders
        t = least_threshold(clients, c)
        identities = [Ed25519PrivateKey.generate() for _ in range(clients)]
        roster = tuple(Member(f"tenant-{i}", key.public_key().public_bytes_raw()) for i, key in enumerate(identities))
        self.parameters = SessionParameters("bench", JOB, roster, t, c, max(t, c + 2, 3), slots_per_epoch=slots)
        self.server = ServerEpoch(self.parameters, 1, 0, frozenset(range(clients)))
        policy = TenantPolicy()
        self.clients = [ClientEpoch(self.parameters, i, key, policy, system_entropy) for i, key in enumerate(identities)]
        self.used: dict[str, list[float]] = defaultdict(lambda: [0.0] * clients)  # what -> seconds by client
        self.gone: set[int] = set()

    def set_up(self) -> None:
        self._send(self.server.start(), "set-up")
        while self.server.stage is not Stage.READY:
            self._send(self.server.close(), "set-up")

    def open_slot(self, slot: int, length: int, lost: Iterable[int] = ()) -> None:
        self._send(self.server.start_slot(slot, hashlib.sha256(b"model %d" % slot).digest(), self.server.live, 0, length), "slot")
        for index in lost:
            self.gone.add(index)
            self.server.drop(index)

    def upload(self, vector: NDArray[np.uint32]) -> None:
        """Everyone sends the same words, which makes no difference to the protocol."""
        assert self.server.header is not None
        words = np.empty_like(vector)
        for index in set(self.server.header.participants) - self.gone:
            np.copyto(words, vector)
            self.clients[index].check_model(self.server.header.model_hash)
            begin = time.process_time()
            _, signature = self.clients[index].mask(words)
            self.used["mask"][index] += time.process_time() - begin
            self.server.accept(index, words, signature)

    def collect(self) -> None:
        """Survivors are signed and shares are in; what is left is to close UNMASK and to take the result."""
        while self.server.stage is not Stage.UNMASK:
            self._send(self.server.close(), "slot")

    def _send(self, outbox: dict[int, bytes], what: str) -> None:
        for index, payload in outbox.items():
            if index in self.gone:
                continue
            begin = time.process_time()
            replies = self.clients[index].receive(payload)
            self.used[what][index] += time.process_time() - begin
            for reply in replies:
                self.server.receive(index, reply)


def encoding_for(clients: int, values: int) -> Encoding:
    return Encoding(65536, clients, values, weighted=False)
