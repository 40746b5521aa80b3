"""Slots: replayed, doubled and impossible headers are refused, and a slot masks one vector ever."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.unit.coterie_worker.secagg.refusal import VICTIM, refuses
from tests.unit.coterie_worker.secagg.simulation import (
    MASKED_POLICY,
    World,
    identity,
    model_of,
    parameters_for,
    ready,
    seeded,
    tampered,
    vector_of,
)

from coterie_worker.secagg import ClientEpoch, ClientStage, errors
from coterie_worker.secagg.messages import (
    EpochStart,
    encode_message,
)

HEADERS: dict[str, tuple[dict[str, Any], type[Exception]]] = {
    "too few participants": ({"participants": (0, 1, 2)}, errors.BelowThreshold),
    "no participants": ({"participants": ()}, errors.BelowThreshold),
    "a participant twice": ({"participants": (0, 1, 1, 2, 3)}, errors.BadSurvivors),
    "participants out of order": ({"participants": (1, 0, 2, 3)}, errors.BadSurvivors),
    "a participant who never advertised": ({"participants": (0, 1, 2, 5)}, errors.BadSurvivors),
    "a slot before the epoch": ({"slot": 9}, errors.StaleSlot),
    "a slot after the epoch": ({"slot": 12}, errors.StaleSlot),
    "another session": ({"sid": bytes(32)}, errors.WrongSession),
}


@pytest.mark.parametrize("header", HEADERS)
def test_a_bad_header_is_refused(header: str) -> None:
    world = World(parameters_for(6), members=range(5), first_slot=10).set_up()
    payload = world.server.start_slot(10, model_of(10), world.server.live, 0, 5)[VICTIM]
    changes, error = HEADERS[header]
    refuses(world, tampered(payload, **changes), error)

    assert world.clients[VICTIM].receive(payload) == ()


def test_two_headers_in_one_slot_are_refused_before_and_after_masking() -> None:
    world = ready(5)
    payload = world.server.start_slot(0, model_of(0), world.server.live, 0, 13)[VICTIM]
    world.clients[VICTIM].receive(payload)
    other = tampered(payload, model_hash=model_of(1))
    refuses(world, other, errors.StaleSlot)
    world.mask(VICTIM)

    refuses(world, other, errors.StaleSlot)


def test_a_slot_that_went_back_is_refused() -> None:
    world = ready(5).open(1)

    refuses(world, tampered(encode_message(world.server.header), slot=0), errors.StaleSlot, "slot 0")


def test_an_epoch_that_starts_at_a_used_slot_is_refused_after_a_restart() -> None:
    restarted = ClientEpoch(parameters_for(5), VICTIM, identity(VICTIM), MASKED_POLICY, seeded("again"), last_slot=4)
    for first_slot in (0, 3, 4):
        with pytest.raises(errors.StaleSlot, match="has used slot 4"):
            restarted.receive(encode_message(EpochStart(2, first_slot)))
    with pytest.raises(errors.StaleSlot, match="slots end"):
        restarted.receive(encode_message(EpochStart(2, 2**63 - 2)))

    assert len(restarted.receive(encode_message(EpochStart(2, 5)))) == 1


def test_a_client_makes_keys_for_one_epoch_only() -> None:
    world = ready(5)

    refuses(world, encode_message(EpochStart(2, 2)), errors.Replayed)


def test_a_slot_masks_one_vector_ever() -> None:
    world = ready(5).open()
    world.mask(VICTIM)
    with pytest.raises(errors.KeyUsed):
        world.mask(VICTIM)
    world.clients[VICTIM].receive(encode_message(world.server.header))  # the same header again opens nothing anew

    with pytest.raises(errors.KeyUsed):
        world.mask(VICTIM)


def test_nothing_is_masked_under_a_model_that_was_not_compared() -> None:
    world = ready(5).open()
    client = world.clients[VICTIM]
    with pytest.raises(errors.ModelMismatch, match="not compared"):
        client.mask(vector_of(VICTIM))
    with pytest.raises(errors.ModelMismatch, match="loaded"):
        client.check_model(model_of(1))
    with pytest.raises(errors.ModelMismatch, match="not compared"):
        client.mask(vector_of(VICTIM))

    assert client.stage is ClientStage.OPEN


def test_an_update_trained_for_one_slot_does_not_go_out_under_the_next_header() -> None:
    world = ready(5).open()
    world.clients[VICTIM].check_model(model_of(0))
    header = replace(world.server.header, slot=1, model_hash=model_of(1))
    world.clients[VICTIM].receive(encode_message(header))

    with pytest.raises(errors.ModelMismatch):
        world.clients[VICTIM].mask(vector_of(VICTIM))


def test_no_vector_goes_out_once_the_survivors_are_fixed_without_it() -> None:
    world = ready(5).open().upload({1, 2, 3, 4})
    world.send(world.server.close())

    with pytest.raises(errors.KeyUsed, match="survivors are fixed"):
        world.mask(VICTIM)


def test_mask_is_for_participants_with_an_open_slot_and_a_fitting_vector() -> None:
    world = ready(6)
    client = world.clients[VICTIM]
    with pytest.raises(errors.WrongStage):
        client.check_model(model_of(0))
    with pytest.raises(errors.WrongStage):
        client.mask(vector_of(VICTIM))
    world.open(participants={1, 2, 3, 4})
    assert not client.is_participant
    client.check_model(model_of(0))
    with pytest.raises(errors.NotAParticipant):
        client.mask(vector_of(VICTIM))
    fine = world.clients[1]
    fine.check_model(model_of(0))
    read_only = vector_of(1)
    read_only.flags.writeable = False
    for bad in (vector_of(1, length=12), vector_of(1).astype(np.int64), vector_of(1, length=26)[::2], read_only):
        with pytest.raises(errors.BadVector, match=r"vector: .*, expected"):
            fine.mask(bad)

    assert fine.mask(vector_of(1))[0].shape == (13,)
