"""Unmasking: shares need a quorum of the roster, and one of each pair is revealed, once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.coterie_worker.secagg.refusal import VICTIM, encode_survivors, refuses
from tests.unit.coterie_worker.secagg.simulation import (
    World,
    identity,
    model_of,
    parameters_for,
    ready,
)

from coterie_worker.secagg import errors
from coterie_worker.secagg.contexts import consistency_context, header_hash
from coterie_worker.secagg.messages import (
    Consistent,
    Revealed,
    SlotStart,
    UnmaskRequest,
    decode_message,
    encode_message,
)


def at_unmask() -> tuple[World, UnmaskRequest, dict[int, bytes]]:
    world = ready(6).open()
    world.lose({5})
    world.upload()
    world.send(world.server.close())
    outbox = world.server.close()
    message = decode_message(outbox[VICTIM])
    assert isinstance(message, UnmaskRequest)
    return world, message, outbox


def signature_over(
    world: World, signer: int, *, survivors: tuple[int, ...] = (0, 1, 2, 3, 4), header: SlotStart | None = None
) -> tuple[int, bytes]:
    return signer, identity(signer).sign(consistency_context(header_hash(header or world.server.header), survivors))  # type: ignore[arg-type]


def test_fewer_signatures_than_a_quorum_of_the_roster_are_refused() -> None:
    world, message, _ = at_unmask()

    refuses(
        world,
        encode_message(replace(message, signatures=message.signatures[:3])),
        errors.BelowThreshold,
        "signers: 3, at least 4 of the roster's 6",
    )


def test_the_quorum_counts_the_roster_not_those_who_came() -> None:
    world = World(parameters_for(9, slots=1), members=range(6)).set_up().open().upload()
    assert world.parameters.quorum == 6
    world.send(world.server.close())
    message = decode_message(world.server.close()[VICTIM])

    refuses(world, encode_message(replace(message, signatures=message.signatures[:5])), errors.BelowThreshold, "at least 6")  # type: ignore[union-attr, arg-type]


def test_repeated_unordered_or_unknown_signers_are_refused() -> None:
    world, message, _ = at_unmask()
    s = message.signatures
    for signatures in ((s[0], s[1], s[1], s[2]), (s[1], s[0], s[2], s[3]), (*s[:3], (9, s[3][1]))):
        refuses(world, encode_message(replace(message, signatures=signatures)), errors.BadSurvivors, "signers")


def test_signatures_over_other_survivors_or_another_header_are_refused() -> None:
    world, message, _ = at_unmask()
    assert world.server.header is not None
    other = replace(world.server.header, model_hash=model_of(1))
    for lie in (
        signature_over(world, 3, survivors=(0, 1, 2, 3, 5)),
        signature_over(world, 3, header=other),
        (3, signature_over(world, 4)[1]),
        (3, bytes(64)),
    ):
        refuses(world, encode_message(replace(message, signatures=(*message.signatures[:3], lie))), errors.BadSignature, "client 3")


def test_of_two_sets_of_survivors_in_one_slot_at_most_one_opens() -> None:
    """Three clients sign one set, two another, and the colluder (5) signs both: the two reveal nothing."""
    world = ready(6).open().upload()
    survivors = {0: range(6), 1: range(6), 2: range(6), 3: range(5), 4: range(5)}
    collected: dict[range, list[tuple[int, bytes]]] = {range(6): [], range(5): []}
    for i, chosen in survivors.items():
        (reply,) = world.clients[i].receive(encode_survivors(world, chosen)[i])
        consistent = decode_message(reply)
        assert isinstance(consistent, Consistent)
        collected[chosen].append((i, consistent.signature))
    for chosen, signatures in collected.items():
        signatures.append(signature_over(world, 5, survivors=tuple(chosen)))
    everyone = tuple(sorted({**dict(collected[range(6)]), **dict(collected[range(5)])}.items()))
    requests = {chosen: encode_message(UnmaskRequest(world.server._sid, 0, tuple(signed))) for chosen, signed in collected.items()}

    for i in (3, 4):
        refuses(world, requests[range(5)], errors.BelowThreshold, "signers: 3, at least 4", victim=i)
        refuses(world, requests[range(6)], errors.BadSignature, victim=i)
        refuses(world, encode_message(UnmaskRequest(world.server._sid, 0, everyone)), errors.BadSignature, victim=i)
    for i in (0, 1, 2):
        refuses(world, requests[range(5)], errors.BelowThreshold, victim=i)
        assert len(world.clients[i].receive(requests[range(6)])) == 1


def test_nothing_is_revealed_before_survivors_were_signed() -> None:
    world = ready(6).open().upload()
    request = UnmaskRequest(world.server._sid, 0, tuple(signature_over(world, i, survivors=tuple(range(6))) for i in range(6)))

    refuses(world, encode_message(request), errors.Unexpected)


def test_an_identical_unmask_request_gets_the_identical_answer_and_a_different_one_none() -> None:
    world, message, outbox = at_unmask()
    first = world.clients[VICTIM].receive(outbox[VICTIM])
    assert world.clients[VICTIM].receive(outbox[VICTIM]) == first

    refuses(world, encode_message(replace(message, signatures=(*message.signatures, signature_over(world, 4)))), errors.Replayed)
    refuses(world, encode_message(replace(message, slot=1)), errors.StaleSlot)


def test_a_revelation_holds_one_share_per_participant_of_the_kind_that_its_fate_asks_for() -> None:
    world, _, outbox = at_unmask()
    held = world.clients[VICTIM]._held[0]
    (reply,) = world.clients[VICTIM].receive(outbox[VICTIM])
    revealed = decode_message(reply)
    assert isinstance(revealed, Revealed)

    assert [dealer for dealer, _ in revealed.shares] == [0, 1, 2, 3, 4, 5]
    for pair in held.values():
        for kind in (0, 1):
            with pytest.raises(errors.KeyUsed):
                pair._shares[list(pair._shares)[kind]].take()


def test_a_client_that_dropped_out_of_a_sum_does_not_reveal_its_own_mask_key() -> None:
    world = ready(6).open().upload({1, 2, 3, 4, 5})
    world.finish()
    revealed = decode_message(world.answered[VICTIM][-1])
    assert isinstance(revealed, Revealed)

    assert [dealer for dealer, _ in revealed.shares] == [1, 2, 3, 4, 5]


def test_a_later_header_erases_the_secrets_of_every_earlier_slot() -> None:
    world, _message, outbox = at_unmask()
    header = replace(world.server.header, slot=1, model_hash=model_of(1))
    world.clients[VICTIM].receive(encode_message(header))

    refuses(world, outbox[VICTIM], errors.Unexpected)
    assert set(world.clients[VICTIM]._held) == {1}
    with pytest.raises(errors.KeyUsed):
        world.clients[VICTIM]._secrets.slots[0].seed.take()
