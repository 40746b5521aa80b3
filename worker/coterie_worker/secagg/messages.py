"""Every message of the protocol, and its bytes: the canonical CBOR list `[version, number, field, ...]`.

Decoding checks form (types, lengths, limits); whether a message is *true* is for its reader. Ids are roster positions.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from coterie_worker.secagg.codec import Shape, encode, many, octets, parse, row, uint
from coterie_worker.secagg.errors import UnknownMessage, UnknownVersion, WrongLength, WrongType

if TYPE_CHECKING:
    from collections.abc import Callable

PROTOCOL_VERSION: Final = 1
MAX_ROSTER: Final = 1024
MAX_SLOTS_PER_EPOCH: Final = 256
MAX_NUMBER: Final = 2**63 - 1
HASH_BYTES: Final = 32
KEY_BYTES: Final = 32
SEED_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
SHARE_BYTES: Final = 33  # an element of GF(2^257 - 93)
TAG_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class EpochStart:
    """S0, aggregator → client: make keys for the slots from `first_slot` on."""

    epoch: int
    first_slot: int


@dataclass(frozen=True, slots=True)
class Advert:
    """S0, client → aggregator → all: this epoch's public keys and seed commitments, signed by the tenant."""

    base: bytes  # hash of the session's parameters
    epoch: int
    first_slot: int
    index: int
    channel_key: bytes  # X25519
    mask_keys: bytes  # X25519, one per slot, concatenated
    seed_commitments: bytes  # SHA-256, one per slot, concatenated
    graph_commitment: bytes  # SHA-256; empty on the complete graph
    signature: bytes


@dataclass(frozen=True, slots=True)
class AdvertSet:
    """S1, aggregator → client: all adverts, by ascending index, each as it was received."""

    adverts: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class GraphPart:
    """S0 of a Harary graph, client → aggregator: this client's part of the seed, to which its advert committed."""

    sid: bytes
    part: bytes


@dataclass(frozen=True, slots=True)
class GraphParts:
    """S0 of a Harary graph, aggregator → client: everyone's part; together they order the circle."""

    sid: bytes
    parts: tuple[tuple[int, bytes], ...]


@dataclass(frozen=True, slots=True)
class Dealing:
    """S1, client → aggregator: sealed shares for every holder, and a signed commitment to each share."""

    sid: bytes
    sealed: tuple[tuple[int, bytes, bytes], ...]  # (holder, sealed shares, commitments); the dealer's own has no sealed shares
    signature: bytes


@dataclass(frozen=True, slots=True)
class Delivery:
    """S1, aggregator → client: the sealed shares that are meant for this client."""

    sid: bytes
    sealed: tuple[tuple[int, bytes], ...]  # (dealer, sealed shares)


@dataclass(frozen=True, slots=True)
class ShareAck:
    """S1, client → aggregator: whose shares opened, with the hash of the commitments as the holder computes them."""

    sid: bytes
    held: tuple[tuple[int, bytes], ...]  # (dealer, hash)
    signature: bytes


@dataclass(frozen=True, slots=True)
class SlotStart:
    """R0, aggregator → client: the header that every later key and signature of the slot is bound to."""

    sid: bytes
    slot: int
    model_hash: bytes
    participants: tuple[int, ...]
    deadline: int  # Unix milliseconds; information only
    length: int  # coordinates of a masked vector
    previous_result: bytes


@dataclass(frozen=True, slots=True)
class Survivors:
    """R2, aggregator → client: whose updates are in the sum, each with its masked-input signature."""

    sid: bytes
    slot: int
    uploads: tuple[tuple[int, bytes, bytes], ...]  # (client, SHA-256 of the masked vector, signature)


@dataclass(frozen=True, slots=True)
class Consistent:
    """R2, client → aggregator: the one signature that this client gives to a (header, survivors) in this slot."""

    sid: bytes
    slot: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class UnmaskRequest:
    """R3, aggregator → client: the quorum of signatures that permits shares to be revealed."""

    sid: bytes
    slot: int
    signatures: tuple[tuple[int, bytes], ...]


@dataclass(frozen=True, slots=True)
class Revealed:
    """R3, client → aggregator: per participant one share, of the seed if it survived, of the mask key if it dropped."""

    sid: bytes
    slot: int
    shares: tuple[tuple[int, bytes], ...]  # (dealer, share)


@dataclass(frozen=True, slots=True)
class FraudProof:
    """R4, aggregator → client: a survivor's own signature over shares that rebuild another seed than its advert committed to."""

    sid: bytes
    slot: int
    dealer: int
    hashes: tuple[bytes, ...]  # of the commitments for each of its holders, ascending, as the dealer signed them
    signature: bytes
    shares: tuple[tuple[int, bytes, bytes], ...]  # t of them: (holder, commitments, the share of the seed)


@dataclass(frozen=True, slots=True)
class PlainJoin:
    """S0 of protocol `None`, client → aggregator: the tenant takes part without masks, and signs that."""

    base: bytes
    epoch: int
    first_slot: int
    index: int
    signature: bytes


Message = (
    EpochStart
    | Advert
    | AdvertSet
    | GraphPart
    | GraphParts
    | Dealing
    | Delivery
    | ShareAck
    | SlotStart
    | Survivors
    | Consistent
    | UnmaskRequest
    | Revealed
    | FraudProof
    | PlainJoin
)

_number = uint(MAX_NUMBER)
_index = uint(MAX_ROSTER - 1)
_hash = octets(HASH_BYTES)
_key = octets(KEY_BYTES)
_signature = octets(SIGNATURE_BYTES)
_per_slot = octets(HASH_BYTES, HASH_BYTES * MAX_SLOTS_PER_EPOCH)
_sealed = octets(0, 2 * SHARE_BYTES * MAX_SLOTS_PER_EPOCH + TAG_BYTES)
_commitments = octets(2 * HASH_BYTES, 2 * HASH_BYTES * MAX_SLOTS_PER_EPOCH)
_advert_bytes = octets(1, 2 * HASH_BYTES * MAX_SLOTS_PER_EPOCH + 512)


def _each(*columns: Shape[Any]) -> Shape[tuple[tuple[Any, ...], ...]]:
    return many(row(*columns), MAX_ROSTER)


_WIRE: Final[dict[int, tuple[Callable[..., Message], tuple[Shape[Any], ...]]]] = {
    1: (EpochStart, (_number, _number)),
    2: (Advert, (_hash, _number, _number, _index, _key, _per_slot, _per_slot, octets(0, HASH_BYTES), _signature)),
    3: (AdvertSet, (many(_advert_bytes, MAX_ROSTER),)),
    4: (Dealing, (_hash, _each(_index, _sealed, _commitments), _signature)),
    5: (Delivery, (_hash, _each(_index, _sealed))),
    6: (ShareAck, (_hash, _each(_index, _hash), _signature)),
    7: (SlotStart, (_hash, _number, _hash, many(_index, MAX_ROSTER), _number, _number, _hash)),
    8: (Survivors, (_hash, _number, _each(_index, _hash, _signature))),
    9: (Consistent, (_hash, _number, _signature)),
    10: (UnmaskRequest, (_hash, _number, _each(_index, _signature))),
    11: (Revealed, (_hash, _number, _each(_index, octets(SHARE_BYTES)))),
    12: (PlainJoin, (_hash, _number, _number, _index, _signature)),
    13: (GraphPart, (_hash, octets(SEED_BYTES))),
    14: (GraphParts, (_hash, _each(_index, octets(SEED_BYTES)))),
    15: (FraudProof, (_hash, _number, _index, many(_hash, MAX_ROSTER), _signature, _each(_index, _commitments, octets(SHARE_BYTES)))),
}
_NUMBERS: Final[dict[object, int]] = {kind: number for number, (kind, _) in _WIRE.items()}
_NAMES: Final[dict[object, tuple[str, ...]]] = {kind: tuple(field.name for field in fields(kind)) for kind, _ in _WIRE.values()}  # type: ignore[arg-type]
_EPOCH_START: Final = encode([PROTOCOL_VERSION, _NUMBERS[EpochStart], 0, 0])[:-2]  # what each such message begins with


def encode_message(message: Message) -> bytes:
    """Return the message's canonical bytes."""
    return encode([PROTOCOL_VERSION, _NUMBERS[type(message)], *(getattr(message, name) for name in _NAMES[type(message)])])


def decode_message(payload: bytes) -> Message:
    """Return the message that `payload` encodes; `encode_message` of it is `payload`, byte for byte.

    Raises: a Malformed error, named after what is wrong.
    """
    value = parse(payload)
    if not isinstance(value, list) or len(value) < 2:
        raise WrongType("not a message: expected a list of version, number and fields")
    version, number, *values = value
    if version != PROTOCOL_VERSION:
        raise UnknownVersion(f"message of version {version!r:.20}, this is version {PROTOCOL_VERSION}")
    if not isinstance(number, int) or number not in _WIRE:
        raise UnknownMessage(f"message number {number!r:.20}, known are 1 to {max(_WIRE)}")
    return _build(number, values)


def _build(number: int, values: list[Any]) -> Message:
    kind, shapes = _WIRE[number]
    name = getattr(kind, "__name__", str(number))
    if len(values) != len(shapes):
        raise WrongLength(f"{name}: {len(values)} fields, expected {len(shapes)}")
    return kind(*(shape(value, f"{name}.{field}") for shape, value, field in zip(shapes, values, _NAMES[kind], strict=True)))


def starts_epoch(payload: bytes) -> bool:
    """Return whether `payload` opens a new epoch, for which a shell makes a fresh client object."""
    return payload.startswith(_EPOCH_START)  # large messages are decoded once, by whoever takes them
