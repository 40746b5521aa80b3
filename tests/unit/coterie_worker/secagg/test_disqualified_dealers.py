"""What a proof that a dealer cheated changes at a real client: sums without that dealer are fine, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest
from tests.unit.coterie_worker.secagg.refusal import VICTIM, refuses
from tests.unit.coterie_worker.secagg.simulation import World, model_of, plain_sum, tampered, vector_of
from tests.unit.coterie_worker.secagg.test_fraud_proofs import EVERYONE, N, announced, caught, stays_strict
from tests.unit.coterie_worker.secagg.test_malicious_clients import CHEAT
from tests.unit.coterie_worker.secagg.test_malicious_dealers import of_another_secret, with_liar, with_one_bad_share

from coterie_worker.secagg import DealerCheated, errors
from coterie_worker.secagg.memory import ClientMemory

LEAST = 4  # survivors: of these parameters


def test_after_a_proof_the_others_open_the_sum_without_the_cheat() -> None:
    world, payload = caught()
    rest = EVERYONE - {CHEAT}
    for i in rest:
        assert world.clients[i].receive(payload) == ()
    again = World(world.parameters, members=rest, epoch=2, first_slot=2).set_up()
    for i in rest:
        again.clients[i].memory = world.clients[i].memory
    again.send(again.server.start_slot(2, model_of(0), rest, 0, 13))
    for i in rest:
        again.clients[i].check_model(model_of(0))
        again.server.accept(i, *again.clients[i].mask(vector_of(i)))

    assert np.array_equal(again.finish().sum, plain_sum(rest))


def test_without_a_proof_nobody_does() -> None:
    world, _ = caught()
    stays_strict(world)


def test_a_proof_changes_nothing_but_who_is_disqualified_and_may_come_again() -> None:
    world, payload = caught()
    client = world.clients[VICTIM]
    before = (client.stage, client.header, client.last_slot, dict(client.memory.opened))

    assert [client.receive(payload) for _ in range(3)] == [(), (), ()]
    assert client.memory.disqualified == {CHEAT}
    assert (client.stage, client.header, client.last_slot, dict(client.memory.opened)) == before
    refuses(world, tampered(payload, slot=1), errors.BadShare)
    assert client.memory.disqualified == {CHEAT}


@pytest.mark.parametrize("gone", [{1}, {5}, {1, 5}])
def test_a_sum_that_differs_by_an_honest_client_too_is_still_refused(gone: set[int]) -> None:
    memory = ClientMemory()
    memory.remember(model_of(0), EVERYONE)
    memory.disqualify(CHEAT)
    members = EVERYONE - {CHEAT} - gone
    if len(members) >= LEAST:
        again, survivors = announced(2, memory, members)
        refuses(again, survivors, errors.SumTooClose, f"by {len(gone)} clients")
    with pytest.raises(errors.SumTooClose, match=f"by {len(gone)} clients"):
        memory.check_difference(model_of(0), members, LEAST)


def test_a_disqualified_dealer_does_not_make_a_difference_large_enough() -> None:
    """Counted, it would be one of those that a difference hides honest clients among; its own part is known."""
    memory = ClientMemory()
    memory.remember(model_of(0), {0, 1, 2, 3, 4, 5})
    memory.check_difference(model_of(0), {3, 4, 5}, 3)
    memory.disqualify(CHEAT)
    with pytest.raises(errors.SumTooClose, match="by 2 clients"):
        memory.check_difference(model_of(0), {3, 4, 5}, 3)


def test_a_disqualified_dealer_may_come_and_go_over_one_model() -> None:
    memory = ClientMemory()
    memory.disqualify(CHEAT)
    memory.remember(model_of(0), EVERYONE - {CHEAT})

    memory.check_difference(model_of(0), EVERYONE, LEAST)


def test_the_least_survivors_of_a_sum_stay_what_they_were() -> None:
    """All six tenants are needed: with one of them disqualified, there is no sum of this round any more."""
    world, payload = caught(least=N)
    world.clients[VICTIM].receive(payload)
    again = World(world.parameters, members=EVERYONE - {CHEAT}, epoch=2, first_slot=2)
    with pytest.raises(errors.TooFewSurvivors, match="5 clients came, 6 are needed"):
        again.set_up()


def test_several_cheats_are_proved_and_left_out_together() -> None:
    world = with_liar(9, who=(2, 5), colluders=0, splits=of_another_secret).set_up().open().upload()
    with pytest.raises(DealerCheated) as raised:
        world.finish()
    victim = world.clients[VICTIM]
    for proof in raised.value.proofs:
        assert victim.receive(proof) == ()

    assert victim.memory.disqualified == {2, 5}
    victim.memory.check_difference(model_of(0), set(range(9)) - {2, 5}, 5)
    with pytest.raises(errors.SumTooClose):
        victim.memory.check_difference(model_of(0), set(range(9)) - {2, 5, 6}, 5)


def test_one_inconsistent_share_is_proved_by_the_subset_that_holds_it() -> None:
    """A slot that another cheat burnt: the first t shares of this one rebuild nothing, though others would."""
    world = with_liar(6, who=(2, 3), colluders=0, splits=with_one_bad_share)
    world.clients[3].splits = of_another_secret  # type: ignore[union-attr]
    world.set_up().open().upload()
    with pytest.raises(DealerCheated) as raised:
        world.finish()
    for proof in raised.value.proofs:
        world.clients[VICTIM].receive(proof)

    assert world.clients[VICTIM].memory.disqualified == {2, 3}
