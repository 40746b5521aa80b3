"""Proof that a dealer cheated: made by the aggregator after R4, and checked by every client from what it knows itself.

An honest dealer signs commitments to points of one polynomial of degree t - 1, whose value at 0 is the seed that its advert
commits to. So t shares that match what a dealer signed and rebuild anything else can't be made about an honest one without its
signing key or a collision of SHA-256. What a client does with a proof, and why that is safe: docs/secure-aggregation.md, §4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from coterie_worker.secagg import field
from coterie_worker.secagg.contexts import seed_commitment
from coterie_worker.secagg.dealing import Kind, check_share, commit_share, commitment_at, commitments_context, hash_commitments
from coterie_worker.secagg.errors import BadProof, BadShare, WrongSession
from coterie_worker.secagg.keys import verify
from coterie_worker.secagg.messages import HASH_BYTES, Dealing, FraudProof
from coterie_worker.secagg.shamir import combine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coterie_worker.secagg.adverts import Adverts
    from coterie_worker.secagg.graph import Graph
    from coterie_worker.secagg.messages import EpochStart
    from coterie_worker.secagg.parameters import SessionParameters


@dataclass(frozen=True, slots=True)
class SignedDealing:
    """What a dealer can be held to: the hash of each holder's commitments, by ascending holder, and its signature over them."""

    hashes: tuple[bytes, ...]
    signature: bytes

    @classmethod
    def of(cls, dealing: Dealing) -> SignedDealing:
        """Return it without the sealed shares."""
        return cls(tuple(hash_commitments(commitments) for _, _, commitments in dealing.sealed), dealing.signature)


def prove(place: tuple[bytes, int, int], dealing: SignedDealing, rows: Mapping[int, bytes], shares: Mapping[int, int]) -> FraudProof:
    """Return the proof; place = (session, slot, dealer).

    Args: rows: holder -> commitments to its shares, as the dealer signed them. shares: holder -> its share of the seed; exactly
        t, each matching its commitment, which rebuild another seed.
    """
    sid, slot, dealer = place
    given = tuple((holder, rows[holder], field.to_bytes(shares[holder])) for holder in sorted(shares))
    return FraudProof(sid, slot, dealer, dealing.hashes, dealing.signature, given)


class Verifier:
    """One client's view of the epoch that a proof is about; nothing of it comes with the proof. `index` is that client's own."""

    def __init__(self, parameters: SessionParameters, start: EpochStart, adverts: Adverts, graph: Graph, index: int) -> None:
        self._parameters = parameters
        self._start = start
        self._adverts = adverts
        self._graph = graph
        self._index = index

    def check(self, proof: FraudProof) -> None:
        """Raise unless the dealer's own signature shows that it shared another seed than the one that it advertised.

        Raises: WrongSession, BadProof, BadSignature, BadShare.
        """
        self._check_place(proof)
        self._check_signed(proof)
        values = {holder: self._check_share(proof, holder, commitments, share) for holder, commitments, share in proof.shares}
        secret = combine(values)
        committed = self._adverts.seed_commitment(proof.dealer, proof.slot)
        facts = (self._parameters.base, self._start.epoch, proof.dealer, proof.slot)
        if secret is not None and seed_commitment(*facts, secret) == committed:
            raise BadProof(f"proof about client {proof.dealer}: its shares rebuild the seed that it advertised")

    def _check_place(self, proof: FraudProof) -> None:
        if proof.sid != self._adverts.sid:
            raise WrongSession(f"proof about client {proof.dealer}: it is of another session")
        if proof.dealer == self._index:
            # We know what we dealt. A proof that looked right would mean that somebody else signs with our key.
            raise BadProof(f"proof about client {proof.dealer}: that is this client itself, which dealt as it should")
        if proof.dealer not in self._adverts.by_index:
            raise BadProof(f"proof about client {proof.dealer}: known in this epoch are {sorted(self._adverts.by_index)}")
        first, last = self._start.first_slot, self._start.first_slot + self._parameters.slots_per_epoch - 1
        if not first <= proof.slot <= last:
            raise BadProof(f"proof about client {proof.dealer}: slot {proof.slot}, allowed is {first} to {last}")

    def _check_signed(self, proof: FraudProof) -> None:
        """Exactly t of the dealer's holders, each with the commitments that the dealer signed for it."""
        name, holders = f"proof about client {proof.dealer}", self._graph.holders(proof.dealer)
        chosen = [holder for holder, _, _ in proof.shares]
        if chosen != sorted(set(chosen)) or not set(chosen) <= set(holders):
            raise BadProof(f"{name}: holders {chosen}, expected ascending ones among {list(holders)}")
        if len(chosen) != self._graph.threshold:
            raise BadProof(f"{name}: shares of {len(chosen)} holders, expected {self._graph.threshold}")
        if len(proof.hashes) != len(holders):
            raise BadProof(f"{name}: commitments for {len(proof.hashes)} holders, it has {len(holders)}")
        signed = dict(zip(holders, proof.hashes, strict=True))
        for holder, commitments, _ in proof.shares:
            if len(commitments) != 2 * HASH_BYTES * self._parameters.slots_per_epoch or hash_commitments(commitments) != signed[holder]:
                raise BadProof(f"{name}: the commitments for holder {holder} are not those of its dealing")
        covered = commitments_context(proof.sid, proof.dealer, list(signed.items()))
        verify(self._parameters.roster[proof.dealer].public_key, proof.signature, covered, what=f"{name}: its dealing")

    def _check_share(self, proof: FraudProof, holder: int, commitments: bytes, share: bytes) -> int:
        committed = commitment_at(commitments, proof.slot - self._start.first_slot, Kind.SEED)
        if commit_share(proof.sid, (proof.dealer, holder, proof.slot, Kind.SEED), share) != committed:
            raise BadShare(f"proof about client {proof.dealer}: the share of holder {holder} is not the one that was dealt")
        return check_share(share, dealer=proof.dealer)
