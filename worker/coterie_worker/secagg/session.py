"""What a client does under both protocols: stages, repeated messages, slots, headers and signed uploads."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from coterie_worker.secagg.consistency import Opening, check_participants
from coterie_worker.secagg.contexts import upload_context
from coterie_worker.secagg.errors import (
    BadVector,
    InvalidParameters,
    KeyUsed,
    ModelMismatch,
    NotAParticipant,
    StaleSlot,
    WrongSession,
    WrongStage,
)
from coterie_worker.secagg.memory import ClientMemory
from coterie_worker.secagg.messages import (
    MAX_NUMBER,
    EpochStart,
    Message,
    SlotStart,
    Survivors,
    UnmaskRequest,
    decode_message,
    encode_message,
)
from coterie_worker.secagg.transitions import CLIENT, MASKS, OF_EPOCH, REPEATED, ClientStage, expect_client, refuse_other_content

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from coterie_worker.secagg.masks import Words
    from coterie_worker.secagg.parameters import SessionParameters

SlotHeader = SlotStart


@dataclass(frozen=True, slots=True)
class _Answer:
    """What was replied to which bytes, so that a repeated message gets the same reply and another one none."""

    digest: bytes
    replies: tuple[bytes, ...]


class ClientSession:
    """What both protocols share: stages, repeated messages, slots and headers."""

    _table = CLIENT

    def __init__(self, parameters: SessionParameters, index: int, identity: Ed25519PrivateKey, *, last_slot: int) -> None:
        if not 0 <= index < parameters.members or parameters.roster[index].public_key != identity.public_key().public_bytes_raw():
            raise InvalidParameters(f"client {index}: its identity key is not the one that the roster pins at this place")
        self.parameters = parameters
        self.index = index
        self.stage = ClientStage.START
        self.header: SlotHeader | None = None
        self.last_slot = last_slot
        self.memory = ClientMemory()
        self._identity = identity
        self._start: EpochStart | None = None
        self._sid = b""
        self._known: tuple[int, ...] = ()
        self._opening: Opening | None = None
        self._model_checked = False
        self._answers: dict[type[Message], _Answer] = {}

    @property
    def _first_slot(self) -> int:
        return self._start.first_slot if self._start else 0

    @property
    def is_participant(self) -> bool:
        """Whether this client is asked for an update in the current slot (else it only holds shares)."""
        return self.header is not None and self.index in self.header.participants

    def receive(self, payload: bytes) -> tuple[bytes, ...]:
        """Return the replies to one control message of the aggregator.

        Raises: PeerProtocolError, named after what is wrong; nothing changed and nothing was revealed. The epoch goes on,
            the slot may be lost.
        Formal guarantees: one message of each kind is answered per epoch (set-up) or slot. The same bytes again get the same
            replies, other bytes get none.
        """
        message = decode_message(payload)
        kind, digest = type(message), hashlib.sha256(payload).digest()
        answered = self._answers.get(kind)
        if answered is not None and answered.digest == digest:
            return answered.replies
        if answered is not None and kind not in REPEATED:
            self._check_slot(message)
            raise refuse_other_content(kind)
        stage = expect_client(self._table, self.stage, kind)
        replies = tuple(encode_message(reply) for reply in self._handlers()[kind](message))
        self.stage = stage
        self._answers[kind] = _Answer(digest, replies)
        return replies

    def check_model(self, model_hash: bytes) -> None:
        """Compare the hash of the parameters that were loaded with the header's; `mask` asks for it first.

        Raises: WrongStage without a header, ModelMismatch.
        """
        if self.header is None:
            raise WrongStage("check_model: no slot is open")
        if model_hash != self.header.model_hash:
            raise ModelMismatch(
                f"model: loaded {model_hash.hex()[:16]}, the header of slot {self.header.slot} says {self.header.model_hash.hex()[:16]}"
            )
        self._model_checked = True

    def _handlers(self) -> dict[type[Message], Callable[[Any], tuple[Message, ...]]]:
        raise AssertionError("each protocol has its own handlers")

    def _check_start(self, start: EpochStart) -> None:
        if start.first_slot <= self.last_slot:
            raise StaleSlot(f"epoch {start.epoch}: its first slot is {start.first_slot}, this client has used slot {self.last_slot}")
        if start.first_slot > MAX_NUMBER - self.parameters.slots_per_epoch:
            raise StaleSlot(f"epoch {start.epoch}: its first slot is {start.first_slot}, slots end at {MAX_NUMBER}")

    def _open(self, header: SlotStart) -> tuple[Message, ...]:
        if header.sid != self._sid:
            raise WrongSession("header: it is of another session")
        first, last = max(self.last_slot + 1, self._first_slot), self._first_slot + self.parameters.slots_per_epoch - 1
        if not first <= header.slot <= last:
            raise StaleSlot(f"header: slot {header.slot}, allowed is {first} to {last}")
        self._check_participants(header)
        self.header, self.last_slot = header, header.slot
        self._opening = Opening.of(self.parameters, header)
        self._model_checked = False
        self._answers = {kind: answer for kind, answer in self._answers.items() if kind in OF_EPOCH}
        return ()

    def _check_participants(self, header: SlotStart) -> None:
        check_participants(header, self._known, self.parameters.min_survivors)

    def _check_slot(self, message: Message) -> None:
        if isinstance(message, Survivors | UnmaskRequest):
            self._current(message)

    def _current(self, message: Survivors | UnmaskRequest) -> Opening:
        if message.sid != self._sid:
            raise WrongSession(f"{type(message).__name__}: it is of another session")
        if self._opening is None or message.slot != self._opening.header.slot:
            raise StaleSlot(f"{type(message).__name__}: slot {message.slot}, the open one is {self.last_slot}; older secrets are erased")
        return self._opening

    def _check_mask(self) -> Opening:
        if self.stage in (ClientStage.MASKED, ClientStage.SIGNED, ClientStage.REVEALED):
            raise KeyUsed(f"slot {self.last_slot}: its vector was submitted or its survivors are fixed; a slot takes one vector, ever")
        if self._opening is None or self.stage not in MASKS:
            raise WrongStage(f"mask: called at stage {self.stage}, allowed at {', '.join(MASKS)}")
        if not self.is_participant:
            raise NotAParticipant(f"slot {self.last_slot}: client {self.index} is not asked for an update")
        if not self._model_checked:
            raise ModelMismatch(f"slot {self.last_slot}: the loaded parameters were not compared with the header (check_model)")
        return self._opening

    def _check_whole(self, values: Words) -> Opening:
        opening = self._check_mask()
        if values.shape != (opening.header.length,):
            raise BadVector(f"vector: {values.dtype}{values.shape}, expected uint32({opening.header.length},)")
        check_words(values)
        return opening

    def _spend(self) -> None:
        """The slot has had its vector. After `_check_mask`."""
        self.stage = MASKS[self.stage]

    def _sign_upload(self, opening: Opening, vector_hash: bytes) -> bytes:
        return self._identity.sign(upload_context(opening.hash, self.index, vector_hash))


def check_words(values: Words) -> None:
    """Raise BadVector unless the words can be masked in place."""
    if values.dtype != np.uint32 or values.ndim != 1 or not values.flags.c_contiguous or not values.flags.writeable:
        raise BadVector(f"vector: {values.dtype}{values.shape}, expected contiguous, writable uint32 words")
