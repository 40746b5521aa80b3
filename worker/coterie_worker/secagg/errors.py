"""Errors of the secure-aggregation protocol, by whose fault it is.

    SecaggError
    ├── InvalidParameters          the job's parameters break a rule of the protocol; nobody may start
    ├── PolicyRefused              the job is weaker than this tenant's policy; this client takes no part
    ├── NotFinite                  the update holds NaN or infinity; nothing was encoded
    ├── LocalProtocolError         our own caller is at fault; nothing happened
    │   ├── WrongStage             the call does not belong to this stage
    │   ├── KeyUsed                a one-use key was asked for again (a mask used twice opens both updates)
    │   ├── ModelMismatch          the loaded parameters are not those that the header names, or were not checked
    │   ├── NotAParticipant        this client is not in the slot's participants
    │   ├── BadSlot                the slot does not increase, has no keys in this epoch, or names strangers
    │   └── BadVector              wrong length or element type
    ├── PeerProtocolError          the sender's message is refused; our state is unchanged, nothing was revealed
    │   ├── Malformed              the bytes are not a message
    │   │   ├── TooLarge, NotCanonical, UnknownVersion, UnknownMessage, WrongType, WrongLength, OutOfRange
    │   ├── Unexpected             the message does not belong to this stage
    │   │   └── TooLate            it belonged to an earlier stage or slot; an honest but slow peer sends these
    │   ├── Replayed               another message of this kind has been answered already, with other content
    │   ├── WrongSession           it belongs to another job, epoch or session
    │   ├── StaleSlot              the slot does not increase, or its secrets are erased
    │   ├── BadSignature           a signature does not verify under the pinned roster
    │   ├── BadAdvert              an advert is reused, reordered, changed, or holds a bad key
    │   ├── BadSeal                a sealed share does not open
    │   ├── BadShare               a share is not the one that its dealer committed to
    │   ├── BadSurvivors           unknown, repeated or missing ids in a set of survivors or participants
    │   │   └── SumTooClose        the set differs by few clients from one whose sum over the same model is open
    │   ├── BelowThreshold         fewer participants, survivors, neighbors or signatures than this client insists on
    │   ├── BadReveal              a part of the graph's seed is missing or not the one that was committed to
    │   ├── BadProof               a proof of fraud does not prove that the dealer cheated
    │   └── TooManyGraphs          the aggregator gave up too many orders of the graph in a row
    ├── TooFewSurvivors            too few clients came; the slot (or, in set-up, the epoch) is lost
    └── DealerCheated              clients shared secrets that are not those they committed to; the slot is lost

Messages name the object, the value found and the value allowed; never a seed, share, key or coordinate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class SecaggError(Exception):
    """Root of everything that secure aggregation raises."""


class InvalidParameters(SecaggError):
    """The job's parameters break a rule of the protocol."""


class PolicyRefused(SecaggError):
    """The job is weaker than the tenant's policy allows."""


class NotFinite(SecaggError):
    """The update holds NaN or infinity."""


class LocalProtocolError(SecaggError):
    """Our own caller is at fault; nothing happened."""


class WrongStage(LocalProtocolError):
    """The call does not belong to this stage."""


class KeyUsed(LocalProtocolError):
    """A one-use key was asked for a second time: two updates under one mask open their difference."""


class ModelMismatch(LocalProtocolError):
    """The loaded parameters are not those that the header names, or nobody compared them."""


class NotAParticipant(LocalProtocolError):
    """This client holds shares in the slot but is not asked for an update."""


class BadSlot(LocalProtocolError):
    """The slot does not increase, has no keys in this epoch, or asks strangers."""


class BadVector(LocalProtocolError):
    """A vector of the wrong length or element type."""


class PeerProtocolError(SecaggError):
    """A peer's message is refused; our state is unchanged and nothing was revealed.

    `sender` is the peer's index in the roster, or None at a client, whose only peer is the aggregator.
    """

    def __init__(self, message: str, sender: int | None = None) -> None:
        super().__init__(message)
        self.sender = sender


class Malformed(PeerProtocolError):
    """The bytes are not a message of this protocol."""


class TooLarge(Malformed):
    """More bytes, items or levels than any honest message has."""


class NotCanonical(Malformed):
    """The same value has a shorter encoding, or bytes follow it."""


class UnknownVersion(Malformed):
    """The message is of another version of the protocol."""


class UnknownMessage(Malformed):
    """No message has this number."""


class WrongType(Malformed):
    """A field is of another type."""


class WrongLength(Malformed):
    """A field or list is of another length, or the bytes end early."""


class OutOfRange(Malformed):
    """A number is larger than any honest one."""


class Unexpected(PeerProtocolError):
    """The message does not belong to this stage."""


class TooLate(Unexpected):
    """The message belonged to an earlier stage or slot."""


class Replayed(PeerProtocolError):
    """Another message of this kind has been answered already, with other content."""


class WrongSession(PeerProtocolError):
    """The message belongs to another job, epoch or session."""


class StaleSlot(PeerProtocolError):
    """The slot does not increase, has no keys, or its secrets are erased."""


class BadSignature(PeerProtocolError):
    """A signature does not verify under the pinned roster."""


class BadAdvert(PeerProtocolError):
    """An advert is reused, reordered, changed, or holds a bad key."""


class BadSeal(PeerProtocolError):
    """A sealed share does not open under the key of this direction."""


class BadShare(PeerProtocolError):
    """A share is not the one that its dealer committed to."""


class BadSurvivors(PeerProtocolError):
    """Unknown, repeated or missing ids in a set of participants or survivors."""


class SumTooClose(BadSurvivors):
    """The set of survivors differs by too few clients from one whose sum over the same model was opened."""


class BelowThreshold(PeerProtocolError):
    """Fewer participants, survivors or signatures than this client insists on."""


class BadReveal(PeerProtocolError):
    """A part of the graph's seed is missing, or not the one that was committed to."""


class BadProof(PeerProtocolError):
    """A proof of fraud does not prove that the dealer cheated: it is incomplete, of something else, or about an honest one."""


class TooManyGraphs(PeerProtocolError):
    """The aggregator gave up too many orders of the graph in a row, as one would that looks for a bad one."""


class TooFewSurvivors(SecaggError):
    """Too few clients came; the slot (or, in set-up, the epoch) is lost."""

    def __init__(self, step: str, came: int, needed: int) -> None:
        super().__init__(f"{step}: {came} clients came, {needed} are needed")
        self.step = step
        self.came = came
        self.needed = needed


class DealerCheated(SecaggError):
    """Clients shared secrets that are not those they committed to; show the proofs, leave them out and start a new epoch.

    Attributes: dealers: who cheated. proofs: control messages for every other client of the epoch, before anything of the next one.
    """

    def __init__(self, cheats: Mapping[int, str], proofs: tuple[bytes, ...]) -> None:
        told = (f"client {dealer} dealt shares of another {what} than the one it committed to" for dealer, what in sorted(cheats.items()))
        super().__init__("; ".join(told))
        self.dealers = frozenset(cheats)
        self.proofs = proofs
