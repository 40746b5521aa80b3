"""The real client against an aggregator that lies: it refuses by name, stays as it was, and reveals nothing."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
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

from coterie_api.podconfig import TenantPolicy
from coterie_worker.secagg import ClientEpoch, ClientStage, Member, Stage, errors
from coterie_worker.secagg.contexts import advert_context, consistency_context, header_hash, upload_context
from coterie_worker.secagg.messages import (
    Advert,
    AdvertSet,
    Consistent,
    Delivery,
    EpochStart,
    Revealed,
    SlotStart,
    Survivors,
    UnmaskRequest,
    decode_message,
    encode_message,
)

if TYPE_CHECKING:
    from collections.abc import Callable

VICTIM = 0


def refuses(world: World, payload: bytes, error: type[Exception], match: str | None = None, *, victim: int = VICTIM) -> None:
    """The victim refuses the payload with exactly this error, and nothing about it changed."""
    client = world.clients[victim]
    before = (client.stage, client.header, client.last_slot)
    with pytest.raises(error, match=match) as raised:
        client.receive(payload)

    assert type(raised.value) is error
    assert (client.stage, client.header, client.last_slot) == before


# --- S1: adverts ---------------------------------------------------------------------------------------------------------


def at_adverts(**options: Any) -> tuple[World, bytes]:
    world = World(parameters_for(5, **options))
    world.send(world.server.start())
    return world, world.server.close()[VICTIM]


def with_advert(payload: bytes, index: int, change: Callable[[Advert], Advert], *, signer: int | None = None) -> bytes:
    """The set with one advert changed, signed anew by `signer`'s identity if there is one (a client in league)."""
    adverts = list(decode_message(payload).adverts)  # type: ignore[union-attr]
    advert = change(decode_message(adverts[index]))  # type: ignore[arg-type]
    if signer is not None:
        advert = replace(advert, signature=identity(signer).sign(advert_context(advert)))
    adverts[index] = encode_message(advert)
    return encode_message(AdvertSet(tuple(adverts)))


def advert_of(payload: bytes, index: int) -> Advert:
    advert = decode_message(decode_message(payload).adverts[index])  # type: ignore[union-attr]
    assert isinstance(advert, Advert)
    return advert


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


# --- S1: sealed shares ---------------------------------------------------------------------------------------------------


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


def test_shares_of_another_session_do_not_open() -> None:
    world, message, _ = at_delivery()
    other = World(world.parameters, epoch=2)
    other.send(other.server.start())
    other.send(other.server.close())
    foreign = decode_message(other.server.close()[VICTIM])

    refuses(world, encode_message(replace(message, sealed=foreign.sealed)), errors.BadSeal)  # type: ignore[union-attr]


# --- R0: headers ---------------------------------------------------------------------------------------------------------

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


# --- R1: masking ---------------------------------------------------------------------------------------------------------


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
        with pytest.raises(errors.BadVector, match="expected a contiguous, writable"):
            fine.mask(bad)

    assert fine.mask(vector_of(1))[0].shape == (13,)


# --- R2: survivors -------------------------------------------------------------------------------------------------------


def at_survivors(submitted: set[int] | None = None, n: int = 6) -> tuple[World, bytes]:
    world = ready(n).open()
    world.upload(submitted)
    return world, world.server.close()[VICTIM]


def survivors_with(payload: bytes, change: Callable[[list[Any]], list[Any]]) -> bytes:
    message = decode_message(payload)
    return tampered(payload, uploads=tuple(change(list(message.uploads))))  # type: ignore[union-attr]


def entry(world: World, index: int, *, signer: int | None = None, header: SlotStart | None = None) -> tuple[int, bytes, bytes]:
    """A survivor's entry, signed by a client in league with the aggregator."""
    signed = upload_context(header_hash(header or world.server.header), index, bytes(32))  # type: ignore[arg-type]
    return index, bytes(32), identity(index if signer is None else signer).sign(signed)


def test_survivors_below_the_threshold_are_refused() -> None:
    world, payload = at_survivors()

    refuses(world, survivors_with(payload, lambda u: u[:3]), errors.BelowThreshold, "survivors: 3, at least 4")


SETS: dict[str, Callable[[list[Any]], list[Any]]] = {
    "a survivor twice": lambda u: [*u[:2], u[1], *u[2:]],
    "survivors out of order": lambda u: [u[1], u[0], *u[2:]],
    "an unknown survivor": lambda u: [*u, (7, *u[5][1:])],
    "ourselves left out": lambda u: u[1:],
    "our vector exchanged": lambda u: [(0, bytes(32), u[0][2]), *u[1:]],
}


@pytest.mark.parametrize("change", SETS)
def test_an_impossible_set_of_survivors_is_refused(change: str) -> None:
    world, payload = at_survivors()
    refuses(world, survivors_with(payload, SETS[change]), errors.BadSurvivors)

    assert len(world.clients[VICTIM].receive(payload)) == 1


def test_a_set_that_claims_a_vector_that_we_did_not_send_is_refused() -> None:
    world, payload = at_survivors({1, 2, 3, 4, 5})

    refuses(world, survivors_with(payload, lambda u: [entry(world, 0), *u]), errors.BadSurvivors, "did not submit")


def test_signatures_that_are_missing_another_clients_or_over_another_vector_are_refused() -> None:
    world, payload = at_survivors()
    for bad in (bytes(64), entry(world, 3, signer=4)[2], entry(world, 3)[2]):
        refuses(world, survivors_with(payload, lambda u, bad=bad: [*u[:3], (3, u[3][1], bad), *u[4:]]), errors.BadSignature, "client 3")


def test_victims_of_another_model_find_out_before_anyone_signs() -> None:
    """Two victims get another model than the rest: no client accepts the others' signatures, so nothing opens."""
    world = ready(6)
    outbox = world.server.start_slot(0, model_of(0), world.server.live, 0, 13)
    for victim in (0, 1):
        outbox[victim] = tampered(outbox[victim], model_hash=model_of(1))
    world.send(outbox)
    vectors = {i: world.mask(i) for i in (2, 3, 4, 5)}
    for victim in (0, 1):
        world.clients[victim].check_model(model_of(1))
        vectors[victim] = world.clients[victim].mask(vector_of(victim))
    for i in (2, 3, 4, 5):
        world.server.accept(i, *vectors[i])
    with pytest.raises(errors.BadSignature):
        world.server.accept(0, *vectors[0])
    payload = world.server.close()[2]
    lie = survivors_with(payload, lambda u: [entry(world, 0), entry(world, 1), *u])

    refuses(world, payload, errors.BadSurvivors, "did submit", victim=0)
    refuses(world, lie, errors.BadSurvivors, victim=0)
    for victim in (0, 1):
        header = replace(world.server.header, model_hash=model_of(1))
        victims_view = survivors_with(
            payload, lambda u, header=header: [entry(world, 0, header=header), entry(world, 1, header=header), *u]
        )
        refuses(world, victims_view, errors.BadSurvivors, victim=victim)


def test_masks_under_two_headers_do_not_cancel() -> None:
    """The reason that keys depend on the header: even with all secrets, a victim's vector does not come out alone."""
    world = ready(4)
    outbox = world.server.start_slot(0, model_of(0), world.server.live, 0, 13)
    outbox[0] = tampered(outbox[0], model_hash=model_of(1))
    world.send(outbox)
    world.clients[0].check_model(model_of(1))
    total = world.clients[0].mask(vector_of(0))[0]
    for i in (1, 2, 3):
        total += world.mask(i)[0]
    honest = ready(4).open()
    sum_under_one_header = sum((honest.mask(i)[0] for i in range(4)), np.zeros(13, np.uint32))

    assert not np.array_equal(total - sum_under_one_header, np.zeros(13, np.uint32))


def test_signatures_of_an_earlier_slot_are_refused() -> None:
    world = ready(5).open().upload()
    earlier = decode_message(world.server.close()[VICTIM])
    world = ready(5)
    world.open(1).upload(slot=1)
    payload = world.server.close()[VICTIM]
    own = decode_message(payload).uploads[VICTIM]  # type: ignore[union-attr]
    replayed = tampered(payload, uploads=(own, *earlier.uploads[1:]))  # type: ignore[union-attr]

    refuses(world, replayed, errors.BadSignature)


def test_survivors_of_another_slot_or_session_are_refused() -> None:
    world, payload = at_survivors()
    refuses(world, tampered(payload, slot=1), errors.StaleSlot)
    refuses(world, tampered(payload, sid=bytes(32)), errors.WrongSession)


def test_a_client_signs_one_set_of_survivors_per_slot() -> None:
    world, payload = at_survivors()
    signed = world.clients[VICTIM].receive(payload)
    refuses(world, survivors_with(payload, lambda u: u[:5]), errors.Replayed)

    assert world.clients[VICTIM].receive(payload) == signed


def test_an_aggregator_that_forgot_what_it_froze_gets_no_second_set() -> None:
    """Restart between freezing and unmasking: a smaller set is refused by all, so it has no quorum."""
    world, _ = at_survivors()
    world.send(dict(encode_survivors(world, range(6)).items()))
    for i, payload in encode_survivors(world, range(5)).items():
        if i < 5:
            refuses(world, payload, errors.Replayed, victim=i)


def encode_survivors(world: World, survivors: range) -> dict[int, bytes]:
    uploads = world.server._uploads
    assert uploads is not None
    message = Survivors(world.server._sid, 0, tuple((i, *uploads.signed[i]) for i in survivors))
    return {i: encode_message(message) for i in range(6)}


def test_two_sums_over_one_model_that_differ_by_few_clients_are_refused() -> None:
    world = ready(6).open().upload()
    world.finish()
    world.lose({5})
    world.send(world.server.start_slot(1, model_of(0), world.server.live, 0, 13))
    for i in range(5):
        world.clients[i].check_model(model_of(0))
        world.server.accept(i, *world.clients[i].mask(vector_of(i)))
    payload = world.server.close()[VICTIM]

    refuses(world, payload, errors.BadSurvivors, "differ from those of an opened sum over the same model by 1")


# --- R3: unmasking -------------------------------------------------------------------------------------------------------


def at_unmask() -> tuple[World, UnmaskRequest, dict[int, bytes]]:
    world = ready(6).open()
    world.lose({5})
    world.upload()
    world.send(world.server.close())
    outbox = world.server.close()
    message = decode_message(outbox[VICTIM])
    assert isinstance(message, UnmaskRequest)
    return world, message, outbox


def signature_over(
    world: World, signer: int, *, survivors: tuple[int, ...] = (0, 1, 2, 3, 4), header: SlotStart | None = None
) -> tuple[int, bytes]:
    return signer, identity(signer).sign(consistency_context(header_hash(header or world.server.header), survivors))  # type: ignore[arg-type]


def test_fewer_signatures_than_a_quorum_of_the_roster_are_refused() -> None:
    world, message, _ = at_unmask()

    refuses(
        world,
        encode_message(replace(message, signatures=message.signatures[:3])),
        errors.BelowThreshold,
        "signers: 3, at least 4 of the roster's 6",
    )


def test_the_quorum_counts_the_roster_not_those_who_came() -> None:
    world = World(parameters_for(9, slots=1), members=range(6)).set_up().open().upload()
    assert world.parameters.quorum == 6
    world.send(world.server.close())
    message = decode_message(world.server.close()[VICTIM])

    refuses(world, encode_message(replace(message, signatures=message.signatures[:5])), errors.BelowThreshold, "at least 6")  # type: ignore[union-attr, arg-type]


def test_repeated_unordered_or_unknown_signers_are_refused() -> None:
    world, message, _ = at_unmask()
    s = message.signatures
    for signatures in ((s[0], s[1], s[1], s[2]), (s[1], s[0], s[2], s[3]), (*s[:3], (9, s[3][1]))):
        refuses(world, encode_message(replace(message, signatures=signatures)), errors.BadSurvivors, "signers")


def test_signatures_over_other_survivors_or_another_header_are_refused() -> None:
    world, message, _ = at_unmask()
    assert world.server.header is not None
    other = replace(world.server.header, model_hash=model_of(1))
    for lie in (
        signature_over(world, 3, survivors=(0, 1, 2, 3, 5)),
        signature_over(world, 3, header=other),
        (3, signature_over(world, 4)[1]),
        (3, bytes(64)),
    ):
        refuses(world, encode_message(replace(message, signatures=(*message.signatures[:3], lie))), errors.BadSignature, "client 3")


def test_of_two_sets_of_survivors_in_one_slot_at_most_one_opens() -> None:
    """Three clients sign one set, two another, and the colluder (5) signs both: the two reveal nothing."""
    world = ready(6).open().upload()
    survivors = {0: range(6), 1: range(6), 2: range(6), 3: range(5), 4: range(5)}
    collected: dict[range, list[tuple[int, bytes]]] = {range(6): [], range(5): []}
    for i, chosen in survivors.items():
        (reply,) = world.clients[i].receive(encode_survivors(world, chosen)[i])
        consistent = decode_message(reply)
        assert isinstance(consistent, Consistent)
        collected[chosen].append((i, consistent.signature))
    for chosen, signatures in collected.items():
        signatures.append(signature_over(world, 5, survivors=tuple(chosen)))
    everyone = tuple(sorted({**dict(collected[range(6)]), **dict(collected[range(5)])}.items()))
    requests = {chosen: encode_message(UnmaskRequest(world.server._sid, 0, tuple(signed))) for chosen, signed in collected.items()}

    for i in (3, 4):
        refuses(world, requests[range(5)], errors.BelowThreshold, "signers: 3, at least 4", victim=i)
        refuses(world, requests[range(6)], errors.BadSignature, victim=i)
        refuses(world, encode_message(UnmaskRequest(world.server._sid, 0, everyone)), errors.BadSignature, victim=i)
    for i in (0, 1, 2):
        refuses(world, requests[range(5)], errors.BelowThreshold, victim=i)
        assert len(world.clients[i].receive(requests[range(6)])) == 1


def test_nothing_is_revealed_before_survivors_were_signed() -> None:
    world = ready(6).open().upload()
    request = UnmaskRequest(world.server._sid, 0, tuple(signature_over(world, i, survivors=tuple(range(6))) for i in range(6)))

    refuses(world, encode_message(request), errors.Unexpected)


def test_an_identical_unmask_request_gets_the_identical_answer_and_a_different_one_none() -> None:
    world, message, outbox = at_unmask()
    first = world.clients[VICTIM].receive(outbox[VICTIM])
    assert world.clients[VICTIM].receive(outbox[VICTIM]) == first

    refuses(world, encode_message(replace(message, signatures=(*message.signatures, signature_over(world, 4)))), errors.Replayed)
    refuses(world, encode_message(replace(message, slot=1)), errors.StaleSlot)


def test_a_revelation_holds_one_share_per_participant_of_the_kind_that_its_fate_asks_for() -> None:
    world, _, outbox = at_unmask()
    held = world.clients[VICTIM]._held[0]
    (reply,) = world.clients[VICTIM].receive(outbox[VICTIM])
    revealed = decode_message(reply)
    assert isinstance(revealed, Revealed)

    assert [dealer for dealer, _ in revealed.shares] == [0, 1, 2, 3, 4, 5]
    for pair in held.values():
        for kind in (0, 1):
            with pytest.raises(errors.KeyUsed):
                pair._shares[list(pair._shares)[kind]].take()


def test_a_client_that_dropped_out_of_a_sum_does_not_reveal_its_own_mask_key() -> None:
    world = ready(6).open().upload({1, 2, 3, 4, 5})
    world.finish()
    revealed = decode_message(world.answered[VICTIM][-1])
    assert isinstance(revealed, Revealed)

    assert [dealer for dealer, _ in revealed.shares] == [1, 2, 3, 4, 5]


def test_a_later_header_erases_the_secrets_of_every_earlier_slot() -> None:
    world, _message, outbox = at_unmask()
    header = replace(world.server.header, slot=1, model_hash=model_of(1))
    world.clients[VICTIM].receive(encode_message(header))

    refuses(world, outbox[VICTIM], errors.Unexpected)
    assert set(world.clients[VICTIM]._held) == {1}
    with pytest.raises(errors.KeyUsed):
        world.clients[VICTIM]._secrets.slots[0].seed.take()


# --- the whole -----------------------------------------------------------------------------------------------------------


def test_messages_of_other_roles_and_stages_are_refused() -> None:
    world = ready(5).open()
    for message in (Consistent(bytes(32), 0, bytes(64)), Revealed(bytes(32), 0, ()), advert_of(at_adverts()[1], 1)):
        refuses(world, encode_message(message), errors.Unexpected)


@pytest.mark.parametrize("payload", [b"", b"\x00", b"\x80", b"\xa0", b"\x83\x01\x09", b"\xff" * 40])
def test_bytes_that_are_no_message_are_refused(payload: bytes) -> None:
    world = ready(5)
    with pytest.raises(errors.Malformed):
        world.clients[VICTIM].receive(payload)

    assert world.clients[VICTIM].stage is ClientStage.READY


WEAK: dict[str, tuple[dict[str, Any], TenantPolicy, type[Exception], str]] = {
    "a threshold of one": ({"threshold": 1}, TenantPolicy(), errors.InvalidParameters, "threshold: 1, allowed is 4 to 5"),
    "a threshold for fewer colluders": ({"threshold": 3}, TenantPolicy(), errors.InvalidParameters, "threshold: 3"),
    "two survivors": ({"min_survivors": 2, "colluders": 0, "threshold": 3}, TenantPolicy(), errors.InvalidParameters, "least survivors: 2"),
    "survivors below the threshold": (
        {"min_survivors": 3},
        TenantPolicy(),
        errors.InvalidParameters,
        "least survivors: 3, allowed is 4 to 5",
    ),
    "survivors below c + 2": (
        {"colluders": 3, "threshold": 5, "min_survivors": 4},
        TenantPolicy(),
        errors.InvalidParameters,
        "least survivors",
    ),
    "all but one collude": ({"colluders": 4, "threshold": 5, "min_survivors": 5}, TenantPolicy(), errors.InvalidParameters, "colluders: 4"),
    "another ring": ({"ring_bits": 16}, TenantPolicy(), errors.InvalidParameters, "ring bits: 16, allowed is 32"),
    "no scale": ({"scale": 0}, TenantPolicy(), errors.InvalidParameters, "scale: 0"),
    "a tenant that wants more clients": ({}, TenantPolicy(min_clients=5), errors.PolicyRefused, "least survivors: 4, .* requires 5"),
    "a tenant that wants a higher threshold": ({}, TenantPolicy(threshold=5), errors.PolicyRefused, "threshold: 4, .* requires 5"),
}


@pytest.mark.parametrize("weakness", WEAK)
def test_a_job_weaker_than_the_rules_or_the_tenants_policy_never_starts(weakness: str) -> None:
    changes, policy, error, match = WEAK[weakness]
    with pytest.raises(error, match=match):
        ClientEpoch(parameters_for(5, **changes), VICTIM, identity(VICTIM), policy, seeded())


def test_a_roster_that_pins_another_key_at_our_place_is_refused() -> None:
    parameters = parameters_for(5)
    with pytest.raises(errors.InvalidParameters, match="identity key"):
        ClientEpoch(parameters, VICTIM, identity(1), MASKED_POLICY, seeded())
    with pytest.raises(errors.InvalidParameters, match="identity key"):
        ClientEpoch(parameters, 5, identity(5), MASKED_POLICY, seeded())


def test_a_roster_with_a_tenant_or_key_twice_is_refused() -> None:
    parameters = parameters_for(5)
    fresh = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    for entry_ in (Member("tenant-1", fresh), Member("tenant-9", parameters.roster[1].public_key)):
        with pytest.raises(errors.InvalidParameters, match="in the roster twice"):
            ClientEpoch(replace(parameters, roster=(*parameters.roster[:4], entry_)), VICTIM, identity(VICTIM), MASKED_POLICY, seeded())


def test_a_swapped_roster_is_another_session() -> None:
    world, _ = at_adverts()
    parameters = world.parameters
    swapped = replace(parameters, roster=(*parameters.roster[:4], Member("tenant-4", identity(9).public_key().public_bytes_raw())))
    other = World(swapped, members=range(4))
    other.send(other.server.start())

    refuses(world, other.server.close()[VICTIM], errors.BadAdvert, "missing or changed")


def test_two_epochs_share_no_key() -> None:
    parameters = parameters_for(5)
    seen: set[bytes] = set()
    for epoch in (1, 2):
        world = World(parameters, epoch=epoch)
        world.send(world.server.start())
        payload = world.server.close()[VICTIM]
        keys = {key for i in range(5) for key in (advert_of(payload, i).channel_key, *_pieces(advert_of(payload, i).mask_keys))}

        assert len(keys) == 15
        assert not keys & seen
        seen |= keys


def _pieces(joined: bytes) -> list[bytes]:
    return [joined[at : at + 32] for at in range(0, len(joined), 32)]


def test_secrets_do_not_show_pickle_or_copy() -> None:
    world = ready(5).open()
    client = world.clients[VICTIM]
    secrets = client._secrets.slots[0]
    seed, private = bytes(secrets.seed._secret), bytes(secrets.mask_private._secret)
    shown = repr(client) + repr(client._secrets) + repr(client._held) + repr(vars(client))

    assert "hidden" in shown
    for hidden in (seed, private):
        assert repr(hidden) not in shown
        assert hidden.hex() not in shown
    for copier in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="never pickled or copied"):
            copier(secrets.seed)
