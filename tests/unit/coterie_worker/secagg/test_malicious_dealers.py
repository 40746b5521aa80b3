"""Dealers that lie: told apart from holders by their own commitments, named, and left out of the next epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.unit.coterie_worker.secagg.simulation import (
    MASKED_POLICY,
    World,
    identity,
    parameters_for,
    plain_sum,
    seeded,
    tampered,
)
from tests.unit.coterie_worker.secagg.test_malicious_clients import CHEAT, replies_at

from coterie_worker.secagg import ClientEpoch, DealerCheated, Stage, TooFewSurvivors, dealing, errors
from coterie_worker.secagg.field import PRIME
from coterie_worker.secagg.messages import (
    Dealing,
    Message,
    Revealed,
    decode_message,
)
from coterie_worker.secagg.shamir import split

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from coterie_worker.secagg.keys import Entropy


class Liar(ClientEpoch):
    """A client whose dealing is changed before it is signed."""

    splits: Callable[[bytes, int, Sequence[int], Entropy], list[int]] = staticmethod(split)
    spoils: frozenset[int] = frozenset()

    def _share(self, adverts: Any, graph: Any) -> tuple[Message, ...]:
        before, dealing.split_many = dealing.split_many, lambda secrets, *rest: [self.splits(secret, *rest) for secret in secrets]
        try:
            (honest,) = super()._share(adverts, graph)
        finally:
            dealing.split_many = before
        assert isinstance(honest, Dealing)
        sealed = tuple((h, bytes(len(box)) if h in self.spoils else box, row) for h, box, row in honest.sealed)
        return (Dealing(honest.sid, sealed, self._identity.sign(dealing.dealing_context(honest.sid, self.index, sealed))),)


def with_liar(n: int, *, least: int = 3, who: Sequence[int] = (CHEAT,), colluders: int | None = None, **lies: Any) -> World:
    world = World(parameters_for(n, least=least, colluders=colluders))
    for index in who:
        liar = Liar(world.parameters, index, identity(index), MASKED_POLICY, seeded("liar", index))
        for name, lie in lies.items():
            setattr(liar, name, lie)
        world.clients[index] = liar
    return world


def test_a_dealer_of_garbage_is_left_out_and_the_others_go_on() -> None:
    world = with_liar(6, spoils=frozenset({0, 1, 3})).set_up()
    assert world.server.live == {0, 1, 3, 4, 5}
    assert world.server.unusable == {CHEAT}  # type: ignore[union-attr]
    world.gone.add(CHEAT)

    assert np.array_equal(world.open().upload().finish().sum, plain_sum({0, 1, 3, 4, 5}))


def test_a_dealer_of_one_garbage_share_takes_part_and_can_be_opened() -> None:
    world = with_liar(6, spoils=frozenset({0})).set_up()
    assert isinstance(world.clients[0].complaints[CHEAT], errors.BadSeal)  # type: ignore[union-attr]
    world.open()
    world.lose({CHEAT})

    assert np.array_equal(world.upload().finish().sum, plain_sum({0, 1, 3, 4, 5}))


def test_a_dealer_of_garbage_that_can_not_be_spared_loses_the_epoch() -> None:
    world = with_liar(5, least=5, spoils=frozenset({0, 1}))
    with pytest.raises(TooFewSurvivors, match="usable dealings: 4 clients came, 5 are needed"):
        world.set_up()

    assert world.server.stage is Stage.FAILED


def of_another_secret(secret: bytes, threshold: int, holders: Sequence[int], entropy: Entropy) -> list[int]:
    return split(bytes(31) + b"\7", threshold, holders, entropy)


def with_one_bad_share(secret: bytes, threshold: int, holders: Sequence[int], entropy: Entropy) -> list[int]:
    first, *rest = split(secret, threshold, holders, entropy)
    return [(first + 1) % PRIME, *rest]


def of_a_secret_too_large(secret: bytes, threshold: int, holders: Sequence[int], entropy: Entropy) -> list[int]:
    return [PRIME - 1 for _ in holders]


@pytest.mark.parametrize("lie", [of_another_secret, of_a_secret_too_large])
@pytest.mark.parametrize(("lost", "what"), [(set(), "self-mask seed"), ({CHEAT}, "mask key")])
def test_a_dealer_of_shares_of_another_secret_is_named_and_the_slot_burnt(lie: Any, lost: set[int], what: str) -> None:
    world = with_liar(6, splits=lie).set_up().open()
    world.lose(lost)
    world.upload()
    with pytest.raises(DealerCheated, match=f"client 2 dealt shares of another {what}") as raised:
        world.finish()

    assert raised.value.dealers == {CHEAT}
    assert len(raised.value.proofs) == 1 - len(lost), "of a dealer that dropped, no sum is open"
    assert world.server.cheaters == {CHEAT}  # type: ignore[union-attr]
    assert world.server.stage is Stage.READY


def test_a_dealer_of_one_inconsistent_share_is_named_and_the_sum_opens_all_the_same() -> None:
    world = with_liar(6, splits=with_one_bad_share).set_up().open().upload()

    assert np.array_equal(world.finish().sum, plain_sum(range(6)))
    assert world.server.cheaters == {CHEAT}  # type: ignore[union-attr]


def test_a_dealer_that_cheated_is_left_out_and_the_next_epoch_opens_without_it() -> None:
    world = with_liar(6, splits=of_another_secret).set_up().open().upload()
    with pytest.raises(DealerCheated) as raised:
        world.finish()
    rest = set(range(6)) - raised.value.dealers
    again = World(world.parameters, members=rest, epoch=2, first_slot=2).set_up().open(2).upload(slot=2)

    assert np.array_equal(again.finish().sum, plain_sum(rest, 2))


def test_a_dealer_and_a_holder_that_lie_are_told_apart() -> None:
    """The same bytes at R3 are the holder's lie where the dealer's commitment differs, and the dealer's where it agrees."""
    world, replies = replies_at(Stage.UNMASK)
    message = decode_message(replies[CHEAT])
    assert isinstance(message, Revealed)
    with pytest.raises(errors.BadShare) as lied:
        world.server.receive(CHEAT, tampered(replies[CHEAT], shares=((0, (7).to_bytes(33)), *message.shares[1:])))
    dealt = with_liar(6, splits=of_another_secret).set_up().open().upload()
    with pytest.raises(DealerCheated) as dealer:
        dealt.finish()

    assert lied.value.sender == CHEAT
    assert dealer.value.dealers == {CHEAT}


def test_all_dealers_that_cheated_are_found_in_one_slot() -> None:
    world = with_liar(9, who=(2, 5, 7), colluders=0, splits=of_another_secret).set_up().open()
    world.lose({7})
    world.upload()
    with pytest.raises(DealerCheated, match=r"client 2 .* seed .*; client 5 .* seed .*; client 7 .* mask key") as raised:
        world.finish()

    assert raised.value.dealers == {2, 5, 7}
    assert [decode_message(proof).dealer for proof in raised.value.proofs] == [2, 5]  # type: ignore[union-attr]


def test_a_dealer_of_one_inconsistent_share_is_excluded_too_once_the_slot_is_burnt() -> None:
    world = with_liar(6, who=(2, 3), colluders=0, splits=with_one_bad_share)
    world.clients[3].splits = of_another_secret  # type: ignore[union-attr]
    world.set_up().open().upload()
    with pytest.raises(DealerCheated) as raised:
        world.finish()

    assert raised.value.dealers == {2, 3}
