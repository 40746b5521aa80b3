"""Protocol `None`: the same surface and the same checks, without masks, and only for tenants that allow it."""

from __future__ import annotations

import numpy as np
import pytest
from tests.unit.coterie_worker.secagg.simulation import (
    ANY_POLICY,
    World,
    identity,
    model_of,
    parameters_for,
    plain_sum,
    seeded,
    tampered,
    vector_of,
)

from coterie_api.podconfig import TenantPolicy
from coterie_worker.secagg import ClientStage, PlainClient, PlainServer, Stage, TooFewSurvivors, errors
from coterie_worker.secagg.messages import Survivors, encode_message


def plain(n: int, **options: object) -> World:
    return World(parameters_for(n, **options), plain=True)  # type: ignore[arg-type]


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_the_sum_is_exact_and_needs_no_thresholds(n: int) -> None:
    world = plain(n, least=1, min_survivors=1).set_up().open().upload()

    assert np.array_equal(world.finish().sum, plain_sum(range(n)))
    world.open(1)
    world.server.skip(0)
    if n > 1:
        assert np.array_equal(world.upload(range(1, n), slot=1).finish().sum, plain_sum(range(1, n), 1))


def test_after_uploads_the_slot_is_done_and_nothing_is_sent() -> None:
    world = plain(3).set_up().open().upload()
    assert world.server.close() == {}

    assert world.server.stage is Stage.DONE
    assert world.server.frozen is not None
    assert world.server.frozen.survivors == (0, 1, 2)


def test_a_tenant_that_wants_secure_aggregation_takes_no_part() -> None:
    with pytest.raises(errors.PolicyRefused, match=r"protocol: None, the tenant's policy requires secure aggregation"):
        PlainClient(parameters_for(5), 0, identity(0), TenantPolicy(), seeded())
    with pytest.raises(errors.PolicyRefused, match="requires 5"):
        PlainClient(parameters_for(5), 0, identity(0), TenantPolicy(secure_aggregation=False, min_clients=5), seeded())


def test_fewer_than_the_least_survivors_burn_the_slot() -> None:
    world = plain(5).set_up().open().upload({0, 1, 2})
    with pytest.raises(TooFewSurvivors, match="masked inputs: 3 clients came, 4 are needed"):
        world.server.close()
    assert world.server.stage is Stage.READY

    assert np.array_equal(world.open(1).upload(slot=1).finish().sum, plain_sum(range(5), 1))


def test_fewer_joins_than_the_least_survivors_lose_the_epoch() -> None:
    world = plain(5)
    world.send(world.server.start())
    world.lose({0, 1})
    with pytest.raises(TooFewSurvivors, match="joins"):
        world.server.close()

    assert world.server.stage is Stage.FAILED


def test_a_slot_takes_one_vector_of_the_model_that_was_compared() -> None:
    world = plain(5).set_up().open()
    client = world.clients[0]
    with pytest.raises(errors.ModelMismatch):
        client.mask(vector_of(0))
    world.mask(0)
    with pytest.raises(errors.KeyUsed):
        world.mask(0)

    assert client.stage is ClientStage.MASKED


def test_headers_are_checked_as_with_masks() -> None:
    world = plain(5).set_up()
    payload = world.server.start_slot(1, model_of(1), world.server.live, 0, 13)[0]
    for changes, error in (
        ({"slot": 2}, errors.StaleSlot),
        ({"sid": bytes(32)}, errors.WrongSession),
        ({"participants": (0, 1)}, errors.BelowThreshold),
        ({"participants": (0, 1, 2, 3, 9)}, errors.BadSurvivors),
    ):
        with pytest.raises(error):
            world.clients[0].receive(tampered(payload, **changes))
    world.clients[0].receive(payload)
    with pytest.raises(errors.StaleSlot):
        world.clients[0].receive(tampered(payload, slot=0))


def test_nothing_of_the_masked_protocol_is_answered() -> None:
    world = plain(5).set_up().open()
    with pytest.raises(errors.Unexpected):
        world.clients[0].receive(encode_message(Survivors(bytes(32), 0, ())))


def test_joins_forged_or_of_others_are_refused() -> None:
    world = plain(5)
    joins = {i: world.clients[i].receive(payload)[0] for i, payload in world.server.start().items()}
    for bad, error in (
        (joins[1], errors.WrongSession),
        (tampered(joins[0], signature=bytes(64)), errors.BadSignature),
        (tampered(joins[0], epoch=2), errors.WrongSession),
        (tampered(joins[1], index=0), errors.BadSignature),
    ):
        with pytest.raises(error) as raised:
            world.server.receive(0, bad)
        assert raised.value.sender == 0


def test_the_two_protocols_do_not_talk_to_each_other() -> None:
    masked, open_ = World(parameters_for(5)), plain(5)
    start = masked.server.start()[0]
    open_.server.start()
    with pytest.raises(errors.Unexpected):
        open_.server.receive(0, masked.clients[0].receive(start)[0])
    with pytest.raises(errors.Unexpected):
        masked.server.receive(0, open_.clients[0].receive(start)[0])


def test_a_roster_that_makes_no_sense_is_refused() -> None:
    for changes in ({"slots_per_epoch": 0}, {"spec_hash": b""}, {"min_survivors": 0}, {"min_survivors": 6}):
        with pytest.raises(errors.InvalidParameters):
            PlainServer(parameters_for(5, **changes), 1, 0, frozenset(range(5)))  # type: ignore[arg-type]
        with pytest.raises(errors.InvalidParameters):
            PlainClient(parameters_for(5, **changes), 0, identity(0), ANY_POLICY, seeded())  # type: ignore[arg-type]
