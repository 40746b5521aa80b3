"""vectors.json in both implementations: ours made it, and one that shares no code with ours agrees with every entry."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.coterie_worker.secagg import make_vectors, second_bytes, second_party
from tests.unit.coterie_worker.secagg.second_bytes import Refused
from tests.unit.coterie_worker.secagg.second_party import SecondClient

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "vectors.json").read_text())


def named(kind: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", VECTORS[kind], ids=lambda vector: vector["name"])


def expect(vector: dict[str, Any], call: Any) -> None:
    """The call gives the vector's result, or is refused by the name that the vector says."""
    if "error" not in vector:
        assert call() == (bytes.fromhex(vector["result"]) if vector["result"] else None)
        return
    with pytest.raises(Refused) as refused:
        call()
    assert refused.value.name == vector["error"]


def test_the_file_is_what_our_implementation_makes_today() -> None:
    assert json.loads(json.dumps(make_vectors.content())) == VECTORS


@named("messages")
def test_messages_are_read_or_refused_alike(vector: dict[str, Any]) -> None:
    payload = bytes.fromhex(vector["bytes"])

    def call() -> None:
        number, values = second_bytes.read(payload)
        assert second_bytes.dumps([1, number, *values]) == payload

    expect(vector, call)


@named("keys")
def test_keys_of_low_order_are_refused_alike(vector: dict[str, Any]) -> None:
    expect(vector, lambda: second_party.check_key(bytes.fromhex(vector["key"])))


@named("seals")
def test_seals_open_or_are_refused_alike(vector: dict[str, Any]) -> None:
    facts = (bytes.fromhex(vector["channel"]), bytes.fromhex(vector["sid"]), vector["sender"], vector["receiver"])
    expect(vector, lambda: second_party.unseal(*facts, bytes.fromhex(vector["sealed"])))
    if "result" in vector:
        assert second_party.seal(*facts, bytes.fromhex(vector["plain"])) == bytes.fromhex(vector["sealed"])


@named("shares")
def test_shares_are_dealt_and_rebuilt_alike(vector: dict[str, Any]) -> None:
    if "draw" in vector:
        draw = bytes.fromhex(vector["draw"])
        coefficients = [int.from_bytes(draw[at : at + 33], "big") % 2**257 for at in range(0, len(draw), 33)]
        made = second_party.share(bytes.fromhex(vector["secret"]), coefficients, vector["holders"])
        assert [f"{value:066x}" for value in made] == vector["shares"]
        return
    given = {holder: int(value, 16) for holder, value in vector["given"]}
    if vector["result"] is None:
        with pytest.raises(Refused):
            second_party.rebuild(given)
    else:
        assert second_party.rebuild(given).hex() == vector["result"]


@named("masks")
def test_mask_keys_and_masks_are_alike(vector: dict[str, Any]) -> None:
    h = vector["header"]
    sid, facts = bytes.fromhex(h["sid"]), (bytes.fromhex(h["model_hash"]), h["participants"], h["deadline"], h["length"])
    hdr = second_party.digest("header", sid, h["slot"], *facts, bytes.fromhex(h["previous_result"]))
    label = "self-mask" if len(vector["ids"]) == 1 else "pair-mask"
    key = second_party.hkdf(bytes.fromhex(vector["secret"]), second_party.context(label, sid, h["slot"], hdr, *sorted(vector["ids"])))

    assert hdr.hex() == vector["header_hash"]
    assert key.hex() == vector["key"]
    assert second_party.mask(key, 8, vector["ring_bits"]) == vector["mask"]


@named("commitments")
def test_commitments_are_alike(vector: dict[str, Any]) -> None:
    sid, share = bytes.fromhex(vector["sid"]), bytes.fromhex(vector["share"])
    filler = bytes(33) if vector["kind"] else b""
    row = second_party.commitments(sid, vector["dealer"], vector["holder"], vector["slot"], filler + share)

    assert row[-32:].hex() == vector["commitment"]


@named("frauds")
def test_proofs_of_fraud_are_believed_or_refused_alike(vector: dict[str, Any]) -> None:
    adverts = [bytes.fromhex(advert) for advert in vector["adverts"]]
    expect(vector, lambda: second_party.check_fraud(vector["session"], adverts, vector["index"], bytes.fromhex(vector["bytes"])))


@named("graphs")
def test_graphs_are_ordered_alike(vector: dict[str, Any]) -> None:
    n, half = vector["members"], vector["k"] // 2
    parts = [(i, hashlib.sha256(b"part %d" % i).digest()) for i in range(n)]
    order = second_party.ordered(list(range(n)), bytes.fromhex(vector["sid"]), parts)
    at = order.index(0)
    near = {order[(at + step) % n] for step in range(-half, half + 1)} - {0}

    assert order[:5] == vector["first"]
    assert hashlib.sha256(b"".join(i.to_bytes(2, "big") for i in order)).hexdigest() == vector["order"]
    assert sorted(near) == vector["neighbors_of_0"]


@named("transcripts")
def test_a_clients_epoch_has_the_same_bytes_and_the_same_refusals(vector: dict[str, Any]) -> None:
    draws = [bytes.fromhex(draw) for draw in vector["draws"]]
    client = SecondClient(vector["session"], vector["index"], bytes.fromhex(vector["identity"]), draws)
    for step in vector["steps"]:
        if step["name"] == "mask":
            values = np.frombuffer(bytes.fromhex(step["vector"]), "<u2" if client.ring_bits == 16 else "<u4").tolist()
            masked, signature = client.mask(values)
            assert (masked.hex(), signature.hex()) == (step["masked"], step["signature"]), step["name"]
        elif "error" in step:
            with pytest.raises(Refused) as refused:
                client.receive(bytes.fromhex(step["receive"]))
            assert refused.value.name == step["error"], step["name"]
        else:
            assert [reply.hex() for reply in client.receive(bytes.fromhex(step["receive"]))] == step["replies"], step["name"]


def verdicts() -> list[bool]:
    steps = [step for vector in VECTORS["transcripts"] for step in vector["steps"]]
    entries = [*VECTORS["messages"], *VECTORS["keys"], *VECTORS["seals"], *VECTORS["frauds"], *steps]
    return ["error" in entry for entry in entries]


def test_most_vectors_are_negative() -> None:
    assert sum(verdicts()) > len(verdicts()) / 2


def test_the_second_implementation_imports_nothing_of_the_first() -> None:
    for module in (second_party, second_bytes):
        lines = Path(module.__file__ or "").read_text().splitlines()
        assert [line for line in lines if re.match(r"\s*(from|import) coterie", line)] == []


def test_a_changed_vector_would_be_seen() -> None:
    vector = dict(VECTORS["transcripts"][0])
    step = next(step for step in vector["steps"] if step["name"] == "mask")
    changed = {**step, "masked": "00" + step["masked"][2:]}
    with pytest.raises(AssertionError):
        test_a_clients_epoch_has_the_same_bytes_and_the_same_refusals(
            {**vector, "steps": [changed if each is step else each for each in vector["steps"]]}
        )
