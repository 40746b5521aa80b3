"""Masks: AES-256-CTR keystreams, added to or subtracted from a vector of Z_2^32 or Z_2^16 in place.

Element k of a mask is the little-endian word of bytes 4k..4k+3 of the keystream that starts at counter 0 (2k..2k+1 on the
narrow ring). Every word occurs, so the mask is uniform on the ring: no modulus, no bias. The counter is seekable, so parts of
a vector can be masked apart.

Vectors travel as 32-bit words on both rings: two elements of Z_2^16 share a word, and `elements` tells them apart.

Speed: one accumulator chunk stays in cache while all keystreams run over it (chunks outer, keys inner); the keystream goes
into one preallocated buffer, because allocating it costs five times the encryption.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from numpy.typing import NDArray

from coterie_worker.secagg.contexts import PAIR_MASK, SELF_MASK
from coterie_worker.secagg.keys import OneUse, derive

if TYPE_CHECKING:
    from coterie_worker.secagg.messages import SlotStart

Words = NDArray[np.uint32]
Run = Callable[[Callable[[Any], None], Iterable[Any]], Iterable[None]]  # `map`, or a thread pool's `map`

CHUNK: Final = 64 * 1024  # elements; with half as many, calls from the interpreter cost more than a second-level cache of 512 KiB saves
WORD_BYTES: Final = 4
PIECES: Final = 4  # per thread, so that one that is held up leaves work to the others
_BLOCK_WORDS: Final = 4  # AES blocks are 16 bytes
_ZEROS: Final = bytes(CHUNK * WORD_BYTES)  # CTR adds its keystream to the input by XOR


def keystream(key: bytes, start: int = 0) -> CipherContext:
    """Return the AES-256-CTR context whose next bytes are those of element `start`, a multiple of 4."""
    counter = (start // _BLOCK_WORDS).to_bytes(16)
    return Cipher(algorithms.AES256(key), modes.CTR(counter)).encryptor()


def elements(vector: Words, ring_bits: int) -> NDArray[np.unsignedinteger[Any]]:
    """Return the vector's elements: itself on the wide ring, its halves on the narrow one. No copy."""
    return vector if ring_bits == 32 else vector.view("<u2")


@dataclass(frozen=True, slots=True)
class Masks:
    """The masks of one vector: keys whose keystreams are added, and keys whose keystreams are subtracted."""

    plus: Sequence[bytes] = field(repr=False)
    minus: Sequence[bytes] = field(repr=False)
    ring_bits: int

    def apply(self, part: Words, start: int, *, run: Run = map, shards: int = 1) -> None:
        """Mask the words from `start` (a multiple of 4) on, in place."""
        pieces = shards * PIECES if shards > 1 else 1
        step = -(-len(part) // pieces)
        step = max(CHUNK, -(-step // CHUNK) * CHUNK)

        def mask_shard(low: int) -> None:
            _mask_part(part[low : low + step], start + low, self)

        starts = range(0, len(part), step)
        for _ in (run if len(starts) > 1 else map)(mask_shard, starts):
            pass


def take_masks(plus: Sequence[OneUse], minus: Sequence[OneUse], ring_bits: int = 32) -> Masks:
    """Return the masks of one-use keys, which are used up."""
    return Masks([key.take() for key in plus], [key.take() for key in minus], ring_bits)


def apply_masks(vector: Words, plus: Sequence[OneUse], minus: Sequence[OneUse], *, run: Run = map, shards: int = 1) -> None:
    """Add the masks of `plus` to the vector and subtract those of `minus`, in place, modulo 2^32.

    Args: vector: contiguous uint32. plus, minus: 32-byte mask keys; they are used up. run: applies a function to each
    shard, e.g. a thread pool's `map` (encryption and addition release the interpreter's lock). shards: how many.
    """
    take_masks(plus, minus).apply(vector, 0, run=run, shards=shards)


def _mask_part(part: Words, start: int, masks: Masks) -> None:
    streams = [(keystream(key, start), np.add) for key in masks.plus] + [(keystream(key, start), np.subtract) for key in masks.minus]
    scratch = np.empty(min(CHUNK, len(part)), np.uint32)
    for low in range(0, len(part), CHUNK):
        chunk = elements(part[low : low + CHUNK], masks.ring_bits)
        words = elements(scratch[: chunk.nbytes // WORD_BYTES], masks.ring_bits)
        target = words.data.cast("B")
        zeros = memoryview(_ZEROS)[: len(target)]
        for stream, combine in streams:
            stream.update_into(zeros, target)
            combine(chunk, words, out=chunk)


def self_mask_key(header: SlotStart, hdr_hash: bytes, index: int, seed: bytes) -> OneUse:
    """Return the key of a client's own mask under this header."""
    return OneUse(derive(seed, SELF_MASK, header.sid, header.slot, hdr_hash, index), "self-mask key")


def pair_mask_key(header: SlotStart, hdr_hash: bytes, pair: tuple[int, int], agreed: bytes) -> OneUse:
    """Return the key of two clients' common mask under this header: the higher index adds the mask, the lower subtracts it."""
    return OneUse(derive(agreed, PAIR_MASK, header.sid, header.slot, hdr_hash, min(pair), max(pair)), "pair-mask key")
