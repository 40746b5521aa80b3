"""The aggregator's side of an epoch: bytes in, bytes out. It can open one sum per slot, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coterie_worker.secagg.adverts import Adverts, check_advert, check_part, claim_values, order_graph
from coterie_worker.secagg.contexts import seed_commitment, session_id
from coterie_worker.secagg.dealing import (
    Kind,
    ack_context,
    check_share,
    commit_share,
    commitment_at,
    commitments_context,
    hash_commitments,
)
from coterie_worker.secagg.errors import BadAdvert, BadShare, BadSurvivors, DealerCheated, TooFewSurvivors
from coterie_worker.secagg.fraud import SignedDealing, prove
from coterie_worker.secagg.graph import Graph, complete
from coterie_worker.secagg.keys import OneUse, agree, exchange_key, public_of, verify
from coterie_worker.secagg.masks import Run, pair_mask_key, self_mask_key, take_masks
from coterie_worker.secagg.messages import (
    HASH_BYTES,
    Advert,
    AdvertSet,
    Consistent,
    Dealing,
    Delivery,
    FraudProof,
    GraphPart,
    GraphParts,
    Message,
    Revealed,
    ShareAck,
    Survivors,
    UnmaskRequest,
    encode_message,
)
from coterie_worker.secagg.parameters import SessionParameters, check_masked_session
from coterie_worker.secagg.recovery import MAX_TRIES, first_subset, recover
from coterie_worker.secagg.serving import Outbox, ServerSession
from coterie_worker.secagg.transitions import CLOSES, EXPECTS, GRAPH_CLOSES, GRAPH_EXPECTS, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from coterie_worker.secagg.uploads import SlotSum, Uploads


class ServerEpoch(ServerSession):
    """One epoch of the aggregator under SecAgg+.

    Args: members: indices of the clients that are connected now; thresholds count the whole roster all the same.
    Raises: InvalidParameters.
    """

    def __init__(self, parameters: SessionParameters, epoch: int, first_slot: int, members: frozenset[int]) -> None:
        check_masked_session(parameters)
        super().__init__(parameters, epoch, first_slot, members)
        self._expects = GRAPH_EXPECTS if parameters.is_sparse else EXPECTS
        self._closes = GRAPH_CLOSES if parameters.is_sparse else CLOSES
        self.cheaters: set[int] = set()  # dealers whose shares contradict their own commitments
        self.unusable: set[int] = set()  # dealers whose shares too few holders could open; left out of the epoch
        self._adverts: dict[int, Advert] = {}
        self._claimed: dict[bytes, int] = {}
        self._dealings: dict[int, Dealing] = {}
        self._signed_dealings: dict[int, SignedDealing] = {}  # dealer -> what it can be held to, should it turn out to have cheated
        self._acks: dict[int, Mapping[int, bytes]] = {}
        self._agreed: dict[tuple[int, int], bytes] = {}  # (dealer, holder) -> the commitments that both signed
        self._keys: Adverts | None = None
        self._parts: dict[int, bytes] = {}
        self._graph: Graph | None = None
        self._signatures: dict[int, bytes] = {}
        self._revealed: dict[int, dict[int, int]] = {}  # dealer -> holder -> share
        self._secrets: dict[int, bytes] = {}

    def waiting(self) -> set[int]:
        """Whose message the current stage still needs; see `waiting_for`."""
        match self.stage:
            case Stage.CONSISTENCY:
                return self._waiting_to_sign()
            case Stage.UNMASK:
                return (self._live & set(self._signatures)) - set(self._heard)
        return super().waiting()

    def _waiting_to_sign(self) -> set[int]:
        assert self._uploads is not None
        # A client that submitted too late refuses to sign a set without itself, so it is asked but not waited for.
        late = set(self._uploads.opening.header.participants) - set(self._uploads.signed) - self._uploads.skipped
        rest = self._live - set(self._heard)
        return rest - late if rest - late or len(self._heard) >= self.parameters.quorum else rest

    def result(self, *, run: Run = map, shards: int = 1) -> SlotSum:
        """Return the opened sum: removes the masks in place. The heavy call; `run` and `shards` as in `apply_masks`.

        Raises: WrongStage before the slot is closed.
        """
        uploads = self._result_uploads()
        if self._opened is None:
            plus, minus = self._unmasking_keys(uploads)
            take_masks(plus, minus, self.parameters.ring_bits).apply(uploads.total, 0, run=run, shards=shards)
            self._finish(uploads)
        assert self._opened is not None
        return self._opened

    def _unmasking_keys(self, uploads: Uploads) -> tuple[list[OneUse], list[OneUse]]:
        assert self._keys is not None
        assert self._graph is not None
        header, hdr_hash = uploads.opening.header, uploads.opening.hash
        plus: list[OneUse] = []
        minus: list[OneUse] = []
        for owner, secret in self._secrets.items():
            if owner in uploads.signed:
                minus.append(self_mask_key(header, hdr_hash, owner, secret))
                continue
            private = exchange_key(secret)
            for survivor in self._graph.neighbors_of(owner) & set(uploads.signed):
                key = pair_mask_key(header, hdr_hash, (owner, survivor), agree(private, self._keys.mask_key(survivor, header.slot)))
                # The survivor added this mask if the dropped client's index is the lower one, so it is taken off again.
                (minus if owner < survivor else plus).append(key)
        self._secrets = {}
        return plus, minus

    def _handlers(self) -> dict[type[Message], Callable[[int, Any], None]]:
        return {
            Advert: self._hear_advert,
            GraphPart: self._hear_part,
            Dealing: self._hear_dealing,
            ShareAck: self._hear_ack,
            Consistent: self._hear_consistent,
            Revealed: self._hear_revealed,
        }

    def _closers(self) -> dict[Stage, Callable[[], Outbox]]:
        return {
            Stage.ADVERTISE: self._close_adverts,
            Stage.GRAPH: self._close_parts,
            Stage.SHARE: self._close_dealings,
            Stage.ACKNOWLEDGE: self._close_acks,
            Stage.INPUT: self._close_input,
            Stage.CONSISTENCY: self._close_consistency,
            Stage.UNMASK: self._close_unmask,
        }

    def _hear_advert(self, sender: int, advert: Advert) -> None:
        if advert.index != sender:
            raise BadAdvert(f"advert: client {sender} sent one of client {advert.index}")
        check_advert(self.parameters, self._start, advert)
        claim_values(advert, self._claimed)
        self._adverts[sender] = advert

    def _close_adverts(self) -> Outbox:
        self._keep_heard("adverts")
        adverts = {index: self._adverts[index] for index in sorted(self._live)}
        payloads = tuple(encode_message(advert) for advert in adverts.values())
        self._sid = session_id(self.parameters.base, self._start.epoch, self._start.first_slot, payloads)
        self._keys = Adverts(adverts, self._start.first_slot, self._sid)
        if not self.parameters.is_sparse:
            self._graph = complete(adverts, self.parameters.threshold)
        return self._to_all(AdvertSet(payloads))

    def _hear_part(self, sender: int, message: GraphPart) -> None:
        assert self._keys is not None
        self._check_sid(message.sid)
        check_part(self.parameters, self._start, self._keys.by_index[sender], message.part)
        self._parts[sender] = message.part

    def _close_parts(self) -> Outbox:
        """All parts or none: whoever could leave one out after seeing the others could choose between two orders."""
        assert self._keys is not None
        if set(self._parts) != set(self._keys.by_index):
            raise TooFewSurvivors("parts of the graph's seed", len(self._parts), len(self._keys.by_index))
        parts = tuple(sorted(self._parts.items()))
        self._graph = order_graph(self.parameters, self._start, self._keys, parts)
        return self._to_all(GraphParts(self._sid, parts))

    def _hear_dealing(self, sender: int, dealing: Dealing) -> None:
        assert self._graph is not None
        self._check_sid(dealing.sid)
        if tuple(holder for holder, _, _ in dealing.sealed) != self._graph.holders(sender):
            raise BadSurvivors(f"dealing of client {sender}: its holders are not its neighbors and itself")
        if any(len(commitments) != 2 * HASH_BYTES * self.parameters.slots_per_epoch for _, _, commitments in dealing.sealed):
            raise BadShare(f"dealing of client {sender}: commitments for another number of slots")
        signed = SignedDealing.of(dealing)
        covered = commitments_context(self._sid, sender, list(zip(self._graph.holders(sender), signed.hashes, strict=True)))
        verify(self.parameters.roster[sender].public_key, dealing.signature, covered, what=f"dealing of client {sender}")
        self._dealings[sender], self._signed_dealings[sender] = dealing, signed

    def _close_dealings(self) -> Outbox:
        dealers = sorted(self._heard)
        self._keep_heard("dealings")
        boxes: dict[int, list[tuple[int, bytes]]] = {holder: [] for holder in self._live}
        for dealer in dealers:
            for holder, sealed, _ in self._dealings[dealer].sealed:
                if holder != dealer and holder in boxes:
                    boxes[holder].append((dealer, sealed))
        return {holder: encode_message(Delivery(self._sid, tuple(box))) for holder, box in boxes.items()}

    def _hear_ack(self, sender: int, ack: ShareAck) -> None:
        self._check_sid(ack.sid)
        dealers = [dealer for dealer, _ in ack.held]
        if dealers != sorted(set(dealers)) or not set(dealers) <= set(self._dealings):
            raise BadSurvivors(f"acknowledgment of client {sender}: dealers {dealers}, expected ascending ones that dealt")
        signed = ack_context(self._sid, sender, ack.held)
        verify(self.parameters.roster[sender].public_key, ack.signature, signed, what=f"acknowledgment of client {sender}")
        self._acks[sender] = dict(ack.held)

    def _close_acks(self) -> Outbox:
        self._keep_heard("acknowledgments")
        for dealer, dealing in self._dealings.items():
            for holder, _, commitments in dealing.sealed:
                if self._acks.get(holder, {}).get(dealer) == hash_commitments(commitments):
                    self._agreed[dealer, holder] = commitments
        self._dealings, self._acks = {}, {}
        self._leave_out_unusable()
        if len(self._live) < self.parameters.min_survivors:
            raise TooFewSurvivors("usable dealings", len(self._live), self.parameters.min_survivors)
        return {}

    def _leave_out_unusable(self) -> None:
        """A dealer whose secrets could not be rebuilt must not mask anything. Whether it or its holders lie can't be told."""
        while unusable := {dealer for dealer in self._live if self._holders(dealer) < self._share_threshold}:
            self._live -= unusable
            self.unusable |= unusable

    def _holders(self, dealer: int) -> int:
        assert self._graph is not None
        return sum(1 for holder in self._graph.holders(dealer) if holder in self._live and (dealer, holder) in self._agreed)

    @property
    def _share_threshold(self) -> int:
        assert self._graph is not None
        return self._graph.threshold

    def _check_neighbors(self, what: str, chosen: set[int]) -> None:
        """Ask no client for what it would refuse."""
        assert self._graph is not None
        fewest = self._graph.fewest_neighbors(chosen)
        if not self._graph.is_complete and fewest < self._share_threshold:
            raise TooFewSurvivors(f"neighbors of one client among the {what}", fewest, self._share_threshold)

    def start_slot(self, slot: int, model_hash: bytes, participants: frozenset[int], deadline: int, length: int) -> Outbox:
        """Open a slot; see `ServerSession.start_slot`. With a Harary graph, each participant needs t neighbors among them."""
        if self._graph is not None and participants <= self._live:
            self._check_neighbors("participants", set(participants))
        return super().start_slot(slot, model_hash, participants, deadline, length)

    def _close_input(self) -> Outbox:
        assert self._uploads is not None
        self._check_neighbors("masked inputs", set(self._uploads.signed))
        uploads = self._freeze()
        self._signatures, self._revealed = {}, {dealer: {} for dealer in uploads.opening.header.participants}
        signed = tuple((client, *uploads.signed[client]) for client in uploads.survivors())
        return self._to_all(Survivors(self._sid, uploads.opening.header.slot, signed))

    def _hear_consistent(self, sender: int, message: Consistent) -> None:
        uploads = self._check_slot(message.sid, message.slot)
        uploads.opening.check_consistent(sender, uploads.survivors(), message.signature)
        self._signatures[sender] = message.signature

    def _close_consistency(self) -> Outbox:
        assert self._uploads is not None
        quorum = self.parameters.quorum
        if len(self._signatures) < quorum:
            raise TooFewSurvivors("consistency signatures", len(self._signatures), quorum)
        signatures = tuple(sorted(self._signatures.items())[:quorum])
        request = encode_message(UnmaskRequest(self._sid, self._uploads.opening.header.slot, signatures))
        return dict.fromkeys(sorted(self._live & set(self._signatures)), request)

    def _hear_revealed(self, sender: int, message: Revealed) -> None:
        uploads = self._check_slot(message.sid, message.slot)
        dealers = [dealer for dealer, _ in message.shares]
        if dealers != sorted(set(dealers)) or not set(dealers) <= set(self._revealed):
            raise BadSurvivors(f"shares of client {sender}: dealers {dealers}, expected ascending ones among the participants")
        checked = {dealer: self._checked(sender, dealer, share, uploads) for dealer, share in message.shares}
        for dealer, value in checked.items():
            if value is not None:
                self._revealed[dealer][sender] = value

    def _checked(self, holder: int, dealer: int, share: bytes, uploads: Uploads) -> int | None:
        """Return the share's value, or None where dealer and holder never agreed on it.

        Raises: BadShare, naming the holder, where they did and this is another.
        """
        commitments = self._agreed.get((dealer, holder))
        if commitments is None:
            return None
        kind = Kind.SEED if dealer in uploads.signed else Kind.MASK_KEY
        slot = uploads.opening.header.slot
        committed = commitment_at(commitments, slot - self._start.first_slot, kind)
        if commit_share(self._sid, (dealer, holder, slot, kind), share) != committed:
            raise BadShare(f"share of client {dealer} from client {holder}: not the one that was dealt and acknowledged")
        return check_share(share, dealer=dealer)

    def _close_unmask(self) -> Outbox:
        assert self._uploads is not None
        fewest = min(len(shares) for shares in self._revealed.values())
        if fewest < self._share_threshold:
            raise TooFewSurvivors("shares of one client", fewest, self._share_threshold)
        self._secrets = self._recover_all(self._uploads)
        return {}

    def _recover_all(self, uploads: Uploads) -> dict[int, bytes]:
        """Return everyone's secret of the slot.

        Shares match what their dealer signed, so whoever's first t don't rebuild its secret has cheated. All of them are found at
        once; other subsets are tried only until one cheater's secret is lost for good.
        """
        found = {dealer: self._recover(dealer, uploads, tries=1) for dealer in self._revealed}
        cheaters = [dealer for dealer, secret in found.items() if secret is None]
        self.cheaters |= set(cheaters)
        for dealer in cheaters:
            found[dealer] = self._recover(dealer, uploads, tries=MAX_TRIES)
            if found[dealer] is None:
                raise self._cheated(cheaters, uploads)
        return {dealer: secret for dealer, secret in found.items() if secret is not None}

    def _cheated(self, dealers: list[int], uploads: Uploads) -> DealerCheated:
        """A dealer that dropped is in no sum that was opened, so nobody needs a proof about it."""
        what = {dealer: "self-mask seed" if dealer in uploads.signed else "mask key" for dealer in dealers}
        slot = uploads.opening.header.slot
        return DealerCheated(what, tuple(encode_message(self._prove(dealer, slot)) for dealer in dealers if dealer in uploads.signed))

    def _prove(self, dealer: int, slot: int) -> FraudProof:
        shares = first_subset(self._revealed[dealer], self._share_threshold)
        rows = {holder: self._agreed[dealer, holder] for holder in shares}
        return prove((self._sid, slot, dealer), self._signed_dealings[dealer], rows, shares)

    def _recover(self, dealer: int, uploads: Uploads, tries: int) -> bytes | None:
        assert self._keys is not None
        slot, survived = uploads.opening.header.slot, dealer in uploads.signed
        committed = self._keys.seed_commitment(dealer, slot) if survived else self._keys.mask_key(dealer, slot)

        def is_right(secret: bytes) -> bool:
            if survived:
                return seed_commitment(self.parameters.base, self._start.epoch, dealer, slot, secret) == committed
            return public_of(secret) == committed

        return recover(self._revealed[dealer], self._share_threshold, is_right, tries)
