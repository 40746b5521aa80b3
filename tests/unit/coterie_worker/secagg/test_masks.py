"""Keys and masks against a second implementation (pycryptodome), and the ways in which masks can be misused."""

from __future__ import annotations

import json
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cbor2
import numpy as np
import pytest
from Crypto.Cipher import AES
from Crypto.Hash import SHA256
from Crypto.Protocol.KDF import HKDF
from Crypto.Util import Counter
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from nacl.bindings import crypto_sign_open
from tests.unit.coterie_worker.secagg.simulation import identity, seeded

from coterie_worker.secagg import errors
from coterie_worker.secagg.contexts import header_hash, seed_commitment
from coterie_worker.secagg.dealing import Kind, SharePair, commit, commit_share
from coterie_worker.secagg.keys import OneUse, derive, open_sealed, seal, verify
from coterie_worker.secagg.masks import CHUNK, apply_masks, keystream, pair_mask_key, self_mask_key
from coterie_worker.secagg.messages import SlotStart

VECTORS: dict[str, list[dict[str, Any]]] = json.loads((Path(__file__).parent / "vectors.json").read_text())
KEY = bytes(range(32))


def other_hkdf(secret: bytes, facts: list[Any]) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        derived = HKDF(secret, 32, None, SHA256, context=cbor2.dumps(facts, canonical=True))
    assert isinstance(derived, bytes)
    return derived


def other_mask(key: bytes, length: int, start: int = 0) -> np.ndarray[Any, np.dtype[np.uint32]]:
    cipher = AES.new(key, AES.MODE_CTR, counter=Counter.new(128, initial_value=start // 4))
    return np.frombuffer(cipher.encrypt(bytes(4 * length)), "<u4")


def header_of(vector: dict[str, Any]) -> SlotStart:
    h = vector["header"]
    fixed = (bytes.fromhex(h["sid"]), h["slot"], bytes.fromhex(h["model_hash"]), tuple(h["participants"]))
    return SlotStart(*fixed, h["deadline"], h["length"], bytes.fromhex(h["previous_result"]))


def test_a_row_of_commitments_is_each_commitment_in_order() -> None:
    shares = [bytes([i]) * 33 for i in range(4)]
    row = commit(KEY, 1, 2, 10, b"".join(shares))

    assert row == b"".join(commit_share(KEY, (1, 2, 10 + i // 2, Kind(i % 2)), share) for i, share in enumerate(shares))


@pytest.mark.parametrize("length", [1, 3, 4, 5, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 7])
def test_a_mask_is_the_aes_ctr_keystream_at_every_length(length: int) -> None:
    vector = np.zeros(length, np.uint32)
    apply_masks(vector, [OneUse(KEY, "key")], [])

    assert np.array_equal(vector, other_mask(KEY, length))


def test_masks_add_and_subtract_modulo_two_to_the_32() -> None:
    vector = np.full(1000, 2**32 - 1, np.uint32)
    keys = [bytes([i]) * 32 for i in range(5)]
    apply_masks(vector, [OneUse(k, "key") for k in keys[:3]], [OneUse(k, "key") for k in keys[3:]])
    exact = [2**32 - 1] * 1000
    for sign, key in zip((1, 1, 1, -1, -1), keys, strict=True):
        exact = [(a + sign * int(b)) % 2**32 for a, b in zip(exact, other_mask(key, 1000), strict=True)]

    assert vector.tolist() == exact


@pytest.mark.parametrize("start", [0, 4, CHUNK, 10 * CHUNK])
def test_a_keystream_can_start_anywhere(start: int) -> None:
    words = np.frombuffer(keystream(KEY, start).update(bytes(64)), "<u4")

    assert np.array_equal(words, other_mask(KEY, 16, start))
    assert np.array_equal(words, other_mask(KEY, start + 16)[start:])


@pytest.mark.parametrize("shards", [1, 2, 3, 7, 100])
def test_shards_in_threads_give_the_same_mask(shards: int) -> None:
    length = 5 * CHUNK + 123
    vector = np.zeros(length, np.uint32)
    with ThreadPoolExecutor(2) as pool:
        apply_masks(vector, [OneUse(KEY, "key")], [OneUse(bytes(32), "key")], run=pool.map, shards=shards)

    assert np.array_equal(vector, other_mask(KEY, length) - other_mask(bytes(32), length))


def test_a_mask_key_is_used_once() -> None:
    key = OneUse(KEY, "pair-mask key")
    apply_masks(np.zeros(4, np.uint32), [key], [])
    with pytest.raises(errors.KeyUsed, match="pair-mask key has been used"):
        apply_masks(np.zeros(4, np.uint32), [], [key])

    assert repr(key) == "<pair-mask key: erased>"


@pytest.mark.parametrize("first", list(Kind))
@pytest.mark.parametrize("second", list(Kind))
def test_a_pair_of_shares_reveals_one_of_the_two_once(first: Kind, second: Kind) -> None:
    pair = SharePair(b"s" * 33, b"m" * 33)
    assert pair.reveal(first) == (b"s" if first is Kind.SEED else b"m") * 33
    with pytest.raises(errors.KeyUsed):
        pair.reveal(second)

    assert repr(pair) == "<SharePair: hidden>"


def headers() -> list[SlotStart]:
    base = header_of(VECTORS["masks"][0])
    fields = {
        "sid": bytes(32),
        "slot": 99,
        "model_hash": bytes(32),
        "participants": (0, 1, 2),
        "deadline": 1,
        "length": 1,
        "previous_result": bytes(range(32)),
    }
    from dataclasses import replace

    return [base, *(replace(base, **{name: value}) for name, value in fields.items())]


def test_every_fact_of_the_header_changes_every_mask() -> None:
    keys = {self_mask_key(header, header_hash(header), 1, KEY).take() for header in headers()}
    keys |= {pair_mask_key(header, header_hash(header), (1, 2), KEY).take() for header in headers()}
    keys |= {pair_mask_key(headers()[0], header_hash(headers()[0]), pair, KEY).take() for pair in ((1, 3), (2, 3))}
    keys |= {self_mask_key(headers()[0], header_hash(headers()[0]), 2, KEY).take()}

    assert len(keys) == 2 * len(headers()) + 3


def test_a_seed_commitment_binds_all_of_its_facts() -> None:
    facts = (KEY, 1, 2, 3, KEY)
    changed = [(bytes(32), 1, 2, 3, KEY), (KEY, 2, 2, 3, KEY), (KEY, 1, 3, 3, KEY), (KEY, 1, 2, 4, KEY), (KEY, 1, 2, 3, bytes(32))]

    assert len({seed_commitment(*each) for each in (facts, *changed)}) == 6


OPENINGS: dict[str, dict[str, Any]] = {
    "the other direction": {"sender": 2, "receiver": 1},
    "another receiver": {"receiver": 3},
    "another sender": {"sender": 3},
    "another session": {"sid": bytes(32)},
    "another channel": {"channel": bytes(32)},
}


@pytest.mark.parametrize("case", OPENINGS)
def test_a_seal_opens_only_as_it_was_made(case: str) -> None:
    made = {"channel": KEY, "sid": KEY, "sender": 1, "receiver": 2}
    sealed = seal(**made, plain=b"shares")
    assert open_sealed(**made, sealed=sealed) == b"shares"

    with pytest.raises(errors.BadSeal):
        open_sealed(**(made | OPENINGS[case]), sealed=sealed)


def test_a_seal_is_aes_gcm_of_the_second_implementation() -> None:
    context = cbor2.dumps(["coterie/v1/share-enc", "shares", KEY, 1, 2], canonical=True)
    cipher = AES.new(other_hkdf(KEY, ["coterie/v1/share-enc", KEY, 1, 2]), AES.MODE_GCM, nonce=bytes(12))
    cipher.update(context)
    text, tag = cipher.encrypt_and_digest(b"shares")

    assert seal(KEY, KEY, 1, 2, b"shares") == text + tag


@pytest.mark.parametrize("length", [0, 1, 32, 33, 64])
def test_derived_keys_agree_with_the_second_implementation(length: int) -> None:
    secret = seeded("hkdf")(length or 1)

    assert derive(secret, "label", length, b"fact") == other_hkdf(secret, ["label", length, b"fact"])


def test_verification_raises_and_never_returns_a_verdict() -> None:
    public, signature = identity(0).public_key().public_bytes_raw(), identity(0).sign(b"signed")
    assert verify(public, signature, b"signed", what="x") is None  # type: ignore[func-returns-value]
    for bad in ((public, signature, b"other"), (public, bytes(64), b"signed"), (public, b"", b"signed"), (bytes(31), signature, b"signed")):
        with pytest.raises(errors.BadSignature, match="x: the signature"):
            verify(*bad, what="x")


def test_what_a_signature_has_too_much_is_not_taken_for_what_is_signed() -> None:
    public, signature = identity(0).public_key().public_bytes_raw(), identity(0).sign(b"signed")
    crypto_sign_open(signature + b"sig" + b"ned", public)  # the library alone can't tell

    with pytest.raises(errors.BadSignature):
        verify(public, signature + b"sig", b"ned", what="x")


def test_a_key_of_low_order_signs_nothing() -> None:
    """R = A = the neutral element and S = 0 fulfill S·B = R + h·A whatever is signed (RFC 8032, 5.1.7)."""
    neutral = (1).to_bytes(32, "little")
    Ed25519PublicKey.from_public_bytes(neutral).verify(neutral + bytes(32), b"anything")  # so a library may let it pass

    with pytest.raises(errors.BadSignature):
        verify(neutral, neutral + bytes(32), b"anything", what="x")


def test_a_second_form_of_a_signature_is_none() -> None:
    """S + L in the place of S (RFC 8032, 8.4)."""
    public, signature = identity(0).public_key().public_bytes_raw(), identity(0).sign(b"signed")
    order = 2**252 + 27742317777372353535851937790883648493
    other = (int.from_bytes(signature[32:], "little") + order).to_bytes(32, "little")

    with pytest.raises(errors.BadSignature):
        verify(public, signature[:32] + other, b"signed", what="x")
