"""A job weaker than the rules or the tenant's policy never starts; secrets don't show."""

from __future__ import annotations

import base64
import copy
import pickle
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.unit.coterie_worker.secagg.refusal import VICTIM, advert_of, at_adverts, refuses
from tests.unit.coterie_worker.secagg.simulation import (
    MASKED_POLICY,
    World,
    identity,
    parameters_for,
    ready,
    seeded,
)

from coterie_api.podconfig import TenantPolicy
from coterie_worker.secagg import ClientEpoch, ClientStage, Member, PlainClient, check_policy, errors
from coterie_worker.secagg.messages import (
    Consistent,
    Revealed,
    encode_message,
)


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
    "another ring": ({"ring_bits": 24}, TenantPolicy(), errors.InvalidParameters, "ring bits: 24, allowed is 16 or 32"),
    "a scale beyond the ring": ({"scale": 2**31}, TenantPolicy(), errors.InvalidParameters, "scale"),
    "more slots than a message holds": ({"slots_per_epoch": 257}, TenantPolicy(), errors.InvalidParameters, "slots per epoch: 257"),
    "no scale": ({"scale": 0}, TenantPolicy(), errors.InvalidParameters, "scale: 0"),
    "a tenant that wants more clients": ({}, TenantPolicy(min_clients=5), errors.PolicyRefused, "least survivors: 4, .* requires 5"),
    "a tenant that wants a higher threshold": ({}, TenantPolicy(threshold=5), errors.PolicyRefused, "threshold: 4, .* requires 5"),
    "a tenant that fears more colluders": ({}, TenantPolicy(colluders=2), errors.PolicyRefused, "colluders: 1, .* requires 2"),
    "a tenant that wants a wider ring": (
        {"ring_bits": 16},
        TenantPolicy(ring_bits=32),
        errors.PolicyRefused,
        "ring bits: 16, .* requires 32",
    ),
    "a tenant that wants a coarser scale": ({}, TenantPolicy(scale=256), errors.PolicyRefused, "scale: 65536, .* allows 256"),
    "a tenant that wants a tighter clip": ({}, TenantPolicy(clip=1.0), errors.PolicyRefused, "clip: 6553.6, .* allows 1"),
}


@pytest.mark.parametrize("weakness", WEAK)
def test_a_job_weaker_than_the_rules_or_the_tenants_policy_never_starts(weakness: str) -> None:
    changes, policy, error, match = WEAK[weakness]
    with pytest.raises(error, match=match):
        ClientEpoch(parameters_for(5, **changes), VICTIM, identity(VICTIM), policy, seeded())


def known(n: int, **changes: str) -> dict[str, str]:
    roster = parameters_for(n).roster
    return {member.tenant: base64.b64encode(member.public_key).decode() for member in roster} | changes


INVENTED: dict[str, tuple[dict[str, str], str]] = {
    "a tenant that nobody knows": (known(4), "tenant-4 is in it, .* knows 4 tenants and not this one"),
    "a known tenant with another key": (known(5, **{"tenant-3": known(9)["tenant-8"]}), "tenant-3 has another public key"),
    "a known key under another name": (known(4, other=known(5)["tenant-4"]), "tenant-4 is in it"),
}


@pytest.mark.parametrize("how", INVENTED)
@pytest.mark.parametrize("kind", [ClientEpoch, PlainClient])
def test_a_roster_with_tenants_that_the_policy_does_not_know_is_refused(how: str, kind: type[ClientEpoch]) -> None:
    members, match = INVENTED[how]
    policy = TenantPolicy(secure_aggregation=kind is ClientEpoch, members=members)
    with pytest.raises(errors.PolicyRefused, match=match):
        kind(parameters_for(5), VICTIM, identity(VICTIM), policy, seeded())


def test_a_roster_of_known_tenants_may_lack_some() -> None:
    ClientEpoch(parameters_for(5), VICTIM, identity(VICTIM), TenantPolicy(members=known(7)), seeded())


def test_a_policy_is_named_by_whose_it_is() -> None:
    with pytest.raises(errors.PolicyRefused, match="least survivors: 4, my own requires 5"):
        check_policy(parameters_for(5), TenantPolicy(min_clients=5), masked=True, whose="my own")


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
