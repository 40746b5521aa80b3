"""Protocol `None`: the same surface without masks. The aggregator sees every update; a job must ask for it by name.

Slots, headers, signed uploads and the tenant's policy stay as they are, so shells need not know the difference.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from coterie_worker.secagg.contexts import SESSION, digest, join_context
from coterie_worker.secagg.errors import WrongSession
from coterie_worker.secagg.keys import Entropy, verify
from coterie_worker.secagg.messages import EpochStart, Message, PlainJoin, SlotStart
from coterie_worker.secagg.parameters import SessionParameters, check_policy, check_session
from coterie_worker.secagg.serving import Outbox, ServerSession
from coterie_worker.secagg.session import ClientSession
from coterie_worker.secagg.transitions import PLAIN_CLIENT, PLAIN_CLOSES, PLAIN_EXPECTS, Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from coterie_api.podconfig import TenantPolicy
    from coterie_worker.secagg.masks import Run, Words
    from coterie_worker.secagg.uploads import SlotSum


def _plain_sid(parameters: SessionParameters, start: EpochStart) -> bytes:
    return digest(SESSION, parameters.base, start.epoch, start.first_slot, [])


class PlainServer(ServerSession):
    """One epoch of the aggregator without masks.

    Raises: InvalidParameters.
    """

    _expects = PLAIN_EXPECTS
    _closes = PLAIN_CLOSES

    def __init__(self, parameters: SessionParameters, epoch: int, first_slot: int, members: frozenset[int]) -> None:
        check_session(parameters)
        super().__init__(parameters, epoch, first_slot, members)
        self._sid = _plain_sid(parameters, self._start)

    def result(self, *, run: Run = map, shards: int = 1) -> SlotSum:  # noqa: ARG002 - the surface of both protocols
        """Return the sum.

        Raises: WrongStage before the slot is closed.
        """
        uploads = self._result_uploads()
        if self._opened is None:
            self._finish(uploads)
        assert self._opened is not None
        return self._opened

    def _handlers(self) -> dict[type[Message], Callable[[int, Any], None]]:
        return {PlainJoin: self._hear_join}

    def _hear_join(self, sender: int, join: PlainJoin) -> None:
        expected = (self.parameters.base, self._start.epoch, self._start.first_slot, sender)
        if (join.base, join.epoch, join.first_slot, join.index) != expected:
            raise WrongSession(f"join of client {sender}: it is of another session or client")
        verify(self.parameters.roster[sender].public_key, join.signature, join_context(join), what=f"join of client {sender}")

    def _closers(self) -> dict[Stage, Callable[[], Outbox]]:
        return {Stage.ADVERTISE: self._close_joins, Stage.INPUT: self._close_input}

    def _close_joins(self) -> Outbox:
        self._keep_heard("joins")
        return {}

    def _close_input(self) -> Outbox:
        self._freeze()
        return {}


class PlainClient(ClientSession):
    """One epoch of one client without masks.

    Raises: InvalidParameters; PolicyRefused unless the tenant's policy allows jobs without secure aggregation.
    """

    _table = PLAIN_CLIENT

    def __init__(
        self,
        parameters: SessionParameters,
        index: int,
        identity: Ed25519PrivateKey,
        policy: TenantPolicy,
        entropy: Entropy,  # noqa: ARG002 - the surface of both protocols
        last_slot: int = -1,
    ) -> None:
        check_session(parameters)
        check_policy(parameters, policy, masked=False)
        super().__init__(parameters, index, identity, last_slot=last_slot)

    def mask(self, values: Words, *, run: Run = map, shards: int = 1) -> tuple[Words, bytes]:  # noqa: ARG002
        """Return the vector as it is, and the signature over it. Once per slot, as with masks.

        Raises: KeyUsed, WrongStage, NotAParticipant, ModelMismatch, BadVector.
        """
        opening = self._check_whole(values)
        self._spend()
        return values, self._sign_upload(opening, hashlib.sha256(values.data).digest())

    def _handlers(self) -> dict[type[Message], Callable[[Any], tuple[Message, ...]]]:
        return {EpochStart: self._join, SlotStart: self._open}

    def _join(self, start: EpochStart) -> tuple[Message, ...]:
        self._check_start(start)
        unsigned = PlainJoin(self.parameters.base, start.epoch, start.first_slot, self.index, signature=b"")
        signature = self._identity.sign(join_context(unsigned))
        self._start, self._sid = start, _plain_sid(self.parameters, start)
        self._known = tuple(range(self.parameters.members))
        return (PlainJoin(unsigned.base, unsigned.epoch, unsigned.first_slot, unsigned.index, signature),)
