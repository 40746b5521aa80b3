"""R2 and R3 at the client: what must hold before it signs a set of survivors, and before it reveals a share.

All checks are against the client's own header, the adverts it verified and the job's parameters; the aggregator's word
counts for nothing.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coterie_worker.secagg.contexts import consistency_context, header_hash, upload_context
from coterie_worker.secagg.errors import BadSurvivors, BelowThreshold
from coterie_worker.secagg.keys import verify
from coterie_worker.secagg.messages import SlotStart, Survivors, UnmaskRequest
from coterie_worker.secagg.parameters import SessionParameters

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Opening:
    """A slot as one party sees it; everything in R2 and R3 is checked against this party's own header."""

    parameters: SessionParameters
    header: SlotStart
    hash: bytes

    @classmethod
    def of(cls, parameters: SessionParameters, header: SlotStart) -> Opening:
        """Return the opening of a header."""
        return cls(parameters, header, header_hash(header))

    def public_key(self, index: int) -> bytes:
        """Return the roster's key of a member."""
        return self.parameters.roster[index].public_key

    def check_upload(self, index: int, vector_hash: bytes, signature: bytes) -> None:
        """Raise BadSignature unless the client signed this vector under this very header."""
        verify(self.public_key(index), signature, upload_context(self.hash, index, vector_hash), what=f"masked input of client {index}")

    def check_consistent(self, index: int, survivors: Sequence[int], signature: bytes) -> None:
        """Raise BadSignature unless the client signed this very header and these survivors."""
        verify(self.public_key(index), signature, consistency_context(self.hash, survivors), what=f"consistency of client {index}")


def check_participants(header: SlotStart, known: Sequence[int], least: int) -> None:
    """Raise BadSurvivors or BelowThreshold unless the participants ascend, are known and enough."""
    check_ascending("participants", header.participants, known)
    if len(header.participants) < least:
        raise BelowThreshold(f"participants: {len(header.participants)}, at least {least} are needed")


def check_ascending(what: str, indices: Sequence[int], known: Sequence[int]) -> None:
    """Raise BadSurvivors unless the indices are strictly ascending and all known."""
    if any(later <= earlier for earlier, later in itertools.pairwise(indices)):
        raise BadSurvivors(f"{what}: {list(indices)}, indices must strictly ascend")
    strangers = sorted(set(indices) - set(known))
    if strangers:
        raise BadSurvivors(f"{what}: {strangers} are not among {sorted(known)}")


def check_survivors(opening: Opening, message: Survivors, index: int, *, submitted: bytes | None) -> tuple[int, ...]:
    """Return the survivors that a client may sign.

    Args: submitted: SHA-256 of the vector that this client masked in this slot, if it did.
    Raises: BadSurvivors, BelowThreshold, BadSignature.
    """
    survivors = tuple(upload[0] for upload in message.uploads)
    check_ascending("survivors", survivors, opening.header.participants)
    least = opening.parameters.min_survivors
    if len(survivors) < least:
        raise BelowThreshold(f"survivors: {len(survivors)}, at least {least} are needed")
    if (index in survivors) is not (submitted is not None):
        raise BadSurvivors(f"survivors: {list(survivors)}, but client {index} did {'' if submitted else 'not '}submit its vector")
    for client, vector_hash, signature in message.uploads:
        if client == index and vector_hash != submitted:
            raise BadSurvivors(f"survivors: the vector of client {index} is not the one that it submitted")
        opening.check_upload(client, vector_hash, signature)
    return survivors


def check_quorum(opening: Opening, message: UnmaskRequest, survivors: Sequence[int], known: Sequence[int]) -> None:
    """Raise unless a quorum of the whole roster signed exactly this header and these survivors.

    Raises: BelowThreshold, BadSurvivors for unknown or repeated signers, BadSignature.
    """
    signers = [signer for signer, _ in message.signatures]
    check_ascending("signers", signers, known)
    quorum = opening.parameters.quorum
    if len(signers) < quorum:
        raise BelowThreshold(f"signers: {len(signers)}, at least {quorum} of the roster's {opening.parameters.members} are needed")
    for signer, signature in message.signatures:
        opening.check_consistent(signer, survivors, signature)
