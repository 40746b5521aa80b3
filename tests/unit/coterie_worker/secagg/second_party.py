"""The protocol of one client once more, after docs/secure-aggregation.md alone: no line of coterie_worker is used.

Ed25519, X25519, HKDF, AES-CTR and AES-GCM are pycryptodome's, CBOR is written and read here, Shamir's polynomials are evaluated by
powers and interpolated over a common denominator, masks are added as Python integers. Complete graph, unweighted, both rings.
"""

from __future__ import annotations

import warnings
from hashlib import sha256
from typing import Any

from Crypto.Cipher import AES
from Crypto.Hash import SHA256
from Crypto.Protocol.DH import import_x25519_private_key, import_x25519_public_key, key_agreement
from Crypto.Protocol.KDF import HKDF
from Crypto.Signature import eddsa
from Crypto.Util import Counter
from tests.unit.coterie_worker.secagg.second_bytes import Refused, dumps, need, read

PRIME = 2**257 - 93
CURVE = 2**255 - 19


# --- primitives ----------------------------------------------------------------------------------------------------------


def context(label: str, *facts: Any) -> bytes:
    return dumps(["coterie/v1/" + label, *facts])


def digest(label: str, *facts: Any) -> bytes:
    return sha256(context(label, *facts)).digest()


def hkdf(secret: bytes, info: bytes) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        derived = HKDF(secret, 32, b"", SHA256, context=info)
    assert isinstance(derived, bytes)
    return derived


def public(private: bytes) -> bytes:
    raw = import_x25519_private_key(private).public_key().export_key(format="raw")
    assert isinstance(raw, bytes)
    return raw


def agree(private: bytes, key: bytes) -> bytes:
    shared = key_agreement(static_priv=import_x25519_private_key(private), static_pub=import_x25519_public_key(key), kdf=bytes)
    assert isinstance(shared, bytes)
    return shared


def check_key(key: bytes) -> None:
    """A point is of low order exactly if eight times it is the neutral element: an agreement with any scalar gives zero."""
    need(int.from_bytes(key, "little") < CURVE, "BadAdvert")
    try:
        agree(bytes(range(32)), key)
    except ValueError:
        raise Refused("BadAdvert") from None


def sign(private: bytes, signed: bytes) -> bytes:
    return eddsa.new(eddsa.import_private_key(private), "rfc8032").sign(signed)


def verify(key: bytes, signature: bytes, signed: bytes) -> None:
    try:
        eddsa.new(eddsa.import_public_key(key), "rfc8032").verify(signed, signature)
    except ValueError:
        raise Refused("BadSignature") from None


def gcm(secret: bytes, sid: bytes, sender: int, receiver: int) -> Any:
    cipher = AES.new(hkdf(secret, context("share-enc", sid, sender, receiver)), AES.MODE_GCM, nonce=bytes(12))
    return cipher.update(context("share-enc", "shares", sid, sender, receiver))


def seal(secret: bytes, sid: bytes, sender: int, receiver: int, plain: bytes) -> bytes:
    return b"".join(gcm(secret, sid, sender, receiver).encrypt_and_digest(plain))


def unseal(secret: bytes, sid: bytes, sender: int, receiver: int, sealed: bytes) -> bytes:
    need(len(sealed) >= 16, "BadSeal")
    try:
        plain = gcm(secret, sid, sender, receiver).decrypt_and_verify(sealed[:-16], sealed[-16:])
    except ValueError:
        raise Refused("BadSeal") from None
    assert isinstance(plain, bytes)
    return plain


def share(secret: bytes, coefficients: list[int], holders: list[int]) -> list[int]:
    """Shares of the polynomial whose coefficients, the highest first, are followed by the secret."""
    whole = [*coefficients, int.from_bytes(secret, "big")]
    return [sum(c * (holder + 1) ** (len(whole) - 1 - power) for power, c in enumerate(whole)) % PRIME for holder in holders]


def rebuild(shares: dict[int, int]) -> bytes:
    top, bottom = 0, 1
    for i, value in shares.items():
        numerator, denominator = value, 1
        for j in shares:
            if j != i:
                numerator, denominator = numerator * (j + 1), denominator * (j - i)
        top, bottom = top * denominator + numerator * bottom, bottom * denominator
    secret = top * pow(bottom, PRIME - 2, PRIME) % PRIME
    need(secret < 2**256, "None")
    return secret.to_bytes(32, "big")


def mask(key: bytes, words: int, ring_bits: int) -> list[int]:
    stream = AES.new(key, AES.MODE_CTR, counter=Counter.new(128, initial_value=0)).encrypt(bytes(4 * words))
    size = ring_bits // 8
    return [int.from_bytes(stream[at : at + size], "little") for at in range(0, len(stream), size)]


def commitments(sid: bytes, dealer: int, holder: int, first_slot: int, plain: bytes) -> bytes:
    begin = context("share-commit", sid, dealer, holder)
    shares = [plain[at : at + 33] for at in range(0, len(plain), 33)]
    places = [(first_slot + at // 2).to_bytes(8, "big") + bytes([at % 2]) for at in range(len(shares))]
    return b"".join(sha256(begin + place + one).digest() for place, one in zip(places, shares, strict=True))


def ordered(members: list[int], sid: bytes, parts: list[tuple[int, bytes]]) -> list[int]:
    seed = digest("graph", sid, [list(part) for part in parts])
    return [member for _, member in sorted((digest("graph", seed, member), member) for member in members)]


def check_fraud(session: dict[str, Any], adverts: list[bytes], index: int, payload: bytes) -> None:
    """Client `index` of an epoch with these adverts hears a proof of fraud: it agrees, or the refusal is raised."""
    number, (sid, slot, dealer, hashes, signature, shares) = read(payload)
    known = {values[3]: values for _, values in map(read, adverts)}
    holders, chosen = sorted(known), [holder for holder, _, _ in shares]
    base, epoch, first = known[index][:3]
    need(number == 15, "Unexpected")
    need(sid == digest("session", base, epoch, first, adverts), "WrongSession")
    need(dealer != index and dealer in known and 0 <= slot - first < session["slots_per_epoch"], "BadProof")
    need(chosen == sorted(set(chosen) & set(holders)) and len(chosen) == session["threshold"], "BadProof")
    need(len(hashes) == len(holders), "BadProof")
    for holder, row, _ in shares:
        need(len(row) == 64 * session["slots_per_epoch"] and sha256(row).digest() == hashes[holders.index(holder)], "BadProof")
    signed = [[holder, one] for holder, one in zip(holders, hashes, strict=True)]
    verify(bytes.fromhex(session["roster"][dealer]["public_key"]), signature, context("dealing", sid, dealer, signed))
    for holder, row, one in shares:
        made = commitments(sid, dealer, holder, slot, one)
        need(made == row[64 * (slot - first) :][:32] and int.from_bytes(one, "big") < PRIME, "BadShare")
    try:
        secret = rebuild({holder: int.from_bytes(one, "big") for holder, _, one in shares})
    except Refused:
        return  # not even a seed's length
    need(digest("seed-commit", base, epoch, dealer, slot, secret) != known[dealer][6][32 * (slot - first) :][:32], "BadProof")


# --- one client ----------------------------------------------------------------------------------------------------------


class SecondClient:
    """Replies to the aggregator's messages. `draws` are the random bytes, in the order in which they are used."""

    def __init__(self, session: dict[str, Any], index: int, identity: bytes, draws: list[bytes]) -> None:
        self.roster = [bytes.fromhex(member["public_key"]) for member in session["roster"]]
        self.t, self.c, self.least = session["threshold"], session["colluders"], session["min_survivors"]
        self.slots, self.ring_bits = session["slots_per_epoch"], session["ring_bits"]
        roster = digest("roster", [[member["tenant"], bytes.fromhex(member["public_key"])] for member in session["roster"]])
        numbers = (self.t, self.c, self.least, self.ring_bits, session["scale"], self.slots)
        self.base = digest("parameters", session["job_uid"], bytes.fromhex(session["spec_hash"]), roster, *numbers)
        self.index, self.identity, self.draws = index, identity, list(draws)
        self.expects: dict[int, Any] = {1: self.start}
        self.submitted: bytes | None = None
        self.header: list[Any] = []

    def receive(self, payload: bytes) -> list[bytes]:
        number, values = read(payload)
        need(number in self.expects, "Unexpected")
        return self.expects[number](*values)

    def start(self, epoch: int, first_slot: int) -> list[bytes]:
        self.epoch, self.first = epoch, first_slot
        self.channel = self.draws.pop(0)
        self.privates = [self.draws.pop(0) for _ in range(self.slots)]
        self.seeds = [self.draws.pop(0) for _ in range(self.slots)]
        committed = [digest("seed-commit", self.base, epoch, self.index, first_slot + at, seed) for at, seed in enumerate(self.seeds)]
        keys = b"".join(public(private) for private in self.privates)
        facts = [self.base, epoch, first_slot, self.index, public(self.channel), keys, b"".join(committed), b""]
        self.own = dumps([1, 2, *facts, sign(self.identity, context("advert", *facts))])
        self.expects = {3: self.adverts}
        return [self.own]

    def adverts(self, payloads: list[bytes]) -> list[bytes]:
        found = []
        for payload in payloads:
            number, values = read(payload)
            need(number == 2 and (not found or found[-1][3] < values[3]), "BadAdvert")
            found.append(values)
        need(len(found) >= self.least, "BelowThreshold")
        need(self.own in payloads, "BadAdvert")
        seen: set[bytes] = set()
        for values in found:
            self.check_advert(values, seen)
        self.sid = digest("session", self.base, self.epoch, self.first, payloads)
        self.known = {values[3]: values for values in found}
        return [self.deal()]

    def check_advert(self, values: list[Any], seen: set[bytes]) -> None:
        base, epoch, first, index, channel, keys, seeds, graph, signature = values
        need((base, epoch, first) == (self.base, self.epoch, self.first), "WrongSession")
        need(index < len(self.roster) and len(keys) == len(seeds) == 32 * self.slots and not graph, "BadAdvert")
        parts = [channel] + [joined[at : at + 32] for joined in (keys, seeds) for at in range(0, len(joined), 32)]
        for key in parts[: 1 + self.slots]:
            check_key(key)
        verify(self.roster[index], signature, context("advert", *values[:-1]))
        for part in parts:
            need(part not in seen, "BadAdvert")
            seen.add(part)

    def deal(self) -> bytes:
        holders = sorted(self.known)
        plain = dict.fromkeys(holders, b"")
        for at in range(self.slots):
            for secret in (self.seeds[at], self.privates[at]):
                drawn = self.draws.pop(0)
                coefficients = [int.from_bytes(drawn[low : low + 33], "big") & (2**257 - 1) for low in range(0, len(drawn), 33)]
                for holder, value in zip(holders, share(secret, coefficients, holders), strict=True):
                    plain[holder] += value.to_bytes(33, "big")
        rows = []
        for holder in holders:
            row = commitments(self.sid, self.index, holder, self.first, plain[holder])
            box = b"" if holder == self.index else seal(self.secret(holder), self.sid, self.index, holder, plain[holder])
            rows.append([holder, box, row])
        self.held = {self.index: plain[self.index]}
        signed = context("dealing", self.sid, self.index, [[holder, sha256(row).digest()] for holder, _, row in rows])
        self.expects = {5: self.delivery}
        return dumps([1, 4, self.sid, rows, sign(self.identity, signed)])

    def secret(self, peer: int) -> bytes:
        return agree(self.channel, self.known[peer][4])

    def delivery(self, sid: bytes, boxes: list[Any]) -> list[bytes]:
        need(sid == self.sid, "WrongSession")
        need(len(boxes) + 1 >= self.least, "BelowThreshold")
        dealers = [dealer for dealer, _ in boxes]
        need(len(set(dealers)) == len(dealers) and set(dealers) <= set(self.known) - {self.index}, "BadSurvivors")
        failures = []
        for dealer, box in boxes:
            try:
                plain = unseal(self.secret(dealer), self.sid, dealer, self.index, box)
                need(len(plain) == 66 * self.slots, "BadSeal")
                need(all(int.from_bytes(plain[at : at + 33], "big") < PRIME for at in range(0, len(plain), 33)), "BadShare")
                self.held[dealer] = plain
            except Refused as refused:
                failures.append(refused)
        if len(failures) == len(boxes):
            raise failures[0]
        held = [
            [dealer, sha256(commitments(self.sid, dealer, self.index, self.first, self.held[dealer])).digest()]
            for dealer in sorted(self.held)
        ]
        self.expects = {7: self.slot_start}
        return [dumps([1, 6, self.sid, held, sign(self.identity, context("share-ack", self.sid, self.index, held))])]

    def slot_start(self, *header: Any) -> list[bytes]:
        sid, slot, _, participants = header[:4]
        need(sid == self.sid, "WrongSession")
        need(max(self.first, self.header[1] + 1 if self.header else 0) <= slot < self.first + self.slots, "StaleSlot")
        self.ascend(participants, self.known)
        need(len(participants) >= self.least, "BelowThreshold")
        self.header, self.hash, self.submitted = list(header), digest("header", *header), None
        self.expects = {7: self.slot_start, 8: self.survivors}
        return []

    def ascend(self, indices: list[int], known: Any) -> None:
        need(indices == sorted(set(indices)) and set(indices) <= set(known), "BadSurvivors")

    def mask(self, values: list[int]) -> tuple[bytes, bytes]:
        """Return the masked vector of `values` (ring elements) as bytes, and the signature over it."""
        slot, at, size = self.header[1], self.header[1] - self.first, 2**self.ring_bits
        words = self.header[5]
        facts = (self.sid, slot, self.hash)
        keys = [(1, hkdf(self.seeds[at], context("self-mask", *facts, self.index)))]
        for peer in self.header[3]:
            if peer != self.index:
                agreed = agree(self.privates[at], self.known[peer][5][32 * at : 32 * at + 32])
                pair = (min(peer, self.index), max(peer, self.index))
                keys.append((1 if peer < self.index else -1, hkdf(agreed, context("pair-mask", *facts, *pair))))
        total = list(values)
        for sign_, key in keys:
            total = [(value + sign_ * word) % size for value, word in zip(total, mask(key, words, self.ring_bits), strict=True)]
        masked = b"".join(value.to_bytes(self.ring_bits // 8, "little") for value in total)
        self.submitted = sha256(masked).digest()
        return masked, sign(self.identity, context("masked-input", self.hash, self.index, self.submitted))

    def survivors(self, sid: bytes, slot: int, uploads: list[Any]) -> list[bytes]:
        need(sid == self.sid, "WrongSession")
        need(slot == self.header[1], "StaleSlot")
        self.alive = [client for client, _, _ in uploads]
        self.ascend(self.alive, self.header[3])
        need(len(self.alive) >= self.least, "BelowThreshold")
        need((self.index in self.alive) == (self.submitted is not None), "BadSurvivors")
        for client, vector_hash, signature in uploads:
            need(client != self.index or vector_hash == self.submitted, "BadSurvivors")
            verify(self.roster[client], signature, context("masked-input", self.hash, client, vector_hash))
        self.expects = {7: self.slot_start, 10: self.unmask}
        return [dumps([1, 9, self.sid, slot, sign(self.identity, self.consistent())])]

    def consistent(self) -> bytes:
        return context("consistent", self.hash, digest("survivors", self.alive))

    def unmask(self, sid: bytes, slot: int, signatures: list[Any]) -> list[bytes]:
        need(sid == self.sid, "WrongSession")
        need(slot == self.header[1], "StaleSlot")
        signers = [signer for signer, _ in signatures]
        self.ascend(signers, self.known)
        need(len(signers) >= (len(self.roster) + self.c) // 2 + 1, "BelowThreshold")
        for signer, signature in signatures:
            verify(self.roster[signer], signature, self.consistent())
        shares, low = [], 66 * (slot - self.first)
        for dealer in sorted(set(self.held) & set(self.header[3])):
            if dealer in self.alive:
                shares.append([dealer, self.held[dealer][low : low + 33]])
            elif dealer != self.index:
                shares.append([dealer, self.held[dealer][low + 33 : low + 66]])
        self.expects = {7: self.slot_start}
        return [dumps([1, 11, self.sid, slot, shares])]
