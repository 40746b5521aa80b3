"""What a secure round can't do without: processor time of its library calls alone, one after another, on one core.

Masks are one AES-256-CTR keystream and one addition for each client and peer; each client hashes the model and its upload
and rounds its update; the aggregator hashes each upload and expands each survivor's own mask; everybody checks signatures.
"""

from __future__ import annotations

import hashlib
import os
import time
from typing import TYPE_CHECKING, Final

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from bench.table import Row
from coterie_worker.entropy import system_entropy
from coterie_worker.secagg import Encoding, default_colluders, least_threshold

if TYPE_CHECKING:
    from collections.abc import Callable

CHUNK: Final = 32 * 1024
SCALE: Final = 65536


def seconds(clients: int, values: int) -> float:
    """Return the processor time of one round's library calls, all parties together."""
    words, update = np.zeros(values, np.uint32), np.zeros(values, np.float32)
    encoding = Encoding(SCALE, clients, values, weighted=False)
    key = Ed25519PrivateKey.generate()
    signed = key.sign(b"x" * 100)
    quorum = least_threshold(clients, default_colluders(clients))
    mask, sha = _best(lambda: _mask(words)), _best(lambda: hashlib.sha256(words.data).digest())
    rounding = _best(lambda: encoding.encode(update, 1.0, system_entropy))
    check = _best(lambda: key.public_key().verify(signed, b"x" * 100))
    client = clients * mask + 2 * sha + rounding + (clients + quorum) * check
    aggregator = clients * (mask + sha + 2 * check)
    return clients * client + aggregator


def limit(raw: float, clients: int, values: int, target: float) -> Row:
    """What a round takes at least, vs `raw`, the seconds of the same bytes alone."""
    least = raw + seconds(clients, values) / (os.cpu_count() or 1)
    return Row("its limit: raw bytes, and the round's library calls on all cores", least, raw, "s", target)


def _mask(words: np.ndarray) -> None:
    stream = Cipher(algorithms.AES256(os.urandom(32)), modes.CTR(bytes(16))).encryptor()
    zeros, scratch = bytes(4 * CHUNK), np.empty(CHUNK, np.uint32)
    for low in range(0, len(words), CHUNK):
        part = words[low : low + CHUNK]
        stream.update_into(memoryview(zeros)[: part.nbytes], scratch[: len(part)].data.cast("B"))
        np.add(part, scratch[: len(part)], out=part)


def _best(call: Callable[[], object], times: int = 15) -> float:
    best = float("inf")
    for _ in range(times):
        begin = time.process_time()
        call()
        best = min(best, time.process_time() - begin)
    return best
