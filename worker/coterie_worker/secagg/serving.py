"""What the aggregator does under both protocols: stages, who is live and who was heard, slots and uploads."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from coterie_worker.secagg.consistency import Opening
from coterie_worker.secagg.contexts import NO_RESULT
from coterie_worker.secagg.errors import (
    BadSlot,
    DealerCheated,
    PeerProtocolError,
    TooFewSurvivors,
    TooLate,
    Unexpected,
    WrongSession,
    WrongStage,
)
from coterie_worker.secagg.messages import (
    HASH_BYTES,
    MAX_NUMBER,
    Consistent,
    Dealing,
    EpochStart,
    GraphPart,
    Message,
    Revealed,
    ShareAck,
    SlotStart,
    decode_message,
    encode_message,
)
from coterie_worker.secagg.transitions import CLOSES, EXPECTS, FALLS, OPENS_SLOTS, Stage, expect, refuse_other_content, require
from coterie_worker.secagg.uploads import FrozenSlot, SlotSum, Uploads

if TYPE_CHECKING:
    from collections.abc import Callable

    from coterie_worker.secagg.masks import Words
    from coterie_worker.secagg.parameters import SessionParameters

Outbox = dict[int, bytes]  # client -> one control message for it


class ServerSession:
    """The surface of both protocols at the aggregator. Not for use from two threads at once."""

    _expects: dict[Stage, type[Message]] = EXPECTS
    _closes: dict[Stage, Stage] = CLOSES

    def __init__(self, parameters: SessionParameters, epoch: int, first_slot: int, members: frozenset[int]) -> None:
        if not members <= set(range(parameters.members)):
            raise BadSlot(f"members {sorted(members)}: the roster has {parameters.members}")
        if not 0 <= first_slot <= MAX_NUMBER - parameters.slots_per_epoch:
            raise BadSlot(f"first slot {first_slot}: allowed is 0 to {MAX_NUMBER - parameters.slots_per_epoch}")
        self.parameters = parameters
        self.stage = Stage.START
        self.frozen: FrozenSlot | None = None  # write it down before sending what `close` returned with it
        self._start = EpochStart(epoch, first_slot)
        self._live = set(members)
        self._heard: dict[int, bytes] = {}
        self._sid = b""
        self._next_slot = first_slot
        self._previous = NO_RESULT
        self._uploads: Uploads | None = None
        self._opened: SlotSum | None = None

    @property
    def live(self) -> frozenset[int]:
        """Clients of this epoch that have not dropped; only these can be asked in a slot."""
        return frozenset(self._live)

    @property
    def waiting_for(self) -> frozenset[int]:
        """Whose message or upload this stage still waits for. Once empty, there is no point in waiting: `close`."""
        return frozenset(self.waiting())

    @property
    def remaining_slots(self) -> int:
        """Slots of this epoch that can still be opened."""
        return self._start.first_slot + self.parameters.slots_per_epoch - self._next_slot

    def start(self) -> Outbox:
        """Open the epoch; return the first message for each member.

        Raises: WrongStage.
        """
        require(self.stage, frozenset({Stage.START}), "start")
        self.stage = Stage.ADVERTISE
        return self._to_all(self._start)

    def receive(self, sender: int, payload: bytes) -> None:
        """Take one control message of a client.

        Raises: PeerProtocolError with `sender`, and nothing changed. An honest, slow client causes `TooLate` (an earlier stage
            or slot) or `WrongSession` (an earlier epoch); after any other, `drop` the sender. The same message twice is
            taken once.
        """
        try:
            self._receive(sender, payload)
        except PeerProtocolError as error:
            error.sender = sender
            raise

    def _receive(self, sender: int, payload: bytes) -> None:
        if sender not in self._live:
            raise Unexpected(f"client {sender}: it is not, or no longer, in epoch {self._start.epoch}")
        message = decode_message(payload)
        if isinstance(message, GraphPart | Dealing | ShareAck | Consistent | Revealed):
            self._check_sid(message.sid)  # first of all: an honest client may still answer the epoch before this one
        if isinstance(message, Consistent | Revealed) and message.slot < self._next_slot - 1:
            raise TooLate(f"{type(message).__name__}: of slot {message.slot}, the open one is {self._next_slot - 1}")
        expect(self._expects, self.stage, type(message))
        digest = hashlib.sha256(payload).digest()
        if sender in self._heard:
            if self._heard[sender] != digest:
                raise refuse_other_content(type(message))
            return
        self._handlers()[type(message)](sender, message)
        self._heard[sender] = digest

    def drop(self, index: int) -> None:
        """The client is gone for the rest of the epoch. What it has submitted stays in the sum."""
        self._live.discard(index)

    def skip(self, index: int) -> None:
        """The client sends no update in this slot (its task failed) but stays.

        Raises: WrongStage outside of uploads.
        """
        require(self.stage, frozenset({Stage.INPUT}), "skip")
        assert self._uploads is not None
        if index not in self._uploads.signed:
            self._uploads.skipped.add(index)

    def close(self) -> Outbox:
        """Go to the next stage with what was heard: all of `waiting_for`, or what came before a deadline.

        Returns: the messages of the next stage; empty when none are needed.
        Raises: TooFewSurvivors, DealerCheated: the slot is burnt (stage Ready again) or, in set-up, the epoch is lost
            (Failed). WrongStage.
        """
        require(self.stage, frozenset(self._closes), "close")
        try:
            outbox = self._closers()[self.stage]()
        except (TooFewSurvivors, DealerCheated):
            self._fall()
            raise
        self.stage, self._heard = self._closes[self.stage], {}
        return outbox

    def start_slot(self, slot: int, model_hash: bytes, participants: frozenset[int], deadline: int, length: int) -> Outbox:
        """Open a slot; return the header for every live client, asked or not: all of them hold shares.

        Args: slot: greater than every earlier one of the job. model_hash: SHA-256 of the parameters that go out.
            participants: who is asked for an update. deadline: Unix milliseconds, for people. length: coordinates.
        Raises: WrongStage, BadSlot; TooFewSurvivors when fewer are asked than a sum may have. Nothing changed.
        """
        require(self.stage, OPENS_SLOTS, "start_slot")
        if self.stage is Stage.DONE and self._opened is None:
            raise WrongStage("start_slot: the result of the last slot was not taken")
        if not (self._next_slot <= slot and self.remaining_slots > slot - self._next_slot):
            raise BadSlot(f"slot {slot}: allowed is {self._next_slot} to {self._next_slot + self.remaining_slots - 1}")
        if not participants <= self._live:
            raise BadSlot(f"slot {slot}: participants {sorted(participants - self._live)} are not live in this epoch")
        if len(participants) < self.parameters.min_survivors:
            raise TooFewSurvivors("participants", len(participants), self.parameters.min_survivors)
        if len(model_hash) != HASH_BYTES or not 0 <= deadline <= MAX_NUMBER or not 0 < length <= MAX_NUMBER:
            raise BadSlot(f"slot {slot}: model hash of {len(model_hash)} bytes, deadline {deadline}, length {length}")
        header = SlotStart(self._sid, slot, model_hash, tuple(sorted(participants)), deadline, length, self._previous)
        self._uploads, self._opened, self.frozen = Uploads(Opening.of(self.parameters, header)), None, None
        self._next_slot, self.stage, self._heard = slot + 1, Stage.INPUT, {}
        return self._to_all(header)

    @property
    def header(self) -> SlotStart | None:
        """The header of the slot that was opened last."""
        return self._uploads.opening.header if self._uploads else None

    def accept(self, sender: int, vector: Words, signature: bytes, *, slot: int | None = None) -> None:
        """Verify one whole upload and add it to the sum; the vector can be reused afterwards.

        Args: vector: contiguous uint32[length]. signature: the client's, over the header and the vector's SHA-256. slot: the
            one that the upload says it is for, so that a late one is TooLate and no bad signature.
        Raises: PeerProtocolError with `sender`, and the sum is unchanged; TooLate once the survivors are frozen.
        """
        try:
            if self.stage is not Stage.INPUT or self._uploads is None or slot not in (None, self._next_slot - 1):
                raise TooLate(f"upload: client {sender} sent it at stage {self.stage}; late vectors are discarded for ever")
            if sender not in self._live:
                raise Unexpected(f"client {sender}: it is not, or no longer, in epoch {self._start.epoch}")
            self._uploads.accept(sender, vector, signature)
        except PeerProtocolError as error:
            error.sender = sender
            raise

    def waiting(self) -> set[int]:
        """Whose message the current stage still needs."""
        if self.stage is Stage.INPUT and self._uploads is not None:
            asked = set(self._uploads.opening.header.participants)
            return (asked & self._live) - set(self._uploads.signed) - self._uploads.skipped
        return self._live - set(self._heard) if self.stage in self._expects else set()

    def _freeze(self) -> Uploads:
        assert self._uploads is not None
        survivors = self._uploads.survivors()
        if len(survivors) < self.parameters.min_survivors:
            raise TooFewSurvivors("masked inputs", len(survivors), self.parameters.min_survivors)
        self.frozen = FrozenSlot(self._uploads.opening.header, survivors)
        return self._uploads

    def _fall(self) -> None:
        self.stage, self._heard = FALLS[self.stage], {}
        self._uploads = None

    def _result_uploads(self) -> Uploads:
        require(self.stage, frozenset({Stage.DONE}), "result")
        assert self._uploads is not None
        return self._uploads

    def _finish(self, uploads: Uploads) -> None:
        self._previous = uploads.result_hash()
        self._opened = SlotSum(uploads.total, frozenset(uploads.signed))

    def _keep_heard(self, what: str) -> None:
        """Go on with those who were heard and are still here; the others are out until the next epoch."""
        came = self._live & set(self._heard)
        if len(came) < self.parameters.min_survivors:
            raise TooFewSurvivors(what, len(came), self.parameters.min_survivors)
        self._live = came

    def _to_all(self, message: Message) -> Outbox:
        payload = encode_message(message)
        return dict.fromkeys(sorted(self._live), payload)

    def _check_sid(self, sid: bytes) -> None:
        if sid != self._sid:
            raise WrongSession("message: it is of another session")

    def _check_slot(self, sid: bytes, slot: int) -> Uploads:
        self._check_sid(sid)
        assert self._uploads is not None
        if slot != self._uploads.opening.header.slot:
            raise TooLate(f"message: of slot {slot}, the open one is {self._uploads.opening.header.slot}")
        return self._uploads

    def _handlers(self) -> dict[type[Message], Callable[[int, Any], None]]:
        raise AssertionError("each protocol has its own handlers")

    def _closers(self) -> dict[Stage, Callable[[], Outbox]]:
        raise AssertionError("each protocol has its own closers")
