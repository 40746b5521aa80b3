"""S1: dealing shares of every slot's secrets, opening those of others, and revealing exactly one of each pair.

A dealer commits to each share it deals and signs the commitments for the aggregator; a holder computes the commitments of
what it opened and signs them in its acknowledgment. Where the two agree, a share that later differs is the holder's lie,
and shares that agree but don't rebuild the committed secret are the dealer's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from coterie_worker.secagg import field
from coterie_worker.secagg.contexts import DEALING, SHARE_ACK, SHARE_COMMITMENT, context
from coterie_worker.secagg.errors import BadSeal, BadShare
from coterie_worker.secagg.keys import Entropy, OneUse, agree, open_sealed, seal
from coterie_worker.secagg.messages import HASH_BYTES, SHARE_BYTES
from coterie_worker.secagg.shamir import split_many

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    from coterie_worker.secagg.adverts import Adverts, EpochSecrets
    from coterie_worker.secagg.graph import Graph

AT_ONCE = 16  # secrets in one long number: more gain little

Sealed = tuple[tuple[int, bytes, bytes], ...]


class Kind(Enum):
    """Which of a participant's two secrets a share belongs to."""

    SEED = 0  # of its self mask: revealed if it survived
    MASK_KEY = 1  # its X25519 key: revealed if it dropped


class SharePair:
    """A holder's shares of one participant's two secrets in one slot.

    Formal guarantees: at most one of the two ever leaves; revealing one erases the other. Both together would unmask the
    participant's vector.
    """

    __slots__ = ("_shares",)

    def __init__(self, seed_share: bytes, mask_key_share: bytes) -> None:
        self._shares = {Kind.SEED: OneUse(seed_share, "seed share"), Kind.MASK_KEY: OneUse(mask_key_share, "mask-key share")}

    def __repr__(self) -> str:
        return "<SharePair: hidden>"

    def reveal(self, kind: Kind) -> bytes:
        """Return the share of this kind, once, and erase both."""
        share = self._shares[kind].take()
        self.erase()
        return share

    def erase(self) -> None:
        """Forget both shares."""
        for share in self._shares.values():
            share.erase()


@dataclass(frozen=True, slots=True)
class Dealt:
    """A dealer's shares: what goes to others, sealed, and what it holds itself."""

    sealed: Sealed
    own: bytes


Channel = Callable[[int], bytes]  # peer -> X25519 secret shared with it


def channel_to(adverts: Adverts, private: X25519PrivateKey) -> Channel:
    """Return the function that agrees on a channel with each peer once and remembers it."""
    known: dict[int, bytes] = {}

    def secret(peer: int) -> bytes:
        if peer not in known:
            known[peer] = agree(private, adverts.by_index[peer].channel_key)
        return known[peer]

    return secret


def deal(index: int, graph: Graph, adverts: Adverts, secrets: EpochSecrets, channel: Channel, entropy: Entropy) -> Dealt:
    """Return shares of both secrets of every slot for each neighbor and oneself; the dealing copies are used up."""
    holders = graph.holders(index)
    plain = {holder: bytearray() for holder in holders}
    slots = [secrets.slots[slot] for slot in sorted(secrets.slots)]
    pairs = [secret.take() for slot in slots for secret in (slot.seed_to_deal, slot.mask_private_to_deal)]
    for low in range(0, len(pairs), AT_ONCE):
        for shares in split_many(pairs[low : low + AT_ONCE], graph.threshold, holders, entropy):
            for holder, share in zip(holders, shares, strict=True):
                plain[holder] += field.to_bytes(share)
    sealed = []
    for holder in holders:
        commitments = commit(adverts.sid, index, holder, adverts.first_slot, plain[holder])
        box = b"" if holder == index else seal(channel(holder), adverts.sid, index, holder, bytes(plain[holder]))
        sealed.append((holder, box, commitments))
    return Dealt(tuple(sealed), bytes(plain[index]))


def commit(sid: bytes, dealer: int, holder: int, first_slot: int, plain: bytes | bytearray) -> bytes:
    """Return the commitments to a holder's shares, 32 bytes each, in the order slot by slot, seed before mask key."""
    start = hashlib.sha256(context(SHARE_COMMITMENT, sid, dealer, holder))
    shares = memoryview(plain)
    return b"".join(
        _commit(start, first_slot + at // 2, at % 2, shares[at * SHARE_BYTES : (at + 1) * SHARE_BYTES])
        for at in range(len(plain) // SHARE_BYTES)
    )


def commit_share(sid: bytes, place: tuple[int, int, int, Kind], share: bytes) -> bytes:
    """Return the commitment to one share; place = (dealer, holder, slot, kind).

    A share has 257 bits that nobody but its holder knows, so a plain hash hides it.
    """
    dealer, holder, slot, kind = place
    return _commit(hashlib.sha256(context(SHARE_COMMITMENT, sid, dealer, holder)), slot, kind.value, memoryview(share))


def _commit(start: hashlib._Hash, slot: int, kind: int, share: memoryview) -> bytes:
    # The context is self-delimiting and the rest of fixed size, so hashing them in a row is unambiguous.
    whole = start.copy()
    whole.update(slot.to_bytes(8) + bytes([kind]))
    whole.update(share)
    return whole.digest()


def open_shares(sid: bytes, dealer: int, index: int, channel: Channel, sealed: bytes) -> bytes:
    """Return the dealer's shares for us, all slots in a row.

    Raises: BadSeal.
    """
    return open_sealed(channel(dealer), sid, dealer, index, sealed)


def check_shares(plain: bytes, slots: int, *, dealer: int) -> None:
    """Raise BadSeal for shares of another number of slots, BadShare for a value outside the field."""
    if len(plain) != slots * 2 * SHARE_BYTES:
        raise BadSeal(f"shares of client {dealer}: {len(plain)} bytes, expected {slots * 2 * SHARE_BYTES}")
    for at in range(0, len(plain), SHARE_BYTES):
        check_share(plain[at : at + SHARE_BYTES], dealer=dealer)


def share_pairs(plain: bytes) -> list[SharePair]:
    """Return a dealer's pairs of shares, slot by slot."""
    step = 2 * SHARE_BYTES
    return [SharePair(plain[at : at + SHARE_BYTES], plain[at + SHARE_BYTES : at + step]) for at in range(0, len(plain), step)]


def check_share(share: bytes, *, dealer: int) -> int:
    """Return the share's value.

    Raises: BadShare unless it is the canonical encoding of a field element.
    """
    try:
        return field.from_bytes(share)
    except ValueError:
        raise BadShare(f"share of client {dealer}: not the canonical encoding of a field element") from None


def hash_commitments(commitments: bytes) -> bytes:
    """Return the hash by which a holder acknowledges a dealer's commitments."""
    return hashlib.sha256(commitments).digest()


def dealing_context(sid: bytes, index: int, sealed: Sealed) -> bytes:
    """What a dealer signs: its commitments to every holder's shares."""
    return commitments_context(sid, index, [(holder, hash_commitments(commitments)) for holder, _, commitments in sealed])


def commitments_context(sid: bytes, index: int, hashes: Sequence[tuple[int, bytes]]) -> bytes:
    """The same, from the hashes of each holder's commitments."""
    return context(DEALING, sid, index, hashes)


def ack_context(sid: bytes, index: int, held: Sequence[tuple[int, bytes]]) -> bytes:
    """What a holder signs: whose shares it holds, and their commitments as it computed them."""
    return context(SHARE_ACK, sid, index, held)


def commitment_at(commitments: bytes, place: int, kind: Kind) -> bytes:
    """Return one commitment out of a holder's row; place = slot - first slot."""
    at = (2 * place + kind.value) * HASH_BYTES
    return commitments[at : at + HASH_BYTES]
