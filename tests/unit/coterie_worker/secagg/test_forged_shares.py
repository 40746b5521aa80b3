"""Set-up: reflected, swapped, spoiled and foreign shares don't open."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.unit.coterie_worker.secagg.refusal import VICTIM, refuses
from tests.unit.coterie_worker.secagg.simulation import (
    World,
    identity,
    parameters_for,
)

from coterie_worker.secagg import Stage, errors
from coterie_worker.secagg.contexts import advert_context
from coterie_worker.secagg.keys import public_of
from coterie_worker.secagg.messages import (
    AdvertSet,
    Delivery,
    decode_message,
    encode_message,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def at_delivery() -> tuple[World, Delivery, dict[int, bytes]]:
    world = World(parameters_for(5))
    world.send(world.server.start())
    world.send(world.server.close())
    outbox = world.server.close()
    message = decode_message(outbox[VICTIM])
    assert isinstance(message, Delivery)
    return world, message, outbox


def own_ciphertexts(world: World) -> dict[int, bytes]:
    dealing = decode_message(world.answered[VICTIM][1])
    return {holder: sealed for holder, sealed, _ in dealing.sealed if holder != VICTIM}  # type: ignore[union-attr]


def test_reflected_ciphertexts_do_not_open() -> None:
    world, message, _ = at_delivery()
    reflected = tuple(sorted(own_ciphertexts(world).items()))

    refuses(world, encode_message(replace(message, sealed=reflected)), errors.BadSeal, "from 1 to 0")


SPOILS: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda sealed: sealed[:-1],
    "empty": lambda _: b"",
    "a bit of the text flipped": lambda sealed: bytes([sealed[0] ^ 1]) + sealed[1:],
    "a bit of the tag flipped": lambda sealed: sealed[:-1] + bytes([sealed[-1] ^ 128]),
    "longer": lambda sealed: sealed + b"\0",
}


@pytest.mark.parametrize("spoil", SPOILS)
def test_spoiled_shares_are_refused_when_too_few_open(spoil: str) -> None:
    world, message, outbox = at_delivery()
    spoiled = tuple((dealer, SPOILS[spoil](sealed)) for dealer, sealed in message.sealed)
    refuses(world, encode_message(replace(message, sealed=spoiled)), errors.BadSeal)

    assert len(world.clients[VICTIM].receive(outbox[VICTIM])) == 1


def test_one_spoiled_share_is_a_complaint_and_never_revealed() -> None:
    world, message, outbox = at_delivery()
    (dealer, _), *rest = message.sealed
    outbox[VICTIM] = encode_message(replace(message, sealed=((dealer, own_ciphertexts(world)[dealer]), *rest)))
    world.send(outbox)
    assert isinstance(world.clients[VICTIM].complaints[dealer], errors.BadSeal)  # type: ignore[union-attr]
    world.go(Stage.READY).open().upload()
    total = world.finish()

    revealed = decode_message(world.answered[VICTIM][-1])
    assert dealer not in dict(revealed.shares)  # type: ignore[union-attr]
    assert total.survivors == {0, 1, 2, 3, 4}


def test_ciphertexts_swapped_between_dealers_do_not_open() -> None:
    world, message, _ = at_delivery()
    dealers, boxes = [d for d, _ in message.sealed], [b for _, b in message.sealed]
    swapped = tuple(zip(dealers, boxes[1:] + boxes[:1], strict=True))

    refuses(world, encode_message(replace(message, sealed=swapped)), errors.BadSeal)


@pytest.mark.parametrize("dealers", [(0, 1, 2, 3), (1, 1, 2, 3), (1, 2, 3, 9)])
def test_a_delivery_from_ourselves_twice_or_from_strangers_is_refused(dealers: tuple[int, ...]) -> None:
    world, message, _ = at_delivery()
    boxes = [box for _, box in message.sealed]

    refuses(world, encode_message(replace(message, sealed=tuple(zip(dealers, boxes, strict=True)))), errors.BadSurvivors)


def test_a_delivery_of_another_session_or_of_too_few_is_refused() -> None:
    world, message, _ = at_delivery()
    refuses(world, encode_message(replace(message, sid=bytes(32))), errors.WrongSession)
    refuses(world, encode_message(replace(message, sealed=message.sealed[:2])), errors.BelowThreshold, "of 3 clients, at least 4")


def test_two_sets_of_adverts_make_two_sessions_whose_shares_do_not_mix() -> None:
    """A client in league signs two adverts, one for the victim and one for the rest: both sets pass, and nothing between them opens."""
    world = World(parameters_for(5))
    world.send(world.server.start())
    outbox = world.server.close()
    adverts = list(decode_message(outbox[VICTIM]).adverts)  # type: ignore[union-attr]
    twin = replace(decode_message(adverts[4]), channel_key=public_of(bytes([9] * 32)))  # type: ignore[type-var]
    adverts[4] = encode_message(replace(twin, signature=identity(4).sign(advert_context(twin))))  # type: ignore[arg-type, type-var]
    outbox[VICTIM] = encode_message(AdvertSet(tuple(adverts)))
    for i, payload in outbox.items():
        replies = world.clients[i].receive(payload)
        if i != VICTIM:
            world.server.receive(i, *replies)
    with pytest.raises(errors.WrongSession):
        world.server.receive(VICTIM, *world.clients[VICTIM].receive(outbox[VICTIM]))
    message = decode_message(world.server.close()[1])
    assert isinstance(message, Delivery)
    theirs = tuple((dealer, sealed) for dealer, sealed in message.sealed if dealer != VICTIM)
    victim = world.clients[VICTIM]

    refuses(world, encode_message(replace(message, sealed=theirs)), errors.WrongSession)
    refuses(world, encode_message(Delivery(victim._sid, ((1, theirs[0][1]), *theirs))), errors.BadSeal)


def test_shares_of_another_session_do_not_open() -> None:
    world, message, _ = at_delivery()
    other = World(world.parameters, epoch=2)
    other.send(other.server.start())
    other.send(other.server.close())
    foreign = decode_message(other.server.close()[VICTIM])

    refuses(world, encode_message(replace(message, sealed=foreign.sealed)), errors.BadSeal)  # type: ignore[union-attr]
