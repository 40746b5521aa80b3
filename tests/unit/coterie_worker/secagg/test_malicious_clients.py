"""The real aggregator against clients that lie: it names them, changes nothing, and the round completes without them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.unit.coterie_worker.secagg.simulation import (
    World,
    identity,
    model_of,
    parameters_for,
    plain_sum,
    ready,
    tampered,
    vector_of,
)

from coterie_worker.secagg import ServerEpoch, Stage, TooFewSurvivors, errors
from coterie_worker.secagg.contexts import advert_context
from coterie_worker.secagg.field import PRIME
from coterie_worker.secagg.messages import (
    Advert,
    Consistent,
    Dealing,
    EpochStart,
    Revealed,
    ShareAck,
    decode_message,
    encode_message,
)

if TYPE_CHECKING:
    from collections.abc import Callable


CHEAT = 2


def refuses(world: World, payload: bytes, error: type[Exception], match: str | None = None, *, sender: int = CHEAT) -> None:
    server = world.server
    before = (server.stage, server.live, server.waiting_for)
    with pytest.raises(error, match=match) as raised:
        server.receive(sender, payload)

    assert type(raised.value) is error
    assert raised.value.sender == sender  # type: ignore[attr-defined]
    assert (server.stage, server.live, server.waiting_for) == before


def replies_at(stage: Stage, n: int = 6) -> tuple[World, dict[int, bytes]]:
    """A world whose aggregator waits at `stage`, with the clients' honest replies not yet delivered."""
    world = World(parameters_for(n))
    outbox = world.server.start()
    while world.server.stage is not stage:
        world.send(outbox)
        if world.server.stage is Stage.ACKNOWLEDGE:
            world.go(Stage.READY).open()
            world.upload()
        outbox = world.server.close()
    return world, {i: world.clients[i].receive(payload)[0] for i, payload in outbox.items()}


def finish(world: World, replies: dict[int, bytes]) -> None:
    for i, reply in replies.items():
        if i in world.server.live:
            world.server.receive(i, reply)


def resigned(reply: bytes, **changes: Any) -> bytes:
    advert = replace(decode_message(reply), **changes)  # type: ignore[type-var]
    return encode_message(replace(advert, signature=identity(CHEAT).sign(advert_context(advert))))  # type: ignore[arg-type, type-var]


def test_adverts_of_others_forged_reused_or_weak_are_refused() -> None:
    world, replies = replies_at(Stage.ADVERTISE)
    world.server.receive(1, replies[1])
    other = decode_message(replies[1])
    assert isinstance(other, Advert)

    refuses(world, replies[3], errors.BadAdvert, "client 2 sent one of client 3")
    refuses(world, tampered(replies[CHEAT], channel_key=bytes([9] * 32)), errors.BadSignature)
    refuses(world, resigned(replies[CHEAT], channel_key=other.channel_key), errors.BadAdvert, "clients 1 and 2")
    refuses(world, resigned(replies[CHEAT], channel_key=bytes(32)), errors.BadAdvert, "low order")
    refuses(world, resigned(replies[CHEAT], epoch=9), errors.WrongSession)
    refuses(world, resigned(replies[CHEAT], mask_keys=bytes(32)), errors.BadAdvert, "keys for 1 slots, expected 2")


def test_an_equivocating_advert_is_refused_and_an_identical_one_taken_once() -> None:
    world, replies = replies_at(Stage.ADVERTISE)
    finish(world, replies)
    world.server.receive(CHEAT, replies[CHEAT])

    refuses(world, resigned(replies[CHEAT], channel_key=bytes([9] * 32)), errors.Replayed)


def test_strangers_and_the_dropped_are_refused() -> None:
    world, replies = replies_at(Stage.ADVERTISE)
    world.server.drop(CHEAT)
    refuses(world, replies[CHEAT], errors.Unexpected, "no longer")
    refuses(world, replies[CHEAT], errors.Unexpected, sender=77)


def test_messages_of_later_stages_and_of_aggregators_are_refused() -> None:
    world, _ = replies_at(Stage.SHARE)
    sid = world.server._sid
    for message in (Consistent(sid, 0, bytes(64)), Revealed(sid, 0, ()), EpochStart(1, 0)):
        refuses(world, encode_message(message), errors.Unexpected)


def test_messages_of_earlier_stages_are_late() -> None:
    world, replies = replies_at(Stage.SHARE)

    refuses(world, world.answered[CHEAT][0], errors.TooLate)
    finish(world, replies)


@pytest.mark.parametrize("stage", [Stage.ADVERTISE, Stage.SHARE, Stage.ACKNOWLEDGE, Stage.CONSISTENCY, Stage.UNMASK])
def test_answers_of_an_earlier_epoch_are_told_from_lies(stage: Stage) -> None:
    _, old = replies_at(Stage.UNMASK)
    before = World(parameters_for(6), epoch=0).set_up().open().upload()
    before.finish()
    world, _ = replies_at(stage)

    for payload in before.answered[CHEAT][1:]:
        refuses(world, payload, errors.WrongSession)
    refuses(world, before.answered[CHEAT][0], errors.WrongSession if stage is Stage.ADVERTISE else errors.TooLate)
    if stage is Stage.UNMASK:
        world.server.receive(CHEAT, old[CHEAT])  # seeded entropy: the same epoch all over


def test_answers_of_an_earlier_slot_are_late() -> None:
    world, replies = replies_at(Stage.UNMASK)
    signed = world.answered[CHEAT][-1]
    finish(world, replies)
    world.send(world.server.close())
    world.server.result()
    refuses(world, replies[CHEAT], errors.TooLate)
    world.open(1)

    refuses(world, signed, errors.TooLate)
    refuses(world, replies[CHEAT], errors.TooLate)


@pytest.mark.parametrize("payload", [b"", b"\x81\x01", b"\x83\x02\x02\x03", b"\x82\x01\x18\x63", b"\x00" * (8 * 2**20 + 1)])
def test_bytes_that_are_no_message_name_their_sender(payload: bytes) -> None:
    world, _ = replies_at(Stage.ADVERTISE)
    with pytest.raises(errors.Malformed) as raised:
        world.server.receive(CHEAT, payload)

    assert raised.value.sender == CHEAT


def test_dealings_with_other_holders_other_sizes_or_other_signatures_are_refused() -> None:
    world, replies = replies_at(Stage.SHARE)
    message = decode_message(replies[CHEAT])
    assert isinstance(message, Dealing)
    short = tuple((holder, sealed, row[:64]) for holder, sealed, row in message.sealed)

    refuses(world, tampered(replies[CHEAT], sealed=message.sealed[1:]), errors.BadSurvivors)
    refuses(world, tampered(replies[CHEAT], sealed=message.sealed[::-1]), errors.BadSurvivors)
    refuses(world, tampered(replies[CHEAT], sealed=short), errors.BadShare)
    refuses(world, tampered(replies[CHEAT], sid=bytes(32)), errors.WrongSession)
    refuses(world, tampered(replies[CHEAT], signature=bytes(64)), errors.BadSignature)
    refuses(world, replies[1], errors.BadSignature)


def test_acknowledgments_forged_or_of_unknown_dealers_are_refused() -> None:
    world, replies = replies_at(Stage.ACKNOWLEDGE)
    message = decode_message(replies[CHEAT])
    assert isinstance(message, ShareAck)

    refuses(world, tampered(replies[CHEAT], signature=bytes(64)), errors.BadSignature)
    refuses(world, tampered(replies[CHEAT], held=message.held[::-1]), errors.BadSurvivors)
    refuses(world, tampered(replies[CHEAT], held=(*message.held, (9, bytes(32)))), errors.BadSurvivors)
    refuses(world, tampered(replies[CHEAT], held=message.held[1:]), errors.BadSignature)
    refuses(world, replies[1], errors.BadSignature)


def test_uploads_of_strangers_twice_of_another_size_or_with_another_signature_leave_the_sum_alone() -> None:
    world = ready(6).open(participants={0, 1, 2, 3, 4})
    vector, signature = world.mask(CHEAT)
    for sender, bad, signed, error in (
        (5, vector, signature, errors.Unexpected),
        (1, vector, signature, errors.BadSignature),
        (CHEAT, vector + np.uint32(1), signature, errors.BadSignature),
        (CHEAT, vector, bytes(64), errors.BadSignature),
        (CHEAT, vector[:5], signature, errors.WrongLength),
        (CHEAT, np.concatenate([vector, vector]), signature, errors.WrongLength),
        (CHEAT, vector.astype(np.int64), signature, errors.WrongLength),
    ):
        with pytest.raises(error) as raised:
            world.server.accept(sender, bad, signed)
        assert raised.value.sender == sender
    world.server.accept(CHEAT, vector, signature)
    with pytest.raises(errors.Replayed):
        world.server.accept(CHEAT, vector, signature)

    assert np.array_equal(world.upload({0, 1, 3, 4}).finish().sum, plain_sum(range(5)))


def test_a_skipped_client_does_not_come_back_in_the_same_slot() -> None:
    world = ready(6).open()
    world.server.skip(CHEAT)
    with pytest.raises(errors.Unexpected):
        world.server.accept(CHEAT, *world.mask(CHEAT))
    with pytest.raises(errors.WrongStage):
        ready(6).server.skip(CHEAT)


def test_a_vector_of_another_slot_is_refused() -> None:
    world = ready(6).open()
    old = world.mask(CHEAT)
    world.upload({0, 1, 3, 4, 5})
    world.server.close()
    world = ready(6)
    world.open(1)
    with pytest.raises(errors.BadSignature):
        world.server.accept(CHEAT, *old)


def test_consistency_signatures_over_something_else_are_refused() -> None:
    world, replies = replies_at(Stage.CONSISTENCY)
    refuses(world, tampered(replies[CHEAT], signature=bytes(64)), errors.BadSignature)
    refuses(world, replies[1], errors.BadSignature)
    refuses(world, tampered(replies[CHEAT], sid=bytes(32)), errors.WrongSession)
    refuses(world, tampered(replies[CHEAT], slot=1), errors.TooLate)
    world.server.receive(CHEAT, replies[CHEAT])

    refuses(world, tampered(replies[CHEAT], signature=bytes(64)), errors.Replayed)


SHARES: dict[str, tuple[Callable[[tuple[Any, ...]], tuple[Any, ...]], type[Exception]]] = {
    "a share of one": (lambda s: ((0, (1).to_bytes(33)), *s[1:]), errors.BadShare),
    "a bit flipped": (lambda s: ((0, s[0][1][:-1] + bytes([s[0][1][-1] ^ 1])), *s[1:]), errors.BadShare),
    "a share of another dealer": (lambda s: ((0, s[1][1]), *s[1:]), errors.BadShare),
    "a share outside the field": (lambda s: ((0, PRIME.to_bytes(33)), *s[1:]), errors.BadShare),
    "an unknown dealer": (lambda s: (*s, (9, s[0][1])), errors.BadSurvivors),
    "a dealer twice": (lambda s: (s[0], *s), errors.BadSurvivors),
}


@pytest.mark.parametrize("lie", SHARES)
def test_bad_shares_name_their_holder_and_the_round_completes_with_others(lie: str) -> None:
    world, replies = replies_at(Stage.UNMASK)
    change, error = SHARES[lie]
    message = decode_message(replies[CHEAT])
    assert isinstance(message, Revealed)
    refuses(world, tampered(replies[CHEAT], shares=change(message.shares)), error)
    world.server.drop(CHEAT)
    finish(world, replies)
    world.send(world.server.close())

    assert np.array_equal(world.server.result().sum, plain_sum(range(6)))


def test_one_bad_share_among_good_ones_counts_for_none_of_them() -> None:
    world, replies = replies_at(Stage.UNMASK)
    message = decode_message(replies[CHEAT])
    assert isinstance(message, Revealed)
    bad = (*message.shares[:-1], (message.shares[-1][0], bytes(33)))
    refuses(world, tampered(replies[CHEAT], shares=bad), errors.BadShare)
    server = world.server
    assert isinstance(server, ServerEpoch)

    assert all(CHEAT not in shares for shares in server._revealed.values())


def test_honest_clients_are_never_called_cheaters() -> None:
    world = ready(6).open()
    world.lose({1})
    world.upload().finish()

    assert world.server.cheaters == set()  # type: ignore[union-attr]
    assert world.server.unusable == set()  # type: ignore[union-attr]


def test_frozen_is_set_before_the_survivors_go_out_and_says_who_they_are() -> None:
    world = ready(6).open()
    assert world.server.frozen is None
    world.upload({0, 2, 3, 5})
    world.server.close()

    assert world.server.frozen is not None
    assert world.server.frozen.survivors == (0, 2, 3, 5)
    assert world.server.frozen.to_bytes() != ready(6).open().server.header


def misuse(world: World, call: Callable[[ServerEpoch], object], error: type[Exception], match: str | None = None) -> None:
    server = world.server
    assert isinstance(server, ServerEpoch)
    stage = server.stage
    with pytest.raises(error, match=match):
        call(server)

    assert server.stage is stage


def test_calls_that_do_not_belong_to_a_stage_are_our_own_fault() -> None:
    world = ready(6)
    misuse(world, ServerEpoch.start, errors.WrongStage)
    misuse(world, ServerEpoch.close, errors.WrongStage)
    misuse(world, ServerEpoch.result, errors.WrongStage)
    misuse(world, lambda s: s.start_slot(2, model_of(0), s.live, 0, 5), errors.BadSlot, "allowed is 0 to 1")
    misuse(world, lambda s: s.start_slot(0, model_of(0), s.live | {9}, 0, 5), errors.BadSlot, "not live")
    misuse(world, lambda s: s.start_slot(0, b"short", s.live, 0, 5), errors.BadSlot)
    misuse(world, lambda s: s.start_slot(0, model_of(0), s.live, 0, 0), errors.BadSlot)
    misuse(world, lambda s: s.start_slot(0, model_of(0), frozenset({1, 2, 3}), 0, 5), TooFewSurvivors)
    world.open(1).upload(slot=1).go(Stage.DONE)
    misuse(world, lambda s: s.start_slot(2, model_of(0), s.live, 0, 5), errors.WrongStage, "result of the last slot")
    world.server.result()
    misuse(world, lambda s: s.start_slot(1, model_of(0), s.live, 0, 5), errors.BadSlot)
    for bad in ({"members": frozenset({6})}, {"first_slot": -1}, {"first_slot": 2**63}):
        with pytest.raises(errors.BadSlot):
            ServerEpoch(**{"parameters": parameters_for(6), "epoch": 1, "first_slot": 0, "members": frozenset(range(6)), **bad})
    assert world.server.remaining_slots == 0
    assert vector_of(0).dtype == np.uint32


def test_a_flood_of_repeated_changed_and_foreign_messages_leaves_state_memory_and_sum_alone() -> None:
    world, replies = replies_at(Stage.CONSISTENCY)
    server = world.server
    before = (server.stage, server.live)
    for number in range(500):
        for payload in (tampered(replies[CHEAT], signature=number.to_bytes(64)), world.answered[CHEAT][0], number.to_bytes(40)):
            with pytest.raises(errors.PeerProtocolError):
                server.receive(CHEAT, payload)
    for _ in range(500):
        server.receive(1, replies[1])

    assert (server.stage, server.live) == before
    assert set(server._heard) == {1}
    finish(world, replies)
    world.send(server.close())
    world.send(server.close())
    assert np.array_equal(server.result().sum, plain_sum(range(6)))


def test_a_flood_of_uploads_is_refused_and_adds_nothing() -> None:
    world = ready(6).open()
    vector, signature = world.mask(CHEAT)
    world.server.accept(CHEAT, vector, signature)
    total = world.server._uploads.total.copy()  # type: ignore[union-attr]
    for number in range(200):
        with pytest.raises(errors.Replayed):
            world.server.accept(CHEAT, vector + np.uint32(number), signature)

    assert np.array_equal(world.server._uploads.total, total)  # type: ignore[union-attr]
    assert np.array_equal(world.upload({0, 1, 3, 4, 5}).finish().sum, plain_sum(range(6)))
