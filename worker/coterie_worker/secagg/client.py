"""A client's side of an epoch: bytes in, bytes out. It trusts the pinned roster, the job's parameters and itself."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from coterie_worker.secagg.adverts import (
    Adverts,
    EpochSecrets,
    SlotSecrets,
    check_advert,
    claim_values,
    decode_adverts,
    make_advert,
    order_graph,
)
from coterie_worker.secagg.consistency import Opening, check_quorum, check_survivors
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
from coterie_worker.secagg.fraud import Verifier
from coterie_worker.secagg.graph import Graph, complete
from coterie_worker.secagg.keys import Entropy, OneUse, agree, exchange_key
from coterie_worker.secagg.masks import Masks, Run, Words, pair_mask_key, self_mask_key, take_masks
from coterie_worker.secagg.messages import (
    AdvertSet,
    Consistent,
    Dealing,
    Delivery,
    EpochStart,
    FraudProof,
    GraphPart,
    GraphParts,
    Message,
    Revealed,
    ShareAck,
    SlotStart,
    Survivors,
    UnmaskRequest,
    encode_message,
)
from coterie_worker.secagg.parameters import SessionParameters, check_masked_session, check_policy
from coterie_worker.secagg.parts import MaskedParts
from coterie_worker.secagg.session import ClientSession
from coterie_worker.secagg.transitions import CLIENT, GRAPH_CLIENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from coterie_api.podconfig import TenantPolicy


class ClientEpoch(ClientSession):
    """One epoch of one client under SecAgg+: keys are made for this epoch only and live in memory only.

    Args: index: place in the roster. identity: the tenant's Ed25519 key that the roster pins there. policy: the tenant's own.
        entropy: secret uniform bytes. last_slot: the last slot that this client ever used, from its durable record; -1 for none.
    Attributes: memory: set it to the one of the process's earlier epochs, so that sums of different epochs are compared.
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
        self._table = GRAPH_CLIENT if parameters.is_sparse else CLIENT
        self._entropy = entropy
        self._secrets: EpochSecrets | None = None
        self._advert = b""
        self._adverts: Adverts | None = None
        self._graph: Graph | None = None
        self._channel: Channel | None = None
        self._own_shares: OneUse | None = None
        self._held: dict[int, dict[int, SharePair]] = {}
        self._submitted: bytes | None = None
        self._survivors: tuple[int, ...] = ()

    def __repr__(self) -> str:
        return f"<ClientEpoch {self.index} at {self.stage}, slot {self.last_slot}>"

    def mask(self, values: Words, *, run: Run = map, shards: int = 1) -> tuple[Words, bytes]:
        """Return the vector, masked in place, and the signature over it; both go to the aggregator. Once per slot.

        Args: values: contiguous uint32[header.length], from `Encoding.encode`. run, shards: see `apply_masks`.
        Raises: KeyUsed for a second call or after the survivors are fixed; WrongStage, NotAParticipant, ModelMismatch, BadVector.
        """
        opening = self._check_whole(values)
        masks = self._use_masks(opening)
        masks.apply(values, 0, run=run, shards=shards)
        return values, self._submit(opening, hashlib.sha256(values.data).digest())

    def mask_parts(self, parts: Iterable[Words], *, run: Run = map, shards: int = 1) -> MaskedParts:
        """Return an iterator that masks part after part in place, for vectors that don't fit into memory. Once per slot.

        Args: parts: consecutive words, header.length in all, each but the last a multiple of 4 long; from `Encoding.parts`.
        Raises: as `mask`; in iteration BadVector, after which the slot is spent and nothing is signed.
        """
        opening = self._check_mask()
        return MaskedParts(
            parts, opening.header.length, self._use_masks(opening), lambda digest: self._submit(opening, digest), (run, shards)
        )

    def _use_masks(self, opening: Opening) -> Masks:
        """From here on the slot is spent, whatever becomes of the vector."""
        assert self._secrets is not None
        secrets = self._secrets.slots[opening.header.slot]
        plus, minus = self._mask_keys(opening, secrets)
        self._spend()
        secrets.erase()
        return take_masks(plus, minus, self.parameters.ring_bits)

    def _submit(self, opening: Opening, vector_hash: bytes) -> bytes:
        if self._opening is opening:  # else a later header was accepted meanwhile, and nobody takes this vector any more
            self._submitted = vector_hash
        return self._sign_upload(opening, vector_hash)

    def _mask_keys(self, opening: Opening, secrets: SlotSecrets) -> tuple[list[OneUse], list[OneUse]]:
        assert self._adverts is not None
        assert self._graph is not None
        header, private = opening.header, exchange_key(secrets.mask_private.take())
        plus = [self_mask_key(header, opening.hash, self.index, secrets.seed.take())]
        minus: list[OneUse] = []
        for peer in sorted(self._graph.neighbors_of(self.index) & set(header.participants)):
            agreed = agree(private, self._adverts.mask_key(peer, header.slot))
            (plus if peer < self.index else minus).append(pair_mask_key(header, opening.hash, (self.index, peer), agreed))
        return plus, minus

    def _handlers(self) -> dict[type[Message], Callable[[Any], tuple[Message, ...]]]:
        return {
            EpochStart: self._advertise,
            AdvertSet: self._commit if self.parameters.is_sparse else self._share_among_all,
            GraphParts: self._share_among_neighbors,
            Delivery: self._acknowledge,
            SlotStart: self._open_slot,
            Survivors: self._sign,
            UnmaskRequest: self._reveal,
            FraudProof: self._disqualify,
        }

    def _advertise(self, start: EpochStart) -> tuple[Message, ...]:
        self._check_start(start)
        secrets, advert = make_advert(self.parameters, start, self.index, self._identity, self._entropy)
        self._start, self._secrets, self._advert = start, secrets, encode_message(advert)
        return (advert,)

    def _commit(self, message: AdvertSet) -> tuple[Message, ...]:
        """Every part of the graph's seed is committed to now, so this client shows its own."""
        assert self._start is not None
        assert self._secrets is not None
        adverts = self._check_adverts(self._start, message)
        self.memory.draw_graph()
        self._adverts = adverts
        return (GraphPart(adverts.sid, self._secrets.graph_part.take()),)

    def _share_among_neighbors(self, message: GraphParts) -> tuple[Message, ...]:
        assert self._start is not None
        assert self._adverts is not None
        if message.sid != self._adverts.sid:
            raise WrongSession("graph: it is of another session")
        return self._share(self._adverts, order_graph(self.parameters, self._start, self._adverts, message.parts))

    def _share_among_all(self, message: AdvertSet) -> tuple[Message, ...]:
        assert self._start is not None
        adverts = self._check_adverts(self._start, message)
        return self._share(adverts, complete(adverts.by_index, self.parameters.threshold))

    def _share(self, adverts: Adverts, graph: Graph) -> tuple[Message, ...]:
        assert self._secrets is not None
        channel = channel_to(adverts, exchange_key(self._secrets.channel_private.take()))
        dealt = deal(self.index, graph, adverts, self._secrets, channel, self._entropy)
        self._adverts, self._graph = adverts, graph
        self._sid, self._known = adverts.sid, tuple(sorted(adverts.by_index))
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
        assert self._graph is not None
        came, least = len(message.sealed) + 1, self.parameters.min_survivors if self._graph.is_complete else self._graph.threshold
        if came < least:
            raise BelowThreshold(f"shares: of {came} clients, at least {least} are needed")
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
        assert self._graph is not None
        expected = self._graph.neighbors_of(self.index)
        if len(set(dealers)) != len(dealers) or not set(dealers) <= expected:
            raise BadSurvivors(f"delivery: dealers {dealers}, expected distinct ones among {sorted(expected)}")
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

    def _check_participants(self, header: SlotStart) -> None:
        super()._check_participants(header)
        assert self._graph is not None
        self._graph.check_neighborhoods("participants", header.participants)

    def _forget(self, slot: int) -> None:
        assert self._secrets is not None
        self._secrets.slots[slot].erase()
        for pair in self._held.pop(slot).values():
            pair.erase()

    def _sign(self, message: Survivors) -> tuple[Message, ...]:
        opening = self._current(message)
        survivors = check_survivors(opening, message, self.index, submitted=self._submitted)
        assert self._graph is not None
        self._graph.check_neighborhoods("survivors", survivors)
        self.memory.check_difference(opening.header.model_hash, survivors, self.parameters.min_survivors)
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
        self.memory.remember(opening.header.model_hash, self._survivors)
        self._forget(message.slot)
        return (Revealed(self._sid, message.slot, tuple(shares)),)

    def _disqualify(self, proof: FraudProof) -> tuple[Message, ...]:
        assert self._start is not None
        assert self._adverts is not None
        assert self._graph is not None
        Verifier(self.parameters, self._start, self._adverts, self._graph, self.index).check(proof)
        self.memory.disqualify(proof.dealer)
        return ()
