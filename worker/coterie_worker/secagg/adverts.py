"""S0: making, signing and verifying this epoch's public keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coterie_worker.secagg.contexts import advert_context, graph_commitment, graph_seed, seed_commitment
from coterie_worker.secagg.errors import BadAdvert, BadReveal, WrongSession
from coterie_worker.secagg.graph import Graph, sparse
from coterie_worker.secagg.keys import Entropy, OneUse, check_exchange_key, public_of, verify
from coterie_worker.secagg.messages import HASH_BYTES, KEY_BYTES, SEED_BYTES, Advert, EpochStart, decode_message

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from coterie_worker.secagg.parameters import SessionParameters


@dataclass(frozen=True, slots=True)
class SlotSecrets:
    """A client's two secrets of one slot. `seed` hides its own vector, `mask_private` makes the pairwise masks.

    Formal guarantees: each is taken once for dealing shares and once for masking (two one-use copies), then erased.
    """

    seed_to_deal: OneUse
    mask_private_to_deal: OneUse
    seed: OneUse
    mask_private: OneUse

    def erase(self) -> None:
        """Forget all of it."""
        for secret in (self.seed_to_deal, self.mask_private_to_deal, self.seed, self.mask_private):
            secret.erase()


@dataclass(frozen=True, slots=True)
class EpochSecrets:
    """What a client keeps of an epoch's start: in memory only, never checkpointed, gone with the process."""

    channel_private: OneUse
    slots: Mapping[int, SlotSecrets]
    graph_part: OneUse  # of a Harary graph's seed; becomes public once everyone has committed


def make_advert(
    parameters: SessionParameters, start: EpochStart, index: int, identity: Ed25519PrivateKey, entropy: Entropy
) -> tuple[EpochSecrets, Advert]:
    """Return fresh keys for every slot of the epoch, and their signed public half."""
    slots = range(start.first_slot, start.first_slot + parameters.slots_per_epoch)
    channel = entropy(KEY_BYTES)
    privates = [entropy(KEY_BYTES) for _ in slots]
    seeds = [entropy(SEED_BYTES) for _ in slots]
    commitments = [seed_commitment(parameters.base, start.epoch, index, slot, seed) for slot, seed in zip(slots, seeds, strict=True)]
    publics = b"".join(public_of(private) for private in privates)
    part = entropy(SEED_BYTES) if parameters.is_sparse else b""
    committed = graph_commitment(parameters.base, start.epoch, index, part) if parameters.is_sparse else b""
    facts = (parameters.base, start.epoch, start.first_slot, index, public_of(channel), publics, b"".join(commitments), committed)
    advert = Advert(*facts, signature=identity.sign(advert_context(Advert(*facts, signature=b""))))
    secrets = {slot: _slot_secrets(seed, private) for slot, seed, private in zip(slots, seeds, privates, strict=True)}
    return EpochSecrets(OneUse(channel, "channel key"), secrets, OneUse(part, "part of the graph's seed")), advert


def _slot_secrets(seed: bytes, private: bytes) -> SlotSecrets:
    return SlotSecrets(
        OneUse(seed, "self-mask seed"), OneUse(private, "mask key"), OneUse(seed, "self-mask seed"), OneUse(private, "mask key")
    )


@dataclass(frozen=True, slots=True)
class Adverts:
    """The verified adverts of an epoch: who takes part, with which keys, in which session."""

    by_index: Mapping[int, Advert]
    first_slot: int
    sid: bytes

    def mask_key(self, index: int, slot: int) -> bytes:
        """Return m_pk of a client's slot."""
        return _at(self.by_index[index].mask_keys, slot - self.first_slot)

    def seed_commitment(self, index: int, slot: int) -> bytes:
        """Return H(b) of a client's slot."""
        return _at(self.by_index[index].seed_commitments, slot - self.first_slot)


def _at(joined: bytes, place: int) -> bytes:
    return joined[place * KEY_BYTES : (place + 1) * KEY_BYTES]


def check_advert(parameters: SessionParameters, start: EpochStart, advert: Advert) -> None:
    """Raise unless the advert is the roster member's own, of this session and epoch, with well-formed keys.

    Raises: WrongSession, BadAdvert, BadSignature.
    """
    name = f"advert of client {advert.index}"
    if (advert.base, advert.epoch, advert.first_slot) != (parameters.base, start.epoch, start.first_slot):
        raise WrongSession(f"{name}: epoch {advert.epoch} from slot {advert.first_slot}, expected {start.epoch} from {start.first_slot}")
    if advert.index >= parameters.members:
        raise BadAdvert(f"{name}: the roster has {parameters.members} members")
    if not len(advert.mask_keys) == len(advert.seed_commitments) == parameters.slots_per_epoch * KEY_BYTES:
        raise BadAdvert(f"{name}: keys for {len(advert.mask_keys) // KEY_BYTES} slots, expected {parameters.slots_per_epoch}")
    if len(advert.graph_commitment) != (HASH_BYTES if parameters.is_sparse else 0):
        raise BadAdvert(f"{name}: a graph commitment of {len(advert.graph_commitment)} bytes")
    for key in exchange_keys(advert):
        check_exchange_key(key, what=name)
    verify(parameters.roster[advert.index].public_key, advert.signature, advert_context(advert), what=name)


def order_graph(parameters: SessionParameters, start: EpochStart, adverts: Adverts, parts: Sequence[tuple[int, bytes]]) -> Graph:
    """Return the graph that everyone's parts make, each checked against its advert.

    Raises: BadReveal unless there is exactly one part of each advertised client, ascending, as committed.
    """
    if [index for index, _ in parts] != sorted(adverts.by_index):
        raise BadReveal(f"graph: parts of {len(parts)} clients, expected one of each of {len(adverts.by_index)}, ascending")
    for index, part in parts:
        check_part(parameters, start, adverts.by_index[index], part)
    return sparse(adverts.by_index, parameters.colluders, parameters.threshold, graph_seed(adverts.sid, parts))


def check_part(parameters: SessionParameters, start: EpochStart, advert: Advert, part: bytes) -> None:
    """Raise BadReveal unless this is the part of the graph's seed that the advert committed to."""
    if graph_commitment(parameters.base, start.epoch, advert.index, part) != advert.graph_commitment:
        raise BadReveal(f"graph: the part of client {advert.index} is not the one that it committed to")


def exchange_keys(advert: Advert) -> Sequence[bytes]:
    """Return all X25519 keys of an advert, the channel's first."""
    return [advert.channel_key, *(_at(advert.mask_keys, place) for place in range(len(advert.mask_keys) // KEY_BYTES))]


def claim_values(advert: Advert, claimed: dict[bytes, int]) -> None:
    """Add an advert's keys and seed commitments to those already `claimed` (value -> client).

    Raises: BadAdvert if any occurs twice, in one advert or two; nothing is added.
    """
    commitments = [_at(advert.seed_commitments, place) for place in range(len(advert.seed_commitments) // HASH_BYTES)]
    values = [*exchange_keys(advert), *commitments]
    for place, value in enumerate(values):
        if value in claimed or value in values[:place]:
            owner = claimed.get(value, advert.index)
            raise BadAdvert(f"adverts of clients {owner} and {advert.index}: they hold the same key or commitment")
    claimed.update(dict.fromkeys(values, advert.index))


def decode_adverts(payloads: Sequence[bytes]) -> list[Advert]:
    """Return the adverts of a set.

    Raises: Malformed, BadAdvert unless indices ascend.
    """
    adverts: list[Advert] = []
    for payload in payloads:
        advert = decode_message(payload)
        if not isinstance(advert, Advert):
            raise BadAdvert(f"set of adverts: it holds a {type(advert).__name__}")
        if adverts and adverts[-1].index >= advert.index:
            raise BadAdvert(f"set of adverts: client {advert.index} after client {adverts[-1].index}, indices must ascend")
        adverts.append(advert)
    return adverts
