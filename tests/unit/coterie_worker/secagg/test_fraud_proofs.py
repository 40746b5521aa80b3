"""Proofs that a dealer cheated: real clients against an aggregator that forges them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.coterie_worker.secagg.refusal import VICTIM, refuses
from tests.unit.coterie_worker.secagg.simulation import (
    World,
    identity,
    model_of,
    parameters_for,
    ready,
    tampered,
    vector_of,
)
from tests.unit.coterie_worker.secagg.test_malicious_clients import CHEAT
from tests.unit.coterie_worker.secagg.test_malicious_dealers import of_another_secret, with_liar

from coterie_worker.secagg import DealerCheated, Stage, errors, graph
from coterie_worker.secagg import parameters as rules
from coterie_worker.secagg.dealing import Kind, commit_share, commitments_context, hash_commitments
from coterie_worker.secagg.field import PRIME
from coterie_worker.secagg.fraud import prove
from coterie_worker.secagg.memory import ClientMemory
from coterie_worker.secagg.messages import FraudProof, decode_message, encode_message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

N = 6
EVERYONE = frozenset(range(N))


def caught(n: int = N, **options: Any) -> tuple[World, bytes]:
    """A world whose slot 0 was burnt by client 2, after everybody had revealed shares of everybody; and the proof."""
    world = with_liar(n, splits=of_another_secret, **options).set_up().open().upload()
    with pytest.raises(DealerCheated) as raised:
        world.finish()
    (proof,) = raised.value.proofs
    return world, proof


def parsed(payload: bytes) -> FraudProof:
    proof = decode_message(payload)
    assert isinstance(proof, FraudProof)
    return proof


def accusation(world: World, dealer: int, slot: int = 0) -> FraudProof:
    """What an aggregator that has heard all shares can say about a dealer that did not cheat."""
    server: Any = world.server
    holders = server._graph.holders(dealer)[: server._graph.threshold]
    shares = {holder: server._revealed[dealer][holder] for holder in holders}
    rows = {holder: server._agreed[dealer, holder] for holder in holders}
    return prove((server._sid, slot, dealer), server._signed_dealings[dealer], rows, shares)


def with_share(proof: FraudProof, at: int, **cells: Any) -> tuple[tuple[int, bytes, bytes], ...]:
    holder, row, share = proof.shares[at]
    changed = (cells.get("holder", holder), cells.get("row", row), cells.get("share", share))
    return (*proof.shares[:at], changed, *proof.shares[at + 1 :])


def signed_by_the_cheat(proof: FraudProof, hashes: tuple[bytes, ...]) -> dict[str, Any]:
    """Hashes and signature of a dealing as the cheat could sign it for an aggregator that it works with."""
    covered = commitments_context(proof.sid, CHEAT, list(zip(range(N), hashes, strict=True)))
    return {"hashes": hashes, "signature": identity(CHEAT).sign(covered)}


def stays_strict(world: World) -> None:
    """The victim opens no sum without the cheat, as before."""
    assert world.clients[VICTIM].memory.disqualified == set()
    again, survivors = announced(2, world.clients[VICTIM].memory, EVERYONE - {CHEAT})
    refuses(again, survivors, errors.SumTooClose, "by 1 clients")


def announced(epoch: int, memory: ClientMemory, members: Iterable[int], *, least: int = 3) -> tuple[World, bytes]:
    """Another epoch over the same model, whose survivors are announced to a victim that remembers, and not yet signed."""
    chosen, slot = frozenset(members), 10 * epoch
    world = World(parameters_for(N, least=least), members=chosen, epoch=epoch, first_slot=slot).set_up()
    world.clients[VICTIM].memory = memory
    world.send(world.server.start_slot(slot, model_of(0), chosen, 0, 13))
    for i in chosen:
        world.clients[i].check_model(model_of(0))
        world.server.accept(i, *world.clients[i].mask(vector_of(i)))
    return world, world.server.close()[VICTIM]


# What proves nothing.


def test_an_honest_dealer_accused_with_its_genuine_shares_is_not_disqualified() -> None:
    world, _ = caught()
    for dealer in EVERYONE - {VICTIM, CHEAT}:
        refuses(world, encode_message(accusation(world, dealer)), errors.BadProof, "rebuild the seed that it advertised")

    stays_strict(world)


def test_a_signature_by_anybody_else_or_over_anything_else_is_refused() -> None:
    world, payload = caught()
    proof = parsed(payload)
    covered = commitments_context(proof.sid, CHEAT, list(zip(range(N), proof.hashes, strict=True)))
    another = commitments_context(bytes(32), CHEAT, list(zip(range(N), proof.hashes, strict=True)))
    forged = [bytes(64), identity(5).sign(covered), identity(CHEAT).sign(another), identity(CHEAT).sign(covered)[:-1] + b"\x7f"]
    for signature in forged:
        refuses(world, tampered(payload, signature=signature), errors.BadSignature, "proof about client 2: its dealing")

    stays_strict(world)


def test_shares_of_another_dealer_are_no_proof_about_this_one() -> None:
    """The cheat's own signed lie, put on an honest client."""
    world, payload = caught()
    refuses(world, tampered(payload, dealer=4), errors.BadSignature)

    stays_strict(world)


def test_commitments_that_the_dealer_did_not_sign_are_refused() -> None:
    """An aggregator commits for an honest dealer to shares of another secret, and can't have its signature over them."""
    world, _ = caught()
    honest = accusation(world, 4)
    holder, row, _ = honest.shares[0]
    lie = bytes(32) + b"\7"
    invented = commit_share(honest.sid, (4, holder, 0, Kind.SEED), lie) + row[32:]
    shares = with_share(honest, 0, row=invented, share=lie)
    refuses(world, encode_message(honest).replace(row, invented), errors.BadProof, "holder 0 are not those of its dealing")
    hashes = (hash_commitments(invented), *honest.hashes[1:])
    changed = tampered(encode_message(honest), hashes=hashes, shares=shares)
    refuses(world, changed, errors.BadSignature, "proof about client 4: its dealing")

    stays_strict(world)


@pytest.mark.parametrize("length", [64, 192])
@pytest.mark.parametrize("is_signed", [False, True])
def test_commitments_for_another_number_of_slots_are_refused_even_if_their_dealer_signs_them(length: int, is_signed: bool) -> None:
    world, payload = caught()
    proof = parsed(payload)
    row = (proof.shares[1][1] * 2)[:length]
    changes: dict[str, Any] = {"shares": with_share(proof, 1, row=row)}
    if is_signed:
        changes |= signed_by_the_cheat(proof, (proof.hashes[0], hash_commitments(row), *proof.hashes[2:]))
    refuses(world, tampered(payload, **changes), errors.BadProof, "holder 1 are not those")

    stays_strict(world)


@pytest.mark.parametrize("about", [CHEAT, 4])
def test_a_share_off_its_commitment_is_refused(about: int) -> None:
    world, payload = caught()
    proof = parsed(payload) if about == CHEAT else accusation(world, about)
    for share in ((int.from_bytes(proof.shares[2][2]) ^ 1).to_bytes(33), bytes(33), b"\xff" * 33, proof.shares[1][2]):
        changed = tampered(encode_message(proof), shares=with_share(proof, 2, share=share))
        refuses(world, changed, errors.BadShare, "share of holder 2 is not the one that was dealt")

    stays_strict(world)


def test_a_share_that_is_no_field_element_is_refused_even_if_its_dealer_committed_to_it() -> None:
    world, payload = caught()
    proof, high = parsed(payload), (PRIME + 1).to_bytes(33)
    rows = {holder: row for holder, row, _ in proof.shares}
    rows[0] = commit_share(proof.sid, (CHEAT, 0, 0, Kind.SEED), high) + rows[0][32:]
    changes = signed_by_the_cheat(proof, (hash_commitments(rows[0]), *proof.hashes[1:]))
    changes["shares"] = with_share(proof, 0, row=rows[0], share=high)
    refuses(world, tampered(payload, **changes), errors.BadShare, "canonical")

    stays_strict(world)


CROWDS: dict[str, tuple[Callable[[tuple[Any, ...]], tuple[Any, ...]], str]] = {
    "one share too few": (lambda rows: rows[:-1], "shares of 3 holders, expected 4"),
    "no share": (lambda _: (), "shares of 0 holders"),
    "one share too many": (lambda rows: (*rows, (4, *rows[3][1:])), "shares of 5 holders, expected 4"),
    "a holder twice": (lambda rows: (rows[0], rows[0], *rows[2:]), "expected ascending"),
    "holders out of order": (lambda rows: (rows[1], rows[0], *rows[2:]), "expected ascending"),
    "a stranger": (lambda rows: (*rows[:-1], (9, *rows[-1][1:])), "holders .*9.* expected ascending ones among"),
}


@pytest.mark.parametrize("case", CROWDS)
def test_exactly_t_of_the_dealers_holders_must_speak(case: str) -> None:
    world, payload = caught()
    change, match = CROWDS[case]
    refuses(world, tampered(payload, shares=change(parsed(payload).shares)), errors.BadProof, match)

    stays_strict(world)


def test_fewer_shares_of_an_honest_dealer_rebuild_something_else_and_are_refused() -> None:
    """Why exactly t: two thirds of an honest dealer's shares interpolate to garbage."""
    world, _ = caught()
    honest = accusation(world, 4)
    refuses(world, tampered(encode_message(honest), shares=honest.shares[:-1]), errors.BadProof, "shares of 3 holders, expected 4")

    stays_strict(world)


@pytest.mark.parametrize("count", [0, N - 1, N + 1])
def test_commitments_for_another_number_of_holders_are_refused(count: int) -> None:
    world, payload = caught()
    hashes = (parsed(payload).hashes * 2)[:count]
    refuses(world, tampered(payload, hashes=hashes), errors.BadProof, f"for {count} holders, it has 6")

    stays_strict(world)


def test_a_proof_of_another_session_is_refused() -> None:
    world, payload = caught()
    refuses(world, tampered(payload, sid=bytes(32)), errors.WrongSession)
    _, of_another_epoch = caught(colluders=0)
    refuses(world, of_another_epoch, errors.WrongSession)

    stays_strict(world)


@pytest.mark.parametrize("dealer", [4, CHEAT])
def test_shares_of_another_slot_prove_nothing(dealer: int) -> None:
    world, payload = caught()
    genuine = payload if dealer == CHEAT else encode_message(accusation(world, dealer))
    refuses(world, tampered(genuine, slot=1), errors.BadShare)
    refuses(world, tampered(genuine, slot=2), errors.BadProof, "slot 2, allowed is 0 to 1")

    stays_strict(world)


def test_the_shares_of_a_dropped_clients_mask_key_prove_nothing_about_its_seed() -> None:
    """They are genuine and revealed, and rebuild something that is not the seed."""
    world = ready(N).open()
    world.lose({4})
    world.upload().go(Stage.UNMASK)
    refuses(world, encode_message(accusation(world, 4)), errors.BadShare, "not the one that was dealt")

    assert world.clients[VICTIM].memory.disqualified == set()


@pytest.mark.parametrize("dealer", [N, 1023])
def test_a_proof_about_a_client_that_nobody_knows_is_refused(dealer: int) -> None:
    world, payload = caught()
    refuses(world, tampered(payload, dealer=dealer), errors.BadProof, "known in this epoch are")

    stays_strict(world)


def test_a_proof_about_a_client_that_is_not_in_the_epoch_is_refused() -> None:
    world, payload = caught()
    absent, survivors = announced(3, ClientMemory(), EVERYONE - {CHEAT})
    absent.clients[VICTIM].receive(survivors)
    sid = absent.server._sid
    refuses(absent, tampered(payload, sid=sid, slot=30), errors.BadProof, "known in this epoch are")

    stays_strict(world)


def test_the_accused_refuses_a_proof_about_itself_whatever_it_shows() -> None:
    """It knows what it dealt; only who holds its key could make others believe it, and it opens nothing for them."""
    world, payload = caught()
    refuses(world, payload, errors.BadProof, "that is this client itself", victim=CHEAT)
    refuses(world, encode_message(accusation(world, 4)), errors.BadProof, "that is this client itself", victim=4)

    assert world.clients[CHEAT].memory.disqualified == set()


@pytest.mark.parametrize("cut", [1, 33, 200])
def test_a_truncated_proof_is_no_message(cut: int) -> None:
    world, payload = caught()
    refuses(world, payload[:-cut], errors.WrongLength)

    stays_strict(world)


@pytest.mark.parametrize("until", [Stage.ADVERTISE, Stage.SHARE])
def test_a_proof_before_shares_are_dealt_is_not_expected(until: Stage) -> None:
    _, payload = caught()
    world = World(parameters_for(N))
    world.send(world.server.start())
    world.go(until)
    refuses(world, payload, errors.Unexpected)


def test_a_client_without_masks_expects_no_proof() -> None:
    _, payload = caught()
    world = World(parameters_for(N), plain=True)
    world.send(world.server.start())
    refuses(world, payload, errors.Unexpected)


def test_honest_clients_can_not_be_accused_by_any_t_of_their_shares() -> None:
    world = ready(5).open().upload()
    world.go(Stage.UNMASK)
    for dealer in range(1, 5):
        refuses(world, encode_message(accusation(world, dealer)), errors.BadProof, "rebuild the seed")


# On a Harary graph.


def sparse_world(monkeypatch: pytest.MonkeyPatch) -> tuple[World, bytes]:
    monkeypatch.setattr(rules, "COMPLETE_UP_TO", 10)
    monkeypatch.setattr(graph, "degree_for", lambda *_: graph.Degree(8, 6))
    return caught(24, colluders=3)


def test_on_a_sparse_graph_every_client_accepts_a_true_proof_neighbor_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    world, payload = sparse_world(monkeypatch)
    circle: Any = world.clients[VICTIM]
    assert len(parsed(payload).shares) == 6
    assert len(parsed(payload).hashes) == 9
    assert not circle._graph.neighbors_of(CHEAT) >= set(range(24)) - {CHEAT}
    for i in set(range(24)) - {CHEAT}:
        world.clients[i].receive(payload)

    assert all(world.clients[i].memory.disqualified == {CHEAT} for i in set(range(24)) - {CHEAT})


def test_on_a_sparse_graph_holders_are_the_dealers_neighbors_and_t_is_the_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    world, payload = sparse_world(monkeypatch)
    proof, server = parsed(payload), world.server
    stranger = min(set(range(24)) - set(server._graph.holders(CHEAT)) - {VICTIM})  # type: ignore[union-attr]
    rows = sorted((*proof.shares[:-1], (stranger, *proof.shares[-1][1:])))
    refuses(world, tampered(payload, shares=tuple(rows)), errors.BadProof, "expected ascending ones among")
    refuses(world, tampered(payload, shares=proof.shares[:-1]), errors.BadProof, "shares of 5 holders, expected 6")
    honest = next(i for i in range(24) if i not in (VICTIM, CHEAT))
    refuses(world, encode_message(accusation(world, honest)), errors.BadProof, "rebuild the seed")

    assert world.clients[VICTIM].memory.disqualified == set()
