"""Set-up: forged, reused, reordered and weak keys are refused by the real client."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.unit.coterie_worker.secagg.refusal import VICTIM, advert_of, at_adverts, refuses
from tests.unit.coterie_worker.secagg.simulation import (
    MASKED_POLICY,
    World,
    identity,
    seeded,
)

from coterie_worker.secagg import ClientEpoch, errors
from coterie_worker.secagg.contexts import advert_context
from coterie_worker.secagg.messages import (
    Advert,
    AdvertSet,
    EpochStart,
    decode_message,
    encode_message,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def with_advert(payload: bytes, index: int, change: Callable[[Advert], Advert], *, signer: int | None = None) -> bytes:
    """The set with one advert changed, signed anew by `signer`'s identity if there is one (a client in league)."""
    adverts = list(decode_message(payload).adverts)  # type: ignore[union-attr]
    advert = change(decode_message(adverts[index]))  # type: ignore[arg-type]
    if signer is not None:
        advert = replace(advert, signature=identity(signer).sign(advert_context(advert)))
    adverts[index] = encode_message(advert)
    return encode_message(AdvertSet(tuple(adverts)))


LOW_ORDER = {
    "zero": bytes(32),
    "one": (1).to_bytes(32, "little"),
    "minus one": (2**255 - 20).to_bytes(32, "little"),
    "order eight": bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    "order eight, too": bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    "the prime": (2**255 - 19).to_bytes(32, "little"),
    "the prime plus one": (2**255 - 18).to_bytes(32, "little"),
    "one with the top bit": (2**255 + 1).to_bytes(32, "little"),
}

FORGERIES: dict[str, tuple[Callable[[Advert], Advert], int | None, type[Exception]]] = {
    "a channel key of the aggregator's": (lambda a: replace(a, channel_key=seeded("evil")(31) + b"\1"), None, errors.BadSignature),
    "a signature of another tenant": (lambda a: a, 3, errors.BadSignature),
    "a seed commitment changed": (lambda a: replace(a, seed_commitments=bytes(64)), None, errors.BadSignature),
    "an advert of another epoch": (lambda a: replace(a, epoch=7), 2, errors.WrongSession),
    "an advert for other slots": (lambda a: replace(a, first_slot=9), 2, errors.WrongSession),
    "an advert of another job": (lambda a: replace(a, base=bytes(32)), 2, errors.WrongSession),
    "keys for fewer slots": (lambda a: replace(a, mask_keys=a.mask_keys[:32]), 2, errors.BadAdvert),
    "commitments for fewer slots": (lambda a: replace(a, seed_commitments=a.seed_commitments[:32]), 2, errors.BadAdvert),
    "one key for two slots": (lambda a: replace(a, mask_keys=a.mask_keys[:32] * 2), 2, errors.BadAdvert),
    "a channel key used as mask key": (lambda a: replace(a, channel_key=a.mask_keys[:32]), 2, errors.BadAdvert),
    "one commitment for two slots": (lambda a: replace(a, seed_commitments=a.seed_commitments[:32] * 2), 2, errors.BadAdvert),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_advert_is_refused(forgery: str) -> None:
    world, payload = at_adverts()
    change, signer, error = FORGERIES[forgery]

    refuses(world, with_advert(payload, 2, change, signer=signer), error, "clients? 2")


@pytest.mark.parametrize("key", LOW_ORDER)
@pytest.mark.parametrize("place", ["channel", "mask"])
def test_a_key_of_low_order_or_with_two_encodings_is_refused_even_if_its_tenant_signs_it(key: str, place: str) -> None:
    world, payload = at_adverts()
    bad = LOW_ORDER[key]

    def change(advert: Advert) -> Advert:
        return replace(advert, channel_key=bad) if place == "channel" else replace(advert, mask_keys=advert.mask_keys[:32] + bad)

    refuses(world, with_advert(payload, 2, change, signer=2), errors.BadAdvert, "client 2")


def test_a_key_of_another_client_is_refused() -> None:
    world, payload = at_adverts()
    stolen = advert_of(payload, 1).mask_keys

    refuses(world, with_advert(payload, 2, lambda a: replace(a, mask_keys=stolen), signer=2), errors.BadAdvert, "same key")


def test_our_own_advert_missing_changed_or_from_an_earlier_epoch_is_refused() -> None:
    world, payload = at_adverts()
    adverts = decode_message(payload).adverts  # type: ignore[union-attr]
    refuses(world, encode_message(AdvertSet(adverts[1:])), errors.BadAdvert, "missing or changed")
    old = World(world.parameters)
    old.clients[VICTIM] = ClientEpoch(world.parameters, VICTIM, identity(VICTIM), MASKED_POLICY, seeded("an earlier process"))
    old.send(old.server.start())
    stale = decode_message(old.server.close()[VICTIM]).adverts[VICTIM]  # type: ignore[union-attr]

    refuses(world, encode_message(AdvertSet((stale, *adverts[1:]))), errors.BadAdvert, "missing or changed")


@pytest.mark.parametrize("order", [(1, 0, 2, 3, 4), (0, 1, 2, 3, 3), (0, 1, 1, 2, 3)])
def test_reordered_or_repeated_adverts_are_refused(order: tuple[int, ...]) -> None:
    world, payload = at_adverts()
    adverts = decode_message(payload).adverts  # type: ignore[union-attr]

    refuses(world, encode_message(AdvertSet(tuple(adverts[i] for i in order))), errors.BadAdvert, "must ascend")


def test_fewer_adverts_than_the_least_survivors_are_refused() -> None:
    world, payload = at_adverts()
    adverts = decode_message(payload).adverts  # type: ignore[union-attr]

    refuses(world, encode_message(AdvertSet(adverts[:3])), errors.BelowThreshold, "adverts: 3, at least 4")


def test_an_extra_tenant_is_refused() -> None:
    world, payload = at_adverts()
    adverts = decode_message(payload).adverts  # type: ignore[union-attr]
    sybil = replace(advert_of(payload, 4), index=5, channel_key=seeded("sybil")(31) + b"\1")
    sybil = replace(sybil, signature=identity(5).sign(advert_context(sybil)))

    refuses(world, encode_message(AdvertSet((*adverts, encode_message(sybil)))), errors.BadAdvert, "the roster has 5 members")


def test_a_swapped_tenant_is_refused() -> None:
    world, payload = at_adverts()
    swapped = with_advert(payload, 2, lambda a: a, signer=99)

    refuses(world, swapped, errors.BadSignature, "pinned roster")


def test_something_else_in_the_set_is_refused() -> None:
    world, payload = at_adverts()
    adverts = decode_message(payload).adverts  # type: ignore[union-attr]

    refuses(world, encode_message(AdvertSet((*adverts, encode_message(EpochStart(1, 0))))), errors.BadAdvert, "EpochStart")
    refuses(world, encode_message(AdvertSet((*adverts, b"\xff"))), errors.NotCanonical)


def test_a_second_set_of_adverts_is_refused_and_the_first_is_answered_the_same_again() -> None:
    world, payload = at_adverts()
    first = world.clients[VICTIM].receive(payload)
    adverts = decode_message(payload).adverts  # type: ignore[union-attr]
    refuses(world, encode_message(AdvertSet(adverts[:4])), errors.Replayed)

    assert world.clients[VICTIM].receive(payload) == first
