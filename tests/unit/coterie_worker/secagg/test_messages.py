"""Bytes are refused by name unless they are the one encoding of a message of this version."""

from __future__ import annotations

from typing import Any

import cbor2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from coterie_worker.secagg import errors, starts_epoch
from coterie_worker.secagg.codec import MAX_PAYLOAD_BYTES, encode, parse
from coterie_worker.secagg.messages import (
    MAX_NUMBER,
    Advert,
    AdvertSet,
    Consistent,
    Dealing,
    Delivery,
    EpochStart,
    FraudProof,
    GraphPart,
    GraphParts,
    Message,
    PlainJoin,
    Revealed,
    ShareAck,
    SlotStart,
    Survivors,
    UnmaskRequest,
    decode_message,
    encode_message,
)

H, S = bytes(range(32)), bytes(range(64))
EXAMPLES: list[Message] = [
    EpochStart(3, 24),
    Advert(H, 3, 24, 7, H, H * 2, H * 2, b"", S),
    Advert(H, 3, 24, 1023, H, H * 2, H * 2, H, S),
    AdvertSet((b"one", b"two")),
    Dealing(H, ((0, b"", H * 2), (199, b"sealed", H * 4)), S),
    Delivery(H, ((1, b"sealed"),)),
    ShareAck(H, ((0, H), (1, H)), S),
    SlotStart(H, 2**40, H, (0, 1, 23, 24, 199), 1_700_000_000_000, 10**8, H),
    Survivors(H, 5, ((0, H, S),)),
    Consistent(H, 5, S),
    UnmaskRequest(H, 5, ((3, S), (4, S))),
    Revealed(H, 5, ((0, bytes(33)),)),
    PlainJoin(H, 1, 0, 3, S),
    GraphPart(H, H),
    GraphParts(H, ((0, H), (1, H))),
    FraudProof(H, 5, 2, (H, H, H), S, ((0, H * 4, bytes(33)), (7, H * 4, H + b"\0"))),
]


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_every_message_survives_its_encoding(message: Message) -> None:
    payload = encode_message(message)

    assert decode_message(payload) == message
    assert cbor2.loads(payload)[:1] == [1]
    assert starts_epoch(payload) is isinstance(message, EpochStart)


CONSISTENT = [1, 9, H, 5, S]
BAD: dict[str, tuple[bytes, type[Exception]]] = {
    "empty": (b"", errors.WrongLength),
    "a number": (b"\x01", errors.WrongType),
    "an empty list": (b"\x80", errors.WrongType),
    "a version alone": (encode([1]), errors.WrongType),
    "version zero": (encode([0, 9, H, 5, S]), errors.UnknownVersion),
    "the next version": (encode([2, 9, H, 5, S]), errors.UnknownVersion),
    "a version that is bytes": (encode([b"\1", 9, H, 5, S]), errors.UnknownVersion),
    "message number zero": (encode([1, 0, H, 5, S]), errors.UnknownMessage),
    "message number 16": (encode([1, 16]), errors.UnknownMessage),
    "a message number that is bytes": (encode([1, b"9"]), errors.UnknownMessage),
    "a message number that is a list": (encode([1, [9]]), errors.UnknownMessage),
    "a field too few": (encode(CONSISTENT[:-1]), errors.WrongLength),
    "a field too many": (encode([*CONSISTENT, 0]), errors.WrongLength),
    "bytes for a number": (encode([1, 9, H, H, S]), errors.WrongType),
    "a number for bytes": (encode([1, 9, 1, 5, S]), errors.WrongType),
    "a list for bytes": (encode([1, 9, [H], 5, S]), errors.WrongType),
    "a hash too short": (encode([1, 9, H[:-1], 5, S]), errors.WrongLength),
    "a signature too long": (encode([1, 9, H, 5, S + b"\0"]), errors.WrongLength),
    "a slot too large": (encode([1, 9, H, MAX_NUMBER + 1, S]), errors.OutOfRange),
    "an index beyond any roster": (encode([1, 10, H, 5, [[1024, S]]]), errors.OutOfRange),
    "a number for a list": (encode([1, 10, H, 5, 7]), errors.WrongType),
    "a number for a row": (encode([1, 10, H, 5, [7]]), errors.WrongType),
    "a row too short": (encode([1, 10, H, 5, [[7]]]), errors.WrongLength),
    "a share too short": (encode([1, 15, H, 5, 2, [H], S, [[0, H * 4, bytes(32)]]]), errors.WrongLength),
    "commitments of one secret": (encode([1, 15, H, 5, 2, [H], S, [[0, H, bytes(33)]]]), errors.WrongLength),
    "a dealer beyond any roster": (encode([1, 15, H, 5, 1024, [H], S, []]), errors.OutOfRange),
    "more hashes than any roster": (encode([1, 15, H, 5, 2, [H] * 1025, S, []]), errors.TooLarge),
    "more rows than any roster": (encode([1, 7, H, 1, H, [0] * 1025, 0, 1, H]), errors.TooLarge),
    "lists in lists in lists": (b"\x81" * 5 + b"\x00", errors.TooLarge),
    "ten thousand lists": (b"\x81" * 10_000, errors.TooLarge),
    "a list longer than its bytes": (b"\x9b\x7f\xff\xff\xff\xff\xff\xff\xff", errors.WrongLength),
    "bytes longer than the message": (b"\x5b\x7f\xff\xff\xff\xff\xff\xff\xff", errors.WrongLength),
    "cut": (encode(CONSISTENT)[:-1], errors.WrongLength),
    "cut inside a length": (b"\x82\x01\x19\x01", errors.WrongLength),
    "followed by a byte": (encode(CONSISTENT) + b"\0", errors.NotCanonical),
    "a long form of a short number": (b"\x85\x18\x01" + encode(CONSISTENT)[2:], errors.NotCanonical),
    "nine bytes for a small number": (b"\x1b\0\0\0\0\0\0\0\5", errors.NotCanonical),
    "an indefinite list": (b"\x9f\x01\xff", errors.NotCanonical),
    "indefinite bytes": (b"\x5f\x41a\xff", errors.NotCanonical),
    "a negative number": (encode([1, 9, H, -5, S]), errors.WrongType),
    "text": (encode([1, 9, "sid", 5, S]), errors.WrongType),
    "a map": (encode({1: 9}), errors.WrongType),
    "a tag": (encode(cbor2.CBORTag(35, "(a+)+$")), errors.WrongType),
    "true": (encode([1, 9, H, True, S]), errors.WrongType),
    "null": (encode([1, 9, H, None, S]), errors.WrongType),
    "a float": (encode([1, 9, H, 5.0, S]), errors.WrongType),
    "too many bytes": (bytes(MAX_PAYLOAD_BYTES + 1), errors.TooLarge),
}


@pytest.mark.parametrize("case", BAD)
def test_other_bytes_are_refused_by_name(case: str) -> None:
    payload, error = BAD[case]
    with pytest.raises(errors.Malformed) as raised:
        decode_message(payload)

    assert type(raised.value) is error


@given(st.binary(max_size=200))
@example(b"\x85\x01\x09\x58\x20")
def test_any_bytes_are_a_message_or_refused_by_name(payload: bytes) -> None:
    try:
        message = decode_message(payload)
    except errors.Malformed:
        return

    assert encode_message(message) == payload


@given(st.sampled_from(EXAMPLES), st.data())
def test_a_changed_byte_changes_the_message_or_is_refused(message: Message, data: st.DataObject) -> None:
    payload = bytearray(encode_message(message))
    at = data.draw(st.integers(0, len(payload) - 1))
    payload[at] ^= data.draw(st.integers(1, 255))
    try:
        other = decode_message(bytes(payload))
    except errors.Malformed:
        return

    assert other != message
    assert encode_message(other) == bytes(payload)


values = st.recursive(st.integers(0, 2**64 - 1) | st.binary(max_size=40), lambda inner: st.lists(inner, max_size=30), max_leaves=40)


@given(values)
def test_our_decoder_agrees_with_cbor2(value: Any) -> None:
    payload = encode(value)
    try:
        parsed = parse(payload)
    except errors.TooLarge:
        return

    assert parsed == value == cbor2.loads(payload)


def test_errors_of_the_decoder_show_no_bytes() -> None:
    secret = b"a secret that nobody may read in a log"
    for payload in (encode([1, 9, secret, 5, S]), encode([1, 9, H, secret, S])):
        with pytest.raises(errors.Malformed) as raised:
            decode_message(payload)

        assert "secret" not in str(raised.value)
