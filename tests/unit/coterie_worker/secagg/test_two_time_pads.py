"""Restarts, second pods and second sums: no two updates under one mask, no two sums that differ by few."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.unit.coterie_worker.secagg.refusal import VICTIM, refuses
from tests.unit.coterie_worker.secagg.simulation import MASKED_POLICY, World, identity, model_of, parameters_for, ready, seeded, vector_of

from coterie_api import fields
from coterie_api.podconfig import ClientRole, TenantPolicy
from coterie_worker.client.state import SlotRecord, SlotUsed
from coterie_worker.durable import FolderInUse
from coterie_worker.secagg import ClientEpoch, PolicyRefused, errors
from coterie_worker.secagg.memory import MAX_MODELS, ClientMemory
from coterie_worker.secagg.messages import EpochStart, decode_message, encode_message

if TYPE_CHECKING:
    from pathlib import Path

JOB = "job-uid"


def restarted(record: SlotRecord, *seed: object) -> ClientEpoch:
    return ClientEpoch(parameters_for(5), VICTIM, identity(VICTIM), MASKED_POLICY, seeded(*seed), record.last(JOB))


def test_a_slot_is_not_repeated_with_a_new_update_after_a_restart(tmp_path: Path) -> None:
    with SlotRecord(tmp_path) as record:
        record.use(JOB, 1)
    with SlotRecord(tmp_path) as record:
        client = restarted(record, "restart")
        for first_slot in (0, 1):
            with pytest.raises(errors.StaleSlot, match="has used slot 1"):
                client.receive(encode_message(EpochStart(2, first_slot)))
        with pytest.raises(SlotUsed):
            record.use(JOB, 1)


def test_a_second_pod_with_the_same_state_does_not_start(tmp_path: Path) -> None:
    with SlotRecord(tmp_path), pytest.raises(FolderInUse):
        SlotRecord(tmp_path)


def test_a_second_pod_with_a_copy_of_the_state_has_no_key_of_the_first(tmp_path: Path) -> None:
    """A volume's snapshot knows the slots, but never a key: its pod can't join the session that the first one is in."""
    first, copy = tmp_path / "first", tmp_path / "copy"
    first.mkdir()
    with SlotRecord(first) as record:
        record.use(JOB, 0)
    shutil.copytree(first, copy)
    with SlotRecord(copy) as record:
        world = World(parameters_for(5), first_slot=1)
        twin = restarted(record, "the second pod")
        outbox = world.server.start()
        own = twin.receive(outbox[VICTIM])
        world.send(outbox)
        adverts = world.server.close()[VICTIM]
        with pytest.raises(errors.BadAdvert, match="own is missing or changed"):
            twin.receive(adverts)

    assert decode_message(own[0]).mask_keys != decode_message(world.answered[VICTIM][0]).mask_keys  # type: ignore[union-attr]
    assert {path.name for path in copy.iterdir()} <= {"slots.json", "lock", ".lock"} | {p.name for p in first.iterdir()}


def test_two_vectors_of_one_slot_and_client_share_no_mask() -> None:
    """What a two-time pad would give away: y - y' = x - x'. Two pods of one tenant never make it come true."""
    masked = []
    for pod in ("one", "two"):
        world = World(parameters_for(5))
        world.clients[VICTIM] = ClientEpoch(world.parameters, VICTIM, identity(VICTIM), MASKED_POLICY, seeded(pod))
        world.set_up().open()
        masked.append(world.mask(VICTIM)[0])

    assert not np.array_equal(masked[0] - masked[1], np.zeros_like(masked[0]))
    assert np.count_nonzero(masked[0] == masked[1]) <= 1


def opened(epoch: int, memory: ClientMemory, members: set[int], *, model: int = 0) -> tuple[World, bytes]:
    """A world of its own epoch whose victim remembers; the survivors are announced and not yet signed."""
    world = World(parameters_for(6), members=members, epoch=epoch, first_slot=10 * epoch).set_up()
    world.clients[VICTIM].memory = memory
    slot = 10 * epoch
    world.send(world.server.start_slot(slot, model_of(model), frozenset(members), 0, 13))
    for i in members:
        world.clients[i].check_model(model_of(model))
        world.server.accept(i, *world.clients[i].mask(vector_of(i)))
    return world, world.server.close()[VICTIM]


def test_two_sums_over_one_model_that_differ_by_few_clients_are_refused_in_another_epoch_too() -> None:
    memory = ClientMemory()
    world, payload = opened(1, memory, set(range(6)))
    world.send(dict.fromkeys(range(6), payload))
    world.send(world.server.close())
    again, payload = opened(2, memory, set(range(5)))

    refuses(again, payload, errors.SumTooClose, "differ from those of an opened sum over the same model by 1")


@pytest.mark.parametrize(("members", "model"), [(set(range(6)), 0), (set(range(5)), 1)])
def test_the_same_clients_again_or_another_model_are_fine(members: set[int], model: int) -> None:
    memory = ClientMemory()
    memory.remember(model_of(0), range(6))
    world, payload = opened(2, memory, members, model=model)

    assert len(world.clients[VICTIM].receive(payload)) == 1


def test_a_sum_that_was_signed_and_not_opened_is_not_remembered() -> None:
    memory = ClientMemory()
    world, payload = opened(1, memory, set(range(6)))
    world.clients[VICTIM].receive(payload)

    assert memory.opened == {}


def test_the_memory_of_sums_is_bounded_and_forgets_the_oldest_model() -> None:
    memory = ClientMemory()
    for model in range(MAX_MODELS + 5):
        memory.remember(model.to_bytes(32), range(6))

    assert len(memory.opened) == MAX_MODELS
    memory.check_difference((0).to_bytes(32), range(5), 3)
    with pytest.raises(errors.BadSurvivors):
        memory.check_difference((MAX_MODELS).to_bytes(32), range(5), 3)


def test_a_client_takes_its_policy_from_its_own_file_and_no_number_of_it_from_the_aggregator() -> None:
    text = {"index": 0, "aggregator": "a.ns.svc", "hasState": True}
    strict = {"minClients": 4, "threshold": 4, "colluders": 1, "ringBits": 32, "scale": 65536, "clip": 6553.6}
    for name, value, refused in (
        ("minClients", 5, "least survivors: 4"),
        ("threshold", 5, "threshold: 4"),
        ("colluders", 2, "colluders: 1"),
        ("scale", 65535, "scale: 65536"),
        ("clip", 6553.5, "clip: 6553.6"),
    ):
        fine = fields.parse(ClientRole, text | {"policy": strict}).policy
        ClientEpoch(parameters_for(5), VICTIM, identity(VICTIM), fine, seeded())
        policy = fields.parse(ClientRole, text | {"policy": strict | {name: value}}).policy
        with pytest.raises(PolicyRefused, match=refused):
            ClientEpoch(parameters_for(5), VICTIM, identity(VICTIM), policy, seeded())


def test_the_default_policy_insists_on_secure_aggregation_and_the_narrow_ring_is_the_jobs_to_choose() -> None:
    narrow = parameters_for(5, ring_bits=16, scale=256)
    ClientEpoch(narrow, VICTIM, identity(VICTIM), TenantPolicy(), seeded())
    with pytest.raises(PolicyRefused, match="ring bits: 16"):
        ClientEpoch(narrow, VICTIM, identity(VICTIM), TenantPolicy(ring_bits=32), seeded())
    with pytest.raises(PolicyRefused, match=r"clip: 25.5"):
        ClientEpoch(narrow, VICTIM, identity(VICTIM), replace(TenantPolicy(), clip=25.0), seeded())

    assert narrow.clip == pytest.approx((32767 // 5) / 256)
    assert ready(5).parameters.clip == pytest.approx(((2**31 - 1) // 5) / 65536)
