"""A client's side of an epoch: bytes in, bytes out. It trusts the pinned roster, the job's parameters and itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coterie_worker.secagg.adverts import Adverts, EpochSecrets, SlotSecrets, check_advert, claim_values, decode_adverts, make_advert
from coterie_worker.secagg.consistency import Opening, check_difference, check_quorum, check_survivors
from coterie_worker.secagg.contexts import consistency_context, session_id
from coterie_worker.secagg.dealing import (
    Channel,
    Kind,
    SharePair,
    ack_context,
    channel_to,
    check_shares,
    commit,
    deal,
    dealing_context,
    hash_commitments,
    open_shares,
    share_pairs,
)
from coterie_worker.secagg.errors import BadAdvert, BadSurvivors, BelowThreshold, PeerProtocolError, WrongSession
from coterie_worker.secagg.keys import Entropy, OneUse, agree, exchange_key
from coterie_worker.secagg.masks import Run, Words, apply_masks, pair_mask_key, self_mask_key
from coterie_worker.secagg.messages import (
    AdvertSet,
    Consistent,
    Dealing,
    Delivery,
    EpochStart,
    Message,
    Revealed,
    ShareAck,
    SlotStart,
    Survivors,
    UnmaskRequest,
    encode_message,
)
from coterie_worker.secagg.parameters import SessionParameters, check_masked_session, check_policy
from coterie_worker.secagg.session import ClientSession
from coterie_worker.secagg.transitions import ClientStage

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from coterie_api.podconfig import TenantPolicy


class ClientEpoch(ClientSession):
    """One epoch of one client under SecAgg+: keys are made for this epoch only and live in memory only.

    Args: index: place in the roster. identity: the tenant's Ed25519 key that the roster pins there. policy: the tenant's own.
        entropy: secret uniform bytes. last_slot: the last slot that this client ever used, from its durable record; -1 for none.
    Raises: InvalidParameters, PolicyRefused: this client takes no part in the job.
    Formal guarantees: against an aggregator that deviates in any way and up to `colluders` clients, no honest client's update
        is in a sum with fewer than min_survivors - colluders honest ones, and at most one sum of a slot opens.
    Not for use from two threads at once; `mask` is the heavy call, and `receive` waits until it returned.
    """

    def __init__(
        self,
        parameters: SessionParameters,
        index: int,
        identity: Ed25519PrivateKey,
        policy: TenantPolicy,
        entropy: Entropy,
        last_slot: int = -1,
    ) -> None:
        check_masked_session(parameters)
        check_policy(parameters, policy, masked=True)
        super().__init__(parameters, index, identity, last_slot=last_slot)
        self.complaints: dict[int, PeerProtocolError] = {}  # dealers whose shares did not open
        self._entropy = entropy
        self._secrets: EpochSecrets | None = None
        self._advert = b""
        self._adverts: Adverts | None = None
        self._channel: Channel | None = None
        self._own_shares: OneUse | None = None
        self._held: dict[int, dict[int, SharePair]] = {}
        self._submitted: bytes | None = None
        self._survivors: tuple[int, ...] = ()
        self._opened: list[tuple[bytes, frozenset[int]]] = []

    def __repr__(self) -> str:
        return f"<ClientEpoch {self.index} at {self.stage}, slot {self.last_slot}>"

    def mask(self, values: Words, *, run: Run = map, shards: int = 1) -> tuple[Words, bytes]:
        """Return the vector, masked in place, and the signature over it; both go to the aggregator. Once per slot.

        Args: values: contiguous uint32[header.length], from `Encoding.encode`. run, shards: see `apply_masks`.
        Raises: KeyUsed for a second call or after the survivors are fixed; WrongStage, NotAParticipant, ModelMismatch, BadVector.
        """
        opening = self._check_mask(values)
        assert self._secrets is not None
        slot = opening.header.slot
        plus, minus = self._mask_keys(opening, self._secrets.slots[slot])
        self.stage = ClientStage.MASKED
        self._secrets.slots[slot].erase()
        apply_masks(values, plus, minus, run=run, shards=shards)
        vector_hash, signature = self._sign_upload(opening, values)
        if self._opening is opening:  # else a later header was accepted meanwhile, and nobody takes this vector any more
            self._submitted = vector_hash
        return values, signature

    def _mask_keys(self, opening: Opening, secrets: SlotSecrets) -> tuple[list[OneUse], list[OneUse]]:
        assert self._adverts is not None
        header, private = opening.header, exchange_key(secrets.mask_private.take())
        plus = [self_mask_key(header, opening.hash, self.index, secrets.seed.take())]
        minus: list[OneUse] = []
        for peer in header.participants:
            if peer != self.index:
                agreed = agree(private, self._adverts.mask_key(peer, header.slot))
                (plus if peer < self.index else minus).append(pair_mask_key(header, opening.hash, (self.index, peer), agreed))
        return plus, minus

    def _handlers(self) -> dict[type[Message], Callable[[Any], tuple[Message, ...]]]:
        return {
            EpochStart: self._advertise,
            AdvertSet: self._share,
            Delivery: self._acknowledge,
            SlotStart: self._open_slot,
            Survivors: self._sign,
            UnmaskRequest: self._reveal,
        }

    def _advertise(self, start: EpochStart) -> tuple[Message, ...]:
        self._check_start(start)
        secrets, advert = make_advert(self.parameters, start, self.index, self._identity, self._entropy)
        self._start, self._secrets, self._advert = start, secrets, encode_message(advert)
        return (advert,)

    def _share(self, message: AdvertSet) -> tuple[Message, ...]:
        assert self._start is not None
        assert self._secrets is not None
        adverts = self._check_adverts(self._start, message)
        channel = channel_to(adverts, exchange_key(self._secrets.channel_private.take()))
        dealt = deal(self.index, self.parameters.threshold, adverts, self._secrets, channel, self._entropy)
        self._adverts, self._sid, self._known = adverts, adverts.sid, tuple(sorted(adverts.by_index))
        self._channel, self._own_shares = channel, OneUse(dealt.own, "own shares")
        return (Dealing(adverts.sid, dealt.sealed, self._identity.sign(dealing_context(adverts.sid, self.index, dealt.sealed))),)

    def _check_adverts(self, start: EpochStart, message: AdvertSet) -> Adverts:
        adverts = decode_adverts(message.adverts)
        if len(adverts) < self.parameters.min_survivors:
            raise BelowThreshold(f"adverts: {len(adverts)}, at least {self.parameters.min_survivors} are needed")
        if self._advert not in message.adverts:
            raise BadAdvert(f"set of adverts: client {self.index}'s own is missing or changed")
        claimed: dict[bytes, int] = {}
        for advert in adverts:
            check_advert(self.parameters, start, advert)
            claim_values(advert, claimed)
        sid = session_id(self.parameters.base, start.epoch, start.first_slot, message.adverts)
        return Adverts({advert.index: advert for advert in adverts}, start.first_slot, sid)

    def _acknowledge(self, message: Delivery) -> tuple[Message, ...]:
        if message.sid != self._sid:
            raise WrongSession("delivery: it is of another session")
        came = len(message.sealed) + 1
        if came < self.parameters.min_survivors:
            raise BelowThreshold(f"shares: of {came} clients, at least {self.parameters.min_survivors} are needed")
        opened, complaints = self._open_delivery(message)
        if not opened:
            raise next(iter(complaints.values()))
        assert self._own_shares is not None
        opened[self.index] = self._own_shares.take()
        rows = {dealer: commit(self._sid, dealer, self.index, self._first_slot, plain) for dealer, plain in opened.items()}
        self._held, self.complaints, self._channel = self._by_slot(opened), complaints, None
        held = tuple((dealer, hash_commitments(rows[dealer])) for dealer in sorted(rows))
        return (ShareAck(self._sid, held, self._identity.sign(ack_context(self._sid, self.index, held))),)

    def _open_delivery(self, message: Delivery) -> tuple[dict[int, bytes], dict[int, PeerProtocolError]]:
        """Open what opens. One bad dealer must not keep the rest from aggregating, so its failure is a complaint, no error."""
        dealers = [dealer for dealer, _ in message.sealed]
        if len(set(dealers)) != len(dealers) or not set(dealers) <= set(self._known) - {self.index}:
            raise BadSurvivors(f"delivery: dealers {dealers}, expected distinct ones among {list(self._known)} other than {self.index}")
        assert self._channel is not None
        opened, complaints = {}, {}
        for dealer, sealed in message.sealed:
            try:
                plain = open_shares(self._sid, dealer, self.index, self._channel, sealed)
                check_shares(plain, self.parameters.slots_per_epoch, dealer=dealer)
                opened[dealer] = plain
            except PeerProtocolError as error:
                complaints[dealer] = error
        return opened, complaints

    def _by_slot(self, opened: dict[int, bytes]) -> dict[int, dict[int, SharePair]]:
        pairs = {dealer: share_pairs(plain) for dealer, plain in opened.items()}
        places = range(self.parameters.slots_per_epoch)
        return {self._first_slot + place: {dealer: pair[place] for dealer, pair in pairs.items()} for place in places}

    def _open_slot(self, header: SlotStart) -> tuple[Message, ...]:
        replies = self._open(header)
        assert self._secrets is not None
        for slot in [old for old in self._held if old < header.slot]:
            self._forget(slot)
        self._submitted, self._survivors = None, ()
        return replies

    def _forget(self, slot: int) -> None:
        assert self._secrets is not None
        self._secrets.slots[slot].erase()
        for pair in self._held.pop(slot).values():
            pair.erase()

    def _sign(self, message: Survivors) -> tuple[Message, ...]:
        opening = self._current(message)
        survivors = check_survivors(opening, message, self.index, submitted=self._submitted)
        check_difference(self._opened, opening.header.model_hash, survivors, self.parameters.min_survivors)
        self._survivors = survivors
        return (Consistent(self._sid, message.slot, self._identity.sign(consistency_context(opening.hash, survivors))),)

    def _reveal(self, message: UnmaskRequest) -> tuple[Message, ...]:
        opening = self._current(message)
        check_quorum(opening, message, self._survivors, self._known)
        shares = []
        for dealer, pair in sorted(self._held[message.slot].items()):
            survived = dealer in self._survivors
            # Our own mask key is never ours to reveal: had we dropped, others would speak for us.
            if dealer in opening.header.participants and (survived or dealer != self.index):
                shares.append((dealer, pair.reveal(Kind.SEED if survived else Kind.MASK_KEY)))
        self._opened.append((opening.header.model_hash, frozenset(self._survivors)))
        self._forget(message.slot)
        return (Revealed(self._sid, message.slot, tuple(shares)),)
