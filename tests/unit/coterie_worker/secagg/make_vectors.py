"""Writes vectors.json: made by coterie_worker.secagg, checked by test_vectors.py with an implementation of its own.

Run `python -m tests.unit.coterie_worker.secagg.make_vectors` from the repository's root when the protocol changes.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tests.unit.coterie_worker.secagg.simulation import World, identity, model_of, parameters_for, vector_of
from tests.unit.coterie_worker.secagg.test_forged_adverts import LOW_ORDER
from tests.unit.coterie_worker.secagg.test_fraud_proofs import accusation, caught
from tests.unit.coterie_worker.secagg.test_malicious_clients import CHEAT
from tests.unit.coterie_worker.secagg.test_messages import BAD, EXAMPLES

from coterie_worker.secagg import errors, graph
from coterie_worker.secagg.contexts import advert_context, graph_seed, header_hash
from coterie_worker.secagg.dealing import Kind, commit_share
from coterie_worker.secagg.keys import OneUse, check_exchange_key, open_sealed, public_of, seal
from coterie_worker.secagg.masks import pair_mask_key, self_mask_key, take_masks
from coterie_worker.secagg.messages import FraudProof, SlotStart, decode_message, encode_message
from coterie_worker.secagg.shamir import combine, split

if TYPE_CHECKING:
    from collections.abc import Callable

INDEX = 1
Entry = dict[str, Any]


def _hash(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


HEADER = SlotStart(_hash("sid"), 7, _hash("model"), (0, 2, 3, 5), 1_800_000_000_000, 1_000_003, _hash("previous"))


def outcome(call: Callable[[], bytes | None]) -> Entry:
    """Return {"result": hex} or {"error": name}."""
    try:
        result = call()
    except errors.SecaggError as error:
        return {"error": type(error).__name__}
    return {"result": result.hex() if result is not None else None}


def messages() -> list[Entry]:
    good = [{"name": type(message).__name__, "bytes": encode_message(message).hex(), "result": None} for message in EXAMPLES]
    short = {name: payload for name, (payload, _) in BAD.items() if len(payload) < 20_000}
    bad = [{"name": name, "bytes": data.hex(), **outcome(lambda data=data: decode_message(data) and None)} for name, data in short.items()]
    return good + bad


def keys() -> list[Entry]:
    named = {**LOW_ORDER, "an honest key": public_of(_hash("key")), "the highest": (2**255 - 20 - 1).to_bytes(32, "little")}
    return [{"name": name, "key": key.hex(), **outcome(lambda key=key: check_exchange_key(key, what="key"))} for name, key in named.items()]


def seals() -> list[Entry]:
    made = {"channel": _hash("channel"), "sid": _hash("sid"), "sender": 1, "receiver": 2}
    sealed, plain = seal(**made, plain=_hash("plain")), _hash("plain")
    wrong: dict[str, tuple[Entry, bytes]] = {
        "as it was made": ({}, sealed),
        "reflected": ({"sender": 2, "receiver": 1}, sealed),
        "redirected": ({"receiver": 3}, sealed),
        "of another sender": ({"sender": 0}, sealed),
        "of another session": ({"sid": _hash("other")}, sealed),
        "of another channel": ({"channel": _hash("other")}, sealed),
        "truncated": ({}, sealed[:-1]),
        "empty": ({}, b""),
        "a bit flipped": ({}, bytes([sealed[0] ^ 1]) + sealed[1:]),
        "a bit of the tag flipped": ({}, sealed[:-1] + bytes([sealed[-1] ^ 128])),
        "longer": ({}, sealed + b"\0"),
    }
    entries = []
    for name, (change, box) in wrong.items():
        facts = made | change
        result = outcome(lambda facts=facts, box=box: open_sealed(**facts, sealed=box))
        shown = {key: value.hex() if isinstance(value, bytes) else value for key, value in facts.items()}
        entries.append({"name": name, **shown, "sealed": box.hex(), "plain": plain.hex(), **result})
    return entries


def shares() -> list[Entry]:
    entries = []
    for name, secret, threshold, holders in (
        ("zero", bytes(32), 2, [0, 1, 2]),
        ("ones", b"\xff" * 32, 3, [0, 5, 9, 199, 1023]),
        ("t of a hundred", _hash("secret"), 67, list(range(100))),
    ):
        draws: list[bytes] = []

        def draw(size: int, draws: list[bytes] = draws, name: str = name) -> bytes:
            draws.append(hashlib.shake_256(name.encode()).digest(size))
            return draws[-1]

        made = split(secret, threshold, holders, draw)
        facts = {"name": name, "secret": secret.hex(), "threshold": threshold, "holders": holders}
        entries.append({**facts, "draw": draws[0].hex(), "shares": [f"{value:066x}" for value in made]})
        chosen = dict(list(zip(holders, made, strict=True))[-threshold:])
        wrong = {**chosen, holders[-1]: (chosen[holders[-1]] + 1) % (2**257 - 93)}
        few = dict(list(chosen.items())[1:])
        for kind, given in (("rebuilt", chosen), ("rebuilt with a wrong share", wrong), ("rebuilt with a share too few", few)):
            result = combine(given) if given else None
            pairs = [[holder, f"{value:066x}"] for holder, value in given.items()]
            entries.append({"name": f"{name}, {kind}", "given": pairs, "result": result.hex() if result else None})
    return entries


def mask_vector(name: str, ids: list[int], ring_bits: int) -> Entry:
    secret, hdr = _hash(f"secret {name}"), header_hash(HEADER)
    made = self_mask_key(HEADER, hdr, ids[0], secret) if len(ids) == 1 else pair_mask_key(HEADER, hdr, (ids[0], ids[1]), secret)
    key, mask = made.take(), np.zeros(8, np.uint32)
    take_masks([OneUse(key, "key")], [], ring_bits).apply(mask, 0)
    header = {field: getattr(HEADER, field) for field in ("slot", "deadline", "length")} | {"participants": list(HEADER.participants)}
    header |= {"sid": HEADER.sid.hex(), "model_hash": HEADER.model_hash.hex(), "previous_result": HEADER.previous_result.hex()}
    facts = {"name": name, "ids": ids, "ring_bits": ring_bits, "secret": secret.hex(), "header": header}
    return {**facts, "header_hash": hdr.hex(), "key": key.hex(), "mask": mask.view("<u2" if ring_bits == 16 else "<u4").tolist()}


def commitment_vector(name: str, dealer: int, holder: int, slot: int, kind: Kind) -> Entry:
    share = b"\0" + _hash(f"share {name}")
    made = commit_share(_hash("sid"), (dealer, holder, slot, kind), share).hex()
    facts = {"name": name, "sid": _hash("sid").hex(), "dealer": dealer, "holder": holder, "slot": slot, "kind": kind.value}
    return {**facts, "share": share.hex(), "commitment": made}


def graphs() -> list[Entry]:
    entries = []
    for members, colluders in ((250, 25), (1000, 100)):
        parts = [(i, _hash(f"part {i}")) for i in range(members)]
        made = graph.sparse(range(members), colluders, members, graph_seed(_hash("sid"), parts))
        facts = {"sid": _hash("sid").hex(), "members": members, "colluders": colluders, "parts": "SHA-256 of 'part i'"}
        order = hashlib.sha256(b"".join(member.to_bytes(2) for member in made.order)).hexdigest()
        first = {"first": list(made.order[:5]), "order": order, "neighbors_of_0": sorted(made.neighbors_of(0))}
        entries.append({"name": f"{members} clients", **facts, "k": made.neighbors, "t": made.threshold, **first})
    return entries


class Recorder:
    """A client's entropy, and what it drew."""

    def __init__(self, seed: str) -> None:
        self.seed, self.draws = seed, []

    def __call__(self, size: int) -> bytes:
        self.draws.append(hashlib.shake_256(f"{self.seed} {len(self.draws)}".encode()).digest(size))
        return self.draws[-1]


class Scribe:
    """Writes down what one client of a world hears and says, wrong messages before each right one."""

    def __init__(self, ring_bits: int) -> None:
        self.world = World(parameters_for(4, slots=2, ring_bits=ring_bits))
        self.recorder = Recorder(f"client {ring_bits}")
        self.client: Any = self.world.clients[INDEX]
        self.client._entropy = self.recorder
        self.steps: list[Entry] = []

    def send(self, outbox: dict[int, bytes], *wrong: tuple[str, bytes]) -> None:
        for name, payload in wrong:
            self.steps.append({"name": name, "receive": payload.hex(), **_error(self.client, payload)})
        payload = outbox[INDEX]
        replies = self.client.receive(payload)
        name = type(decode_message(payload)).__name__
        self.steps.append({"name": name, "receive": payload.hex(), "replies": [reply.hex() for reply in replies]})
        self.world.send(outbox)  # the client gives the same replies again

    def upload(self, length: int) -> None:
        for i in range(3):
            masked, signature = self.world.mask(i, 0, length)
            self.world.server.accept(i, masked, signature)
            if i == INDEX:
                vector = vector_of(i, 0, length).tobytes().hex()
                self.steps.append({"name": "mask", "vector": vector, "masked": masked.tobytes().hex(), "signature": signature.hex()})


def transcript(ring_bits: int) -> Entry:
    """One client's whole epoch. Client 3 of 4 drops before its upload."""
    scribe = Scribe(ring_bits)
    world = scribe.world
    scribe.send(world.server.start(), ("a header before an epoch", encode_message(HEADER)))
    outbox = world.server.close()
    scribe.send(outbox, *wrong_adverts(outbox[INDEX]))
    outbox = world.server.close()
    scribe.send(outbox, *wrong_deliveries(outbox[INDEX]))
    world.server.close()
    outbox = world.server.start_slot(0, model_of(0), frozenset(range(4)), 1_800_000_000_000, 6)
    scribe.send(outbox, *wrong_headers(outbox[INDEX]))
    world.lose({3})
    scribe.upload(6)
    outbox = world.server.close()
    scribe.send(outbox, *wrong_survivors(world, outbox[INDEX]))
    outbox = world.server.close()
    scribe.send(outbox, *wrong_requests(world, outbox[INDEX]))
    facts = {"name": f"a client's epoch, ring of {ring_bits} bits", "session": _session(world), "index": INDEX}
    draws = [draw.hex() for draw in scribe.recorder.draws]
    return {**facts, "identity": identity(INDEX).private_bytes_raw().hex(), "draws": draws, "steps": scribe.steps}


def _session(world: World) -> Entry:
    made = world.parameters
    roster = [{"tenant": member.tenant, "public_key": member.public_key.hex()} for member in made.roster]
    numbers = ("threshold", "colluders", "min_survivors", "scale", "slots_per_epoch", "ring_bits")
    return {"job_uid": made.job_uid, "spec_hash": made.spec_hash.hex(), "roster": roster} | {name: getattr(made, name) for name in numbers}


def _error(client: Any, payload: bytes) -> Entry:
    try:
        client.receive(payload)
    except errors.PeerProtocolError as error:
        return {"error": type(error).__name__}
    raise AssertionError("a wrong message was answered")


def _changed(payload: bytes, **changes: Any) -> bytes:
    return encode_message(replace(decode_message(payload), **changes))  # type: ignore[type-var]


def wrong_adverts(payload: bytes) -> list[tuple[str, bytes]]:
    adverts = decode_message(payload).adverts  # type: ignore[union-attr]

    def resigned(**changes: Any) -> tuple[bytes, ...]:
        other = replace(decode_message(adverts[2]), **changes)  # type: ignore[type-var]
        other = replace(other, signature=identity(2).sign(advert_context(other)))  # type: ignore[arg-type, type-var]
        return (*adverts[:2], encode_message(other), adverts[3])  # type: ignore[arg-type]

    first = decode_message(adverts[0])
    sets: dict[str, tuple[bytes, ...]] = {
        "too few adverts": adverts[:2],
        "our advert missing": (adverts[0], *adverts[2:]),
        "adverts out of order": (adverts[1], adverts[0], *adverts[2:]),
        "an advert twice": (*adverts, adverts[3]),
        "an unsigned key": (*adverts[:2], _changed(adverts[2], channel_key=_hash("evil")[:31] + b"\1"), adverts[3]),
        "a key of another client": resigned(channel_key=first.channel_key),  # type: ignore[union-attr]
        "a key of low order": resigned(channel_key=bytes(32)),
        "one key for two slots": resigned(mask_keys=first.mask_keys[:32] * 2),  # type: ignore[union-attr]
        "another epoch": resigned(epoch=9),
        "another job": resigned(base=bytes(32)),
        "keys for one slot": resigned(mask_keys=_hash("k")[:31] + b"\1"),
        "a client beyond the roster": (*adverts[:2], adverts[3], resigned(index=9)[2]),
        "a graph commitment where there is no graph": resigned(graph_commitment=bytes(32)),
        "something else": (*adverts, encode_message(HEADER)),
        "garbage": (*adverts, b"\xff"),
    }
    return [(name, _changed(payload, adverts=chosen)) for name, chosen in sets.items()]


def wrong_deliveries(payload: bytes) -> list[tuple[str, bytes]]:
    message = decode_message(payload)
    sealed = message.sealed  # type: ignore[union-attr]
    boxes: dict[str, Entry] = {
        "another session's delivery": {"sid": bytes(32)},
        "too few shares": {"sealed": sealed[:1]},
        "shares from ourselves": {"sealed": ((INDEX, sealed[0][1]), *sealed[1:])},
        "shares from one twice": {"sealed": (sealed[0], sealed[0], sealed[2])},
        "shares exchanged": {"sealed": tuple((dealer, sealed[(at + 1) % 3][1]) for at, (dealer, _) in enumerate(sealed))},
        "shares truncated": {"sealed": tuple((dealer, box[:-1]) for dealer, box in sealed)},
    }
    return [(name, _changed(payload, **change)) for name, change in boxes.items()]


def wrong_headers(payload: bytes) -> list[tuple[str, bytes]]:
    changes: dict[str, Entry] = {
        "another session's header": {"sid": bytes(32)},
        "a slot beyond the epoch": {"slot": 2},
        "too few participants": {"participants": (0, 1)},
        "a participant twice": {"participants": (0, 1, 1, 2)},
        "an unknown participant": {"participants": (0, 1, 2, 9)},
    }
    return [(name, _changed(payload, **change)) for name, change in changes.items()]


def wrong_survivors(world: World, payload: bytes) -> list[tuple[str, bytes]]:
    uploads = decode_message(payload).uploads  # type: ignore[union-attr]
    changes: dict[str, Entry] = {
        "another slot's survivors": {"slot": 1},
        "another session's survivors": {"sid": bytes(32)},
        "too few survivors": {"uploads": uploads[:2]},
        "ourselves left out": {"uploads": (uploads[0], uploads[2], (3, *uploads[2][1:]))},
        "a survivor twice": {"uploads": (uploads[0], uploads[0], *uploads[1:])},
        "a survivor without signature": {"uploads": (*uploads[:2], (2, uploads[2][1], bytes(64)))},
        "our vector exchanged": {"uploads": (uploads[0], (INDEX, bytes(32), uploads[1][2]), uploads[2])},
        "a drop called a survivor": {"uploads": (*uploads, (3, uploads[2][1], uploads[2][2]))},
    }
    return [("shares asked for before a set is signed", _request(world, ())), *((n, _changed(payload, **c)) for n, c in changes.items())]


def _request(world: World, signatures: tuple[Any, ...]) -> bytes:
    from coterie_worker.secagg.messages import UnmaskRequest

    return encode_message(UnmaskRequest(world.server._sid, 0, signatures))


def wrong_requests(world: World, payload: bytes) -> list[tuple[str, bytes]]:
    signatures = decode_message(payload).signatures  # type: ignore[union-attr]
    sets: dict[str, tuple[Any, ...]] = {
        "no quorum": signatures[:2],
        "a signer twice": (signatures[0], *signatures[:2]),
        "a signature of another client": (*signatures[:2], (2, signatures[0][1])),
        "an unknown signer": (*signatures[:2], (9, signatures[2][1])),
    }
    return [("another slot's request", _changed(payload, slot=1)), *((name, _request(world, chosen)) for name, chosen in sets.items())]


def frauds() -> list[Entry]:
    """What client 1 of 4 says to proofs that client 2 cheated, and that others did. Most are none."""
    world, payload = caught(4)
    adverts = [encode_message(advert).hex() for advert in world.server._keys.by_index.values()]  # type: ignore[union-attr]
    facts = {"session": _session(world), "adverts": adverts, "index": INDEX}
    client: Any = world.clients[INDEX]
    entries = [{"name": "a true proof", **facts, "bytes": payload.hex(), "result": None}]
    for name, wrong in wrong_proofs(world, payload).items():
        entries.append({"name": name, **facts, "bytes": wrong.hex(), **_error(client, wrong)})
    assert client.receive(payload) == ()
    return entries


def wrong_proofs(world: World, payload: bytes) -> dict[str, bytes]:
    proof, honest, own = decode_message(payload), accusation(world, 3), accusation(world, INDEX)
    assert isinstance(proof, FraudProof)
    rows, other = proof.shares, (3, *proof.shares[2][1:])
    first, row, share = rows[0]
    changes: dict[str, Entry] = {
        "of another session": {"sid": bytes(32)},
        "of another slot": {"slot": 1},
        "of a slot beyond the epoch": {"slot": 2},
        "about another client": {"dealer": 3},
        "about a stranger": {"dealer": 9},
        "with a share too few": {"shares": rows[:2]},
        "with a share too many": {"shares": (*rows, other)},
        "with a holder twice": {"shares": (rows[0], rows[0], rows[2])},
        "with holders out of order": {"shares": (rows[1], rows[0], rows[2])},
        "with a stranger among the holders": {"shares": (*rows[:2], (9, *rows[2][1:]))},
        "with a hash too few": {"hashes": proof.hashes[:-1]},
        "with a hash changed": {"hashes": (*proof.hashes[:-1], bytes(32))},
        "with commitments that were not signed": {"shares": ((first, bytes(32) + row[32:], share), *rows[1:])},
        "with commitments cut": {"shares": ((first, row[:64], share), *rows[1:])},
        "with a share changed": {"shares": ((first, row, share[:-1] + b"\0"), *rows[1:])},
        "without a signature": {"signature": bytes(64)},
        "with another client's signature": {"signature": honest.signature},
    }
    genuine = {"about an honest client": encode_message(honest), "about ourselves": encode_message(own)}
    assert proof.dealer == CHEAT
    return genuine | {name: _changed(payload, **change) for name, change in changes.items()}


def content() -> Entry:
    """Return the whole file."""
    provenance = "made by make_vectors.py (coterie_worker.secagg), verified by test_vectors.py (second_party.py: pycryptodome)"
    masks = [
        mask_vector(f"{name}, {bits} bits", ids, bits)
        for bits in (32, 16)
        for name, ids in (("self", [2]), ("pair, ascending", [0, 5]), ("pair, descending", [5, 3]))
    ]
    commitments = [commitment_vector("seed", 0, 5, 7, Kind.SEED), commitment_vector("mask key", 1023, 0, 2**62, Kind.MASK_KEY)]
    made = {"messages": messages(), "keys": keys(), "seals": seals(), "shares": shares(), "masks": masks, "commitments": commitments}
    made["frauds"] = frauds()
    return {"version": 1, "provenance": provenance, **made, "graphs": graphs(), "transcripts": [transcript(32), transcript(16)]}


def main() -> None:
    """Write the file."""
    Path(__file__).with_name("vectors.json").write_text(json.dumps(content(), indent=1) + "\n")


if __name__ == "__main__":
    main()
