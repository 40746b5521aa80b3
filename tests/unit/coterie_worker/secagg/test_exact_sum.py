"""The sum that opens is exactly the plain sum in the ring, whoever drops whenever, as long as the threshold is left."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.coterie_worker.secagg.simulation import LENGTH, World, parameters_for, plain_sum, ready

from coterie_worker.secagg import PeerProtocolError, Stage, TooFewSurvivors, TooLate
from coterie_worker.secagg.errors import BadSurvivors

POINTS = ("before advert", "before share", "before acknowledgment", "before masked input", "after masked input", "after consistency")


def run_with_drops(world: World, drops: dict[str, set[int]]) -> None:
    """Drive one epoch and one slot; at each point some are lost; check the sum."""

    def lose(point: str) -> None:
        world.lose(drops.get(point, set()))

    outbox = world.server.start()
    lose("before advert")
    world.send(outbox)
    outbox = world.server.close()
    lose("before share")
    world.send(outbox)
    outbox = world.server.close()
    lose("before acknowledgment")
    world.send(outbox)
    world.go(Stage.READY).open()
    lose("before masked input")
    world.upload()
    expected = set(world.server.header.participants) - world.gone
    lose("after masked input")
    lose_between(world, drops.get("after consistency", set()))
    total = world.finish()

    assert total.survivors == expected
    assert np.array_equal(total.sum, plain_sum(expected))


def lose_between(world: World, lost: set[int]) -> None:
    """They sign the survivors, and are gone when the shares are asked for."""
    world.send(world.server.close())
    outbox = world.server.close()
    world.lose(lost)
    world.send(outbox)


def cases() -> list[tuple[int, int, str, tuple[int, ...]]]:
    found = []
    for n, colluders in ((3, 0), (4, 0), (5, 0), (5, 1), (6, 1)):
        most = n - parameters_for(n, colluders=colluders).min_survivors
        for size in range(most + 1):
            for lost in combinations(range(n), size):
                found += [(n, colluders, point, lost) for point in (POINTS if lost else POINTS[:1])]
    return found


@pytest.mark.parametrize(("n", "colluders", "point", "lost"), cases())
def test_the_sum_is_exact_for_every_tolerable_set_of_drops_at_every_point(
    n: int, colluders: int, point: str, lost: tuple[int, ...]
) -> None:
    run_with_drops(World(parameters_for(n, colluders=colluders, slots=1)), {point: set(lost)})


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_the_sum_is_exact_for_random_drops_up_to_thirty_clients(data: st.DataObject) -> None:
    n = data.draw(st.integers(7, 30))
    parameters = parameters_for(n, slots=1)
    lost = data.draw(st.lists(st.integers(0, n - 1), unique=True, max_size=n - parameters.min_survivors))
    points = data.draw(st.lists(st.sampled_from(POINTS), min_size=len(lost), max_size=len(lost)))
    drops: dict[str, set[int]] = {point: set() for point in POINTS}
    for client, point in zip(lost, points, strict=True):
        drops[point].add(client)

    run_with_drops(World(parameters), drops)


def test_several_slots_of_one_epoch_open_with_different_survivors() -> None:
    world = ready(6, slots=3)
    for slot, lost in ((0, set()), (1, {5}), (2, {2})):
        world.open(slot)
        world.lose(lost)
        total = world.upload(slot=slot).finish()

        assert np.array_equal(total.sum, plain_sum(total.survivors, slot))
    assert total.survivors == {0, 1, 3, 4}
    assert world.server.remaining_slots == 0


def test_members_of_the_roster_who_are_not_connected_are_not_needed() -> None:
    world = World(parameters_for(6, slots=1), members={0, 2, 3, 5}).set_up().open().upload()

    assert np.array_equal(world.finish().sum, plain_sum({0, 2, 3, 5}))


def test_holders_outside_the_participants_sign_and_reveal() -> None:
    world = ready(6).open(participants={0, 1, 2, 3})
    world.lose({2})
    with pytest.raises(TooFewSurvivors):
        world.upload().finish()
    world = ready(7).open(participants={0, 1, 2, 3, 4}).upload()
    world.lose({0, 1})

    assert np.array_equal(world.finish().sum, plain_sum({0, 1, 2, 3, 4}))


def test_a_client_whose_task_failed_stays_and_helps_to_open() -> None:
    world = ready(6).open()
    world.server.skip(1)
    world.upload({0, 2, 3, 4, 5})

    assert world.server.waiting_for == frozenset()
    world.send(world.server.close())
    assert world.server.waiting_for == frozenset()
    assert np.array_equal(world.finish().sum, plain_sum({0, 2, 3, 4, 5}))
    total = world.open(1).upload(slot=1).finish()
    assert np.array_equal(total.sum, plain_sum(range(6), 1))


def test_a_late_vector_is_discarded_and_its_client_refuses_to_sign_without_itself() -> None:
    world = ready(6).open()
    late = world.mask(4)
    world.upload({0, 1, 2, 3, 5})
    outbox = world.server.close()
    with pytest.raises(TooLate):
        world.server.accept(4, *late)
    with pytest.raises(BadSurvivors, match="did submit"):
        world.clients[4].receive(outbox.pop(4))
    world.send(outbox)

    assert world.server.waiting_for == frozenset()
    assert np.array_equal(world.finish().sum, plain_sum({0, 1, 2, 3, 5}))
    total = world.open(1).upload(slot=1).finish()
    assert total.survivors == set(range(6))


def test_a_vector_of_an_earlier_slot_is_late_not_forged() -> None:
    world = ready(6).open()
    late = world.mask(4)
    world.upload({0, 1, 2, 3, 5})
    outbox = world.server.close()
    outbox.pop(4)
    world.send(outbox)
    world.finish()
    world.open(1)
    with pytest.raises(TooLate):
        world.server.accept(4, *late, slot=0)

    assert world.server.waiting_for == set(range(6))


def test_a_burnt_slot_leaves_the_epoch_usable() -> None:
    world = ready(6).open().upload({0, 1})
    with pytest.raises(TooFewSurvivors, match="masked inputs: 2 clients came, 4 are needed") as raised:
        world.server.close()
    assert (raised.value.came, raised.value.needed) == (2, 4)
    assert world.server.stage is Stage.READY

    total = world.open(1).upload(slot=1).finish()
    assert np.array_equal(total.sum, plain_sum(range(6), 1))


@pytest.mark.parametrize("stage", [Stage.ADVERTISE, Stage.SHARE, Stage.ACKNOWLEDGE])
def test_too_few_in_set_up_lose_the_epoch(stage: Stage) -> None:
    world = World(parameters_for(5))
    world.send(world.server.start())
    while world.server.stage is not stage:
        world.send(world.server.close())
    world.lose({0, 1})
    with pytest.raises(TooFewSurvivors, match="3 clients came, 4 are needed"):
        world.server.close()

    assert world.server.stage is Stage.FAILED
    with pytest.raises(Exception, match="called at stage Failed"):
        world.server.close()


@pytest.mark.parametrize(("lost", "step"), [({0, 1}, "consistency signatures"), ({0}, None)])
def test_too_few_signers_burn_the_slot(lost: set[int], step: str | None) -> None:
    world = ready(5).open().upload()
    world.lose(lost)
    if step is None:
        assert np.array_equal(world.finish().sum, plain_sum(range(5)))
        return
    with pytest.raises(TooFewSurvivors, match=step):
        world.finish()

    assert world.server.stage is Stage.READY
    with pytest.raises(TooFewSurvivors, match="participants: 3"):
        world.open(1)


def test_too_few_shares_burn_the_slot() -> None:
    world = ready(5).open().upload()
    with pytest.raises(TooFewSurvivors, match="shares of one client: 3 clients came, 4 are needed"):
        lose_between(world, {0, 1}) or world.finish()

    assert world.server.stage is Stage.READY


def test_the_epoch_waits_for_exactly_those_who_can_still_answer() -> None:
    world = World(parameters_for(5))
    outbox = world.server.start()
    assert world.server.waiting_for == {0, 1, 2, 3, 4}
    world.send({1: outbox[1]})
    assert world.server.waiting_for == {0, 2, 3, 4}
    world.lose({0})
    assert world.server.waiting_for == {2, 3, 4}
    world.send(outbox)
    assert world.server.waiting_for == frozenset()
    world.go(Stage.READY)
    assert world.server.waiting_for == frozenset()
    world.open(participants={1, 2, 3, 4}).upload({2})
    assert world.server.waiting_for == {1, 3, 4}


def test_a_dropped_client_is_out_until_the_next_epoch() -> None:
    world = ready(6)
    world.lose({3})
    with pytest.raises(Exception, match=r"participants \[3\] are not live"):
        world.open(participants={0, 1, 2, 3})
    world.open()
    with pytest.raises(PeerProtocolError, match="not, or no longer"):
        world.server.accept(3, np.zeros(LENGTH, np.uint32), bytes(64))

    again = World(world.parameters, epoch=2, first_slot=2).set_up().open(2).upload(slot=2)
    assert np.array_equal(again.finish().sum, plain_sum(range(6), 2))


def test_the_result_is_the_same_in_shards_and_from_threads() -> None:
    length = 100_000
    world = ready(4).open(length=length).upload(length=length)
    world.go(Stage.DONE)
    total = world.server.result(run=lambda work, parts: list(map(work, reversed(list(parts)))), shards=3)

    assert np.array_equal(total.sum, plain_sum(range(4), length=length))
    assert world.server.result() is total
