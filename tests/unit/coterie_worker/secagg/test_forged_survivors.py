"""Consistency: a client signs one possible set of survivors per slot, under its own header."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.unit.coterie_worker.secagg.refusal import VICTIM, encode_survivors, refuses
from tests.unit.coterie_worker.secagg.simulation import (
    World,
    identity,
    model_of,
    ready,
    tampered,
    vector_of,
)

from coterie_worker.secagg import errors
from coterie_worker.secagg.contexts import header_hash, upload_context
from coterie_worker.secagg.messages import (
    SlotStart,
    decode_message,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def at_survivors(submitted: set[int] | None = None, n: int = 6) -> tuple[World, bytes]:
    world = ready(n).open()
    world.upload(submitted)
    return world, world.server.close()[VICTIM]


def survivors_with(payload: bytes, change: Callable[[list[Any]], list[Any]]) -> bytes:
    message = decode_message(payload)
    return tampered(payload, uploads=tuple(change(list(message.uploads))))  # type: ignore[union-attr]


def entry(world: World, index: int, *, signer: int | None = None, header: SlotStart | None = None) -> tuple[int, bytes, bytes]:
    """A survivor's entry, signed by a client in league with the aggregator."""
    signed = upload_context(header_hash(header or world.server.header), index, bytes(32))  # type: ignore[arg-type]
    return index, bytes(32), identity(index if signer is None else signer).sign(signed)


def test_survivors_below_the_threshold_are_refused() -> None:
    world, payload = at_survivors()

    refuses(world, survivors_with(payload, lambda u: u[:3]), errors.BelowThreshold, "survivors: 3, at least 4")


SETS: dict[str, Callable[[list[Any]], list[Any]]] = {
    "a survivor twice": lambda u: [*u[:2], u[1], *u[2:]],
    "survivors out of order": lambda u: [u[1], u[0], *u[2:]],
    "an unknown survivor": lambda u: [*u, (7, *u[5][1:])],
    "ourselves left out": lambda u: u[1:],
    "our vector exchanged": lambda u: [(0, bytes(32), u[0][2]), *u[1:]],
}


@pytest.mark.parametrize("change", SETS)
def test_an_impossible_set_of_survivors_is_refused(change: str) -> None:
    world, payload = at_survivors()
    refuses(world, survivors_with(payload, SETS[change]), errors.BadSurvivors)

    assert len(world.clients[VICTIM].receive(payload)) == 1


def test_a_set_that_claims_a_vector_that_we_did_not_send_is_refused() -> None:
    world, payload = at_survivors({1, 2, 3, 4, 5})

    refuses(world, survivors_with(payload, lambda u: [entry(world, 0), *u]), errors.BadSurvivors, "did not submit")


def test_signatures_that_are_missing_another_clients_or_over_another_vector_are_refused() -> None:
    world, payload = at_survivors()
    for bad in (bytes(64), entry(world, 3, signer=4)[2], entry(world, 3)[2]):
        refuses(world, survivors_with(payload, lambda u, bad=bad: [*u[:3], (3, u[3][1], bad), *u[4:]]), errors.BadSignature, "client 3")


def test_victims_of_another_model_find_out_before_anyone_signs() -> None:
    """Two victims get another model than the rest: no client accepts the others' signatures, so nothing opens."""
    world = ready(6)
    outbox = world.server.start_slot(0, model_of(0), world.server.live, 0, 13)
    for victim in (0, 1):
        outbox[victim] = tampered(outbox[victim], model_hash=model_of(1))
    world.send(outbox)
    vectors = {i: world.mask(i) for i in (2, 3, 4, 5)}
    for victim in (0, 1):
        world.clients[victim].check_model(model_of(1))
        vectors[victim] = world.clients[victim].mask(vector_of(victim))
    for i in (2, 3, 4, 5):
        world.server.accept(i, *vectors[i])
    with pytest.raises(errors.BadSignature):
        world.server.accept(0, *vectors[0])
    payload = world.server.close()[2]
    lie = survivors_with(payload, lambda u: [entry(world, 0), entry(world, 1), *u])

    refuses(world, payload, errors.BadSurvivors, "did submit", victim=0)
    refuses(world, lie, errors.BadSurvivors, victim=0)
    for victim in (0, 1):
        header = replace(world.server.header, model_hash=model_of(1))
        victims_view = survivors_with(
            payload, lambda u, header=header: [entry(world, 0, header=header), entry(world, 1, header=header), *u]
        )
        refuses(world, victims_view, errors.BadSurvivors, victim=victim)


def test_masks_under_two_headers_do_not_cancel() -> None:
    """The reason that keys depend on the header: even with all secrets, a victim's vector does not come out alone."""
    world = ready(4)
    outbox = world.server.start_slot(0, model_of(0), world.server.live, 0, 13)
    outbox[0] = tampered(outbox[0], model_hash=model_of(1))
    world.send(outbox)
    world.clients[0].check_model(model_of(1))
    total = world.clients[0].mask(vector_of(0))[0]
    for i in (1, 2, 3):
        total += world.mask(i)[0]
    honest = ready(4).open()
    sum_under_one_header = sum((honest.mask(i)[0] for i in range(4)), np.zeros(13, np.uint32))

    assert not np.array_equal(total - sum_under_one_header, np.zeros(13, np.uint32))


def test_signatures_of_an_earlier_slot_are_refused() -> None:
    world = ready(5).open().upload()
    earlier = decode_message(world.server.close()[VICTIM])
    world = ready(5)
    world.open(1).upload(slot=1)
    payload = world.server.close()[VICTIM]
    own = decode_message(payload).uploads[VICTIM]  # type: ignore[union-attr]
    replayed = tampered(payload, uploads=(own, *earlier.uploads[1:]))  # type: ignore[union-attr]

    refuses(world, replayed, errors.BadSignature)


def test_survivors_of_another_slot_or_session_are_refused() -> None:
    world, payload = at_survivors()
    refuses(world, tampered(payload, slot=1), errors.StaleSlot)
    refuses(world, tampered(payload, sid=bytes(32)), errors.WrongSession)


def test_a_client_signs_one_set_of_survivors_per_slot() -> None:
    world, payload = at_survivors()
    signed = world.clients[VICTIM].receive(payload)
    refuses(world, survivors_with(payload, lambda u: u[:5]), errors.Replayed)

    assert world.clients[VICTIM].receive(payload) == signed


def test_an_aggregator_that_forgot_what_it_froze_gets_no_second_set() -> None:
    """Restart between freezing and unmasking: a smaller set is refused by all, so it has no quorum."""
    world, _ = at_survivors()
    world.send(dict(encode_survivors(world, range(6)).items()))
    for i, payload in encode_survivors(world, range(5)).items():
        if i < 5:
            refuses(world, payload, errors.Replayed, victim=i)


def test_two_sums_over_one_model_that_differ_by_few_clients_are_refused() -> None:
    world = ready(6).open().upload()
    world.finish()
    world.lose({5})
    world.send(world.server.start_slot(1, model_of(0), world.server.live, 0, 13))
    for i in range(5):
        world.clients[i].check_model(model_of(0))
        world.server.accept(i, *world.clients[i].mask(vector_of(i)))
    payload = world.server.close()[VICTIM]

    refuses(world, payload, errors.SumTooClose, "differ from those of an opened sum over the same model by 1")
