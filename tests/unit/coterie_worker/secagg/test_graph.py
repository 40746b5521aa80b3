"""The Harary graph: its numbers by another calculation, its order by everyone's part, and attacks along its edges."""

from __future__ import annotations

import hashlib
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.unit.coterie_worker.secagg.refusal import VICTIM, refuses
from tests.unit.coterie_worker.secagg.simulation import (
    MASKED_POLICY,
    World,
    identity,
    model_of,
    parameters_for,
    plain_sum,
    seeded,
    tampered,
)

from coterie_worker.secagg import ClientEpoch, Stage, TooFewSurvivors, errors, graph
from coterie_worker.secagg import parameters as rules
from coterie_worker.secagg.contexts import graph_seed
from coterie_worker.secagg.graph import Degree, Graph, complete, degree_for, sparse
from coterie_worker.secagg.memory import MAX_GRAPHS, ClientMemory
from coterie_worker.secagg.messages import (
    AdvertSet,
    Delivery,
    EpochStart,
    GraphParts,
    Survivors,
    UnmaskRequest,
    decode_message,
    encode_message,
)

if TYPE_CHECKING:
    from collections.abc import Callable

N, K, T = 24, 8, 6


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The protocol with a graph on 24 clients; its bounds mean nothing at this size."""
    monkeypatch.setattr(rules, "COMPLETE_UP_TO", 10)
    monkeypatch.setattr(graph, "degree_for", lambda *_: Degree(K, T))


def made(n: int = N, *parts: bytes) -> Graph:
    shares = parts or tuple(hashlib.sha256(b"part%d" % i).digest() for i in range(n))
    return sparse(range(n), 3, n, graph_seed(bytes(32), enumerate(shares)))


@pytest.mark.usefixtures("small")
def test_everybody_has_k_neighbors_edges_go_both_ways_and_holders_are_the_neighbors_and_oneself() -> None:
    one = made()
    for i in range(N):
        near = one.neighbors_of(i)
        assert len(near) == K
        assert i not in near
        assert all(i in one.neighbors_of(j) for j in near)
        assert one.holders(i) == tuple(sorted(near | {i}))


@pytest.mark.usefixtures("small")
def test_taking_away_fewer_than_k_clients_never_divides_the_graph() -> None:
    one = made(14)
    for gone in combinations(range(14), 3):
        left = set(range(14)) - set(gone)
        seen, edge = set(), {min(left)}
        while edge:
            seen |= edge
            edge = {near for i in edge for near in one.neighbors_of(i) if near in left} - seen
        assert seen == left


@pytest.mark.usefixtures("small")
def test_every_part_changes_the_order_and_so_does_the_session() -> None:
    parts = [hashlib.sha256(b"part%d" % i).digest() for i in range(N)]
    orders = {made(N, *parts).order}
    for i in range(N):
        orders.add(made(N, *parts[:i], bytes(32), *parts[i + 1 :]).order)
    orders.add(sparse(range(N), 3, N, graph_seed(b"x" * 32, enumerate(parts))).order)

    assert len(orders) == N + 2
    assert all(sorted(order) == list(range(N)) for order in orders)


def test_where_no_sparse_graph_is_safe_everybody_is_a_neighbor() -> None:
    assert degree_for(30, 22) is None
    assert sparse(range(30), 22, 27, bytes(32)) == complete(range(30), 27)


def small_world(**options: Any) -> World:
    return World(parameters_for(N, colluders=3, **options))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("point", ["before upload", "before shares", "none"])
def test_the_sum_is_exact_with_drops_along_the_graph(point: str) -> None:
    world = small_world().set_up().open()
    lost = {3, 17}
    world.lose(lost if point == "before upload" else ())
    world.upload()
    world.send(world.server.close())
    outbox = world.server.close()
    world.lose(lost if point == "before shares" else ())
    world.send(outbox)
    total = world.finish()

    assert total.survivors == set(range(N)) - (lost if point == "before upload" else set())
    assert np.array_equal(total.sum, plain_sum(total.survivors))
    again = world.open(1).upload(slot=1).finish()
    assert np.array_equal(again.sum, plain_sum(again.survivors, 1))


@pytest.mark.usefixtures("small")
def test_a_client_masks_with_its_neighbors_and_holds_their_shares_only() -> None:
    world = small_world().set_up().open()
    client = world.clients[VICTIM]

    assert set(client._held[0]) == client._graph.neighbors_of(VICTIM) | {VICTIM}  # type: ignore[union-attr]
    assert len(client._mask_keys(client._opening, client._secrets.slots[0])[0]) <= K + 1


def at_parts() -> tuple[World, GraphParts]:
    world = small_world()
    world.send(world.server.start())
    world.send(world.server.close())
    message = decode_message(world.server.close()[VICTIM])
    assert isinstance(message, GraphParts)
    return world, message


PARTS: dict[str, Callable[[tuple[Any, ...]], tuple[Any, ...]]] = {
    "another part of a client in league": lambda p: (*p[:9], (9, bytes(32)), *p[10:]),
    "two parts exchanged": lambda p: ((0, p[1][1]), (1, p[0][1]), *p[2:]),
    "a part left out": lambda p: p[:-1],
    "a part twice": lambda p: (*p, p[-1]),
    "another order": lambda p: (p[1], p[0], *p[2:]),
    "a part of a stranger": lambda p: (*p, (N + 1, bytes(32))),
    "our own part changed": lambda p: ((0, bytes(32)), *p[1:]),
    "no parts": lambda _: (),
}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("change", PARTS)
def test_parts_other_than_those_committed_to_are_refused(change: str) -> None:
    world, message = at_parts()
    changed = PARTS[change](message.parts)
    refuses(world, encode_message(GraphParts(message.sid, changed)), errors.BadReveal)

    assert len(world.clients[VICTIM].receive(encode_message(message))) == 1


@pytest.mark.usefixtures("small")
def test_parts_of_another_session_or_a_second_set_are_refused() -> None:
    world, message = at_parts()
    refuses(world, encode_message(GraphParts(bytes(32), message.parts)), errors.WrongSession)
    world.clients[VICTIM].receive(encode_message(message))

    refuses(world, encode_message(GraphParts(message.sid, message.parts[:-1])), errors.Replayed)


@pytest.mark.usefixtures("small")
def test_every_message_of_the_set_up_gets_the_same_answer_again_also_once_a_slot_was_open() -> None:
    world, heard = small_world(), []
    client, send = world.clients[VICTIM], world.send

    def listen(outbox: dict[int, bytes]) -> None:
        payload = outbox.get(VICTIM)
        before = len(world.answered.get(VICTIM, []))
        send(outbox)
        heard.extend([(payload, tuple(world.answered[VICTIM][before:]))] if payload else [])

    world.send = listen  # type: ignore[method-assign]
    world.set_up()
    world.send = send  # type: ignore[method-assign]
    world.open().upload()

    assert [type(decode_message(payload)) for payload, _ in heard] == [EpochStart, AdvertSet, GraphParts, Delivery]
    assert all(client.receive(payload) == replies and replies for payload, replies in heard)
    parts = decode_message(heard[2][0])
    assert isinstance(parts, GraphParts)
    refuses(world, encode_message(GraphParts(parts.sid, parts.parts[:-1])), errors.Replayed)


@pytest.mark.usefixtures("small")
def test_a_client_that_withholds_its_part_loses_the_epoch_and_no_order_is_drawn_without_it() -> None:
    world = small_world()
    world.send(world.server.start())
    outbox = world.server.close()
    world.lose({7})
    world.send(outbox)
    with pytest.raises(TooFewSurvivors, match="parts of the graph's seed: 23 clients came, 24 are needed"):
        world.server.close()

    assert world.server.stage is Stage.FAILED


@pytest.mark.usefixtures("small")
def test_a_part_that_was_not_committed_to_names_its_client() -> None:
    world = small_world()
    world.send(world.server.start())
    outbox = world.server.close()
    (reply,) = world.clients[7].receive(outbox[7])
    with pytest.raises(errors.BadReveal) as raised:
        world.server.receive(7, tampered(reply, part=bytes(32)))

    assert raised.value.sender == 7


@pytest.mark.usefixtures("small")
def test_an_aggregator_that_draws_again_and_again_is_refused_until_a_sum_opens() -> None:
    memory = ClientMemory()
    for epoch in range(MAX_GRAPHS + 1):
        world = World(parameters_for(N, colluders=3), epoch=epoch)
        world.clients[VICTIM].memory = memory
        world.send(world.server.start())
        payload = world.server.close()[VICTIM]
        if epoch < MAX_GRAPHS:
            world.clients[VICTIM].receive(payload)
    refuses(world, payload, errors.TooManyGraphs, "16 orders were drawn and no sum opened")
    memory.remember(model_of(0), range(N))

    assert len(world.clients[VICTIM].receive(payload)) == 1


@pytest.mark.usefixtures("small")
def test_a_commitment_to_the_graph_is_needed_above_the_limit_and_refused_below() -> None:
    sparse_world, whole_world = small_world(), World(parameters_for(5))
    for world, commitment in ((sparse_world, b""), (whole_world, bytes(32))):
        (reply,) = world.clients[1].receive(world.server.start()[1])
        with pytest.raises(errors.BadAdvert, match="graph commitment"):
            world.server.receive(1, tampered(reply, graph_commitment=commitment))


@pytest.mark.usefixtures("small")
def test_a_victim_whose_neighbors_are_called_drops_is_not_opened_by_anyone() -> None:
    """The aggregator knows the graph before it says who dropped; every client, not the victim alone, refuses this set."""
    world = small_world().set_up().open().upload()
    near = sorted(world.clients[VICTIM]._graph.neighbors_of(VICTIM))[: K - T + 1]  # type: ignore[union-attr]
    uploads = world.server._uploads
    assert uploads is not None
    lie = encode_message(Survivors(world.server._sid, 0, tuple((i, *uploads.signed[i]) for i in range(N) if i not in near)))

    for i in range(N):
        if i in near:
            refuses(world, lie, errors.BadSurvivors, "did submit", victim=i)
        else:
            refuses(world, lie, errors.BelowThreshold, "survivors: one has 5 neighbors among them, at least 6", victim=i)


@pytest.mark.usefixtures("small")
def test_participants_that_isolate_one_of_them_are_refused() -> None:
    world = small_world().set_up()
    near = sorted(world.clients[VICTIM]._graph.neighbors_of(VICTIM))[: K - T + 1]  # type: ignore[union-attr]
    chosen = frozenset(range(N)) - set(near)
    with pytest.raises(TooFewSurvivors, match="neighbors of one client among the participants"):
        world.server.start_slot(0, model_of(0), chosen, 0, 13)
    header = decode_message(world.server.start_slot(0, model_of(0), frozenset(range(N)), 0, 13)[VICTIM])
    lie = tampered(encode_message(header), participants=tuple(sorted(chosen)))

    refuses(world, lie, errors.BelowThreshold, "participants: one has 5 neighbors")


@pytest.mark.usefixtures("small")
def test_a_slot_with_an_isolated_survivor_is_burnt_before_anyone_is_asked() -> None:
    world = small_world().set_up().open()
    near = sorted(world.clients[VICTIM]._graph.neighbors_of(VICTIM))[: K - T + 1]  # type: ignore[union-attr]
    world.lose(near)
    world.upload()
    with pytest.raises(TooFewSurvivors, match="neighbors of one client among the masked inputs: 5 clients came, 6"):
        world.server.close()

    assert world.server.stage is Stage.READY


@pytest.mark.usefixtures("small")
def test_a_quorum_of_one_neighborhood_reveals_nothing() -> None:
    """With a threshold of neighbors, two neighborhoods could sign two sets; the quorum is the roster's."""
    world = small_world().set_up().open().upload()
    world.send(world.server.close())
    message = decode_message(world.server.close()[VICTIM])
    assert isinstance(message, UnmaskRequest)
    near = world.clients[VICTIM]._graph.holders(VICTIM)  # type: ignore[union-attr]
    neighborhood = tuple((i, s) for i, s in sorted(world.server._signatures.items()) if i in near)  # type: ignore[union-attr]
    assert len(neighborhood) > T

    refuses(world, encode_message(UnmaskRequest(message.sid, 0, neighborhood)), errors.BelowThreshold, "at least 14 of the roster's 24")


@pytest.mark.usefixtures("small")
def test_a_delivery_from_a_client_that_is_no_neighbor_is_refused() -> None:
    world = small_world()
    world.send(world.server.start())
    world.send(world.server.close())
    world.send(world.server.close())
    message = decode_message(world.server.close()[VICTIM])
    near = {dealer for dealer, _ in message.sealed}  # type: ignore[union-attr]
    stranger = min(set(range(1, N)) - near)
    lie = tampered(encode_message(message), sealed=((stranger, message.sealed[0][1]), *message.sealed[1:]))  # type: ignore[union-attr]

    refuses(world, lie, errors.BadSurvivors, "expected distinct ones")


@pytest.mark.usefixtures("small")
def test_a_restarted_client_reveals_no_second_part_for_an_epoch() -> None:
    world = small_world()
    (start,) = {*world.server.start().values()}
    first = ClientEpoch(world.parameters, VICTIM, identity(VICTIM), MASKED_POLICY, seeded("first"))
    second = ClientEpoch(world.parameters, VICTIM, identity(VICTIM), MASKED_POLICY, seeded("second"))

    assert first.receive(start) != second.receive(start)
    assert decode_message(start) == EpochStart(1, 0)
