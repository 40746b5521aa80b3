"""What a secure round can't do without, as bare calls: no protocol, no checks, nothing kept for a crash.

Each client hashes the model, rounds its update, masks it (one AES-256-CTR keystream and one addition for itself and each
peer), hashes what it sends, signs, and checks everybody's signature twice: of the epoch's keys and of the survivors. The
aggregator hashes and adds each upload, checks the signatures and takes each survivor's own mask off.
"""

from __future__ import annotations

import hashlib
import os
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from coterie_worker.entropy import system_entropy
from coterie_worker.secagg import Encoding, default_colluders, least_threshold
from coterie_worker.secagg.keys import verify
from coterie_worker.secagg.masks import Masks

SCALE: Final = 65536
STATEMENT: Final = b"x" * 100


class Signatures:
    """A key, a signature, and as many checks of it as are asked for."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        self._public = self._key.public_key().public_bytes_raw()
        self._signed = self._key.sign(STATEMENT)

    def sign(self) -> None:
        self._key.sign(STATEMENT)

    def check(self, times: int) -> None:
        for _ in range(times):
            verify(self._public, self._signed, STATEMENT, what="statement")


class ClientCalls:
    """One client's, for a vector of `values` parameters."""

    def __init__(self, clients: int, values: int) -> None:
        self._clients, self._quorum = clients, least_threshold(clients, default_colluders(clients))
        self._encoding = Encoding(SCALE, clients, values, weighted=False)
        self._update = np.zeros(values, np.float32)
        self._signatures = Signatures()

    def answer(self, model: bytearray) -> memoryview:
        """What is sent back for a model of float32."""
        hashlib.sha256(model).digest()
        words = self._encoding.encode(self._update, 1.0, system_entropy)
        masks(self._clients).apply(words, 0)
        hashlib.sha256(words.data).digest()
        self._signatures.sign()
        self._signatures.check(self._clients + self._quorum)
        return words.data.cast("B")[: self._update.nbytes]  # but for the count of clamped values at its end


class AggregatorCalls:
    """The aggregator's."""

    def __init__(self, clients: int, values: int) -> None:
        self._clients = clients
        self._total = np.zeros(values, np.uint32)
        self._signatures = Signatures()

    def add(self, upload: bytearray) -> None:
        hashlib.sha256(upload).digest()
        self._signatures.check(2)
        np.add(self._total, np.frombuffer(upload, np.uint32), out=self._total)

    def close(self) -> None:
        masks(self._clients).apply(self._total, 0)


def masks(count: int) -> Masks:
    """Of as many new keys: `make bench-secagg` shows that they cost what their keystreams and additions do."""
    return Masks([os.urandom(32) for _ in range(count)], [], 32)
