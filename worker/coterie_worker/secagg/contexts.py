"""What every hash, signature and derived key of the protocol covers: a context label, then the facts it is bound to.

All contexts are canonical CBOR lists that start with their label, so no two kinds can be mistaken for each other and no
two lists of facts have the same bytes.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from coterie_worker.secagg.codec import encode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from coterie_worker.secagg.messages import Advert, PlainJoin, SlotStart

_V1: Final = "coterie/v1/"

ROSTER: Final = _V1 + "roster"
PARAMETERS: Final = _V1 + "parameters"
SESSION: Final = _V1 + "session"
ADVERT: Final = _V1 + "advert"
PLAIN_JOIN: Final = _V1 + "plain-join"
SEED_COMMITMENT: Final = _V1 + "seed-commit"
SHARE_COMMITMENT: Final = _V1 + "share-commit"
DEALING: Final = _V1 + "dealing"
SHARE_ACK: Final = _V1 + "share-ack"
SHARE_SEAL: Final = _V1 + "share-enc"
HEADER: Final = _V1 + "header"
MASKED_INPUT: Final = _V1 + "masked-input"
SURVIVORS: Final = _V1 + "survivors"
CONSISTENT: Final = _V1 + "consistent"
PAIR_MASK: Final = _V1 + "pair-mask"
SELF_MASK: Final = _V1 + "self-mask"
GRAPH: Final = _V1 + "graph"
GRAPH_COMMITMENT: Final = _V1 + "graph-commit"
RESULT: Final = _V1 + "result"

NO_RESULT: Final = bytes(32)  # `previous_result` of an epoch's first opened slot


def context(label: str, *facts: Any) -> bytes:
    """Return the canonical bytes of a label and its facts."""
    return encode([label, *facts])


def digest(label: str, *facts: Any) -> bytes:
    """Return SHA-256 of a context."""
    return hashlib.sha256(context(label, *facts)).digest()


def advert_context(advert: Advert) -> bytes:
    """What a tenant signs when it advertises keys."""
    facts = (advert.base, advert.epoch, advert.first_slot, advert.index, advert.channel_key, advert.mask_keys)
    return context(ADVERT, *facts, advert.seed_commitments, advert.graph_commitment)


def join_context(join: PlainJoin) -> bytes:
    """What a tenant signs when it takes part without masks."""
    return context(PLAIN_JOIN, join.base, join.epoch, join.first_slot, join.index)


def session_id(base: bytes, epoch: int, first_slot: int, adverts: Iterable[bytes]) -> bytes:
    """SID: the job's parameters, the epoch, and every advert with its signature, by ascending index."""
    return digest(SESSION, base, epoch, first_slot, list(adverts))


def header_hash(header: SlotStart) -> bytes:
    """Hash of a slot's header; every mask key and every signature of the slot depends on it."""
    facts = (header.sid, header.slot, header.model_hash, header.participants, header.deadline, header.length, header.previous_result)
    return digest(HEADER, *facts)


def upload_context(hdr_hash: bytes, index: int, vector_hash: bytes) -> bytes:
    """R1: what a client signs about its masked vector."""
    return context(MASKED_INPUT, hdr_hash, index, vector_hash)


def consistency_context(hdr_hash: bytes, survivors: Iterable[int]) -> bytes:
    """R2: what a client signs about the survivors, once per slot."""
    return context(CONSISTENT, hdr_hash, digest(SURVIVORS, list(survivors)))


def seed_commitment(base: bytes, epoch: int, index: int, slot: int, seed: bytes) -> bytes:
    """H(b): binds a client to the seed of its self mask before anyone has a share of it."""
    return digest(SEED_COMMITMENT, base, epoch, index, slot, seed)


def graph_commitment(base: bytes, epoch: int, index: int, part: bytes) -> bytes:
    """Bind a client to its part of the graph's seed before it sees anyone else's."""
    return digest(GRAPH_COMMITMENT, base, epoch, index, part)


def graph_seed(sid: bytes, parts: Iterable[tuple[int, bytes]]) -> bytes:
    """Return the seed that orders the graph: uniform if one part of it is, and known to nobody before all parts are."""
    return digest(GRAPH, sid, [list(part) for part in parts])
