"""How tests say that a real client refused: by name, unchanged, with nothing revealed."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.coterie_worker.secagg.simulation import (
    World,
    parameters_for,
)

from coterie_worker.secagg.messages import (
    Advert,
    Survivors,
    decode_message,
    encode_message,
)

VICTIM = 0


def refuses(world: World, payload: bytes, error: type[Exception], match: str | None = None, *, victim: int = VICTIM) -> None:
    """The victim refuses the payload with exactly this error, and nothing about it changed."""
    client = world.clients[victim]
    before = (client.stage, client.header, client.last_slot)
    with pytest.raises(error, match=match) as raised:
        client.receive(payload)

    assert type(raised.value) is error
    assert (client.stage, client.header, client.last_slot) == before


def at_adverts(**options: Any) -> tuple[World, bytes]:
    world = World(parameters_for(5, **options))
    world.send(world.server.start())
    return world, world.server.close()[VICTIM]


def advert_of(payload: bytes, index: int) -> Advert:
    advert = decode_message(decode_message(payload).adverts[index])  # type: ignore[union-attr]
    assert isinstance(advert, Advert)
    return advert


def encode_survivors(world: World, survivors: range) -> dict[int, bytes]:
    uploads = world.server._uploads
    assert uploads is not None
    message = Survivors(world.server._sid, 0, tuple((i, *uploads.signed[i]) for i in survivors))
    return {i: encode_message(message) for i in range(6)}
