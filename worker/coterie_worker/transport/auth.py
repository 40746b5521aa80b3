"""How a client proves who it is, and to whom it proves it.

The server shows a P-256 certificate of the operator's CA in TLS 1.3. The client then signs, with the tenant's Ed25519 key,

    label ‖ nonce (32) ‖ SHA-256 of the server certificate's DER (32) ‖ instance (16) ‖ spec_hash (32) ‖ index (4, big-endian)
    ‖ last slot (8, big-endian) ‖ job uid

Every part but the last has a fixed length, so two different claims never have the same bytes. The certificate is the one that
terminates *this* client's TLS connection (`tls.pin` fixes it before gRPC dials), and the server checks against its own: a relay
that terminates TLS with another certificate, even one of the same CA and the same name, holds a proof for that certificate
alone, which the real server refuses. The nonce is fresh for each stream, so a recorded proof is worthless; the job's uid and
spec_hash keep a proof from serving another job.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from coterie_worker.secagg.errors import BadSignature
from coterie_worker.secagg.keys import verify

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

LABEL: Final = b"coterie/v1/attend\x00"
NONCE_BYTES: Final = 32
INSTANCE_BYTES: Final = 16
HASH_BYTES: Final = 32
SESSION_BYTES: Final = 16
JOB_UID_CHARACTERS: Final = 64
VERSION: Final = 2  # of the wire: 1 had no short vectors


class NotAuthenticated(Exception):
    """The peer did not prove to be who it claims; says which check failed, nothing of what was sent."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Who a client says it is, and which slot of the job it has used last: 0 for none.

    The slot is signed, and no part of who it is: it grows while the client stays the same.
    """

    job_uid: str
    index: int
    instance: bytes
    spec_hash: bytes
    last_slot: int = field(default=0, compare=False)

    def transcript(self, nonce: bytes, certificate_hash: bytes) -> bytes:
        """The bytes that the client signs."""
        fixed = ((nonce, NONCE_BYTES), (certificate_hash, HASH_BYTES), (self.instance, INSTANCE_BYTES), (self.spec_hash, HASH_BYTES))
        if any(len(part) != length for part, length in fixed):
            raise NotAuthenticated("a part of the transcript has the wrong length")
        numbers = self.index.to_bytes(4, "big") + self.last_slot.to_bytes(8, "big")
        return LABEL + b"".join(part for part, _ in fixed) + numbers + self.job_uid.encode()


@dataclass(frozen=True, slots=True)
class Admission:
    """Whom the server lets in: the job's roster, pinned in its configuration."""

    job_uid: str
    spec_hash: bytes
    public_keys: tuple[bytes, ...]  # Ed25519, by index

    def check_claim(self, claim: Claim) -> None:
        """Refuse what is wrong before any signature; raises NotAuthenticated."""
        if claim.job_uid != self.job_uid:
            raise NotAuthenticated("the client was started for another job")
        if claim.spec_hash != self.spec_hash:
            raise NotAuthenticated("the client holds another job.json than the aggregator")
        if not 0 <= claim.index < len(self.public_keys):
            raise NotAuthenticated("the client's index is not in the roster")
        if len(claim.instance) != INSTANCE_BYTES:
            raise NotAuthenticated("the client's instance has the wrong length")

    def check_proof(self, claim: Claim, nonce: bytes, certificate_hash: bytes, signature: bytes) -> None:
        """Check the claim and its signature; raises NotAuthenticated."""
        self.check_claim(claim)
        try:
            verify(self.public_keys[claim.index], signature, claim.transcript(nonce, certificate_hash), what="proof")
        except BadSignature:
            raise NotAuthenticated("the client's signature does not match the roster's key") from None


def prove(key: Ed25519PrivateKey, claim: Claim, nonce: bytes, certificate_hash: bytes) -> bytes:
    """Sign the transcript; 64 bytes."""
    return key.sign(claim.transcript(nonce, certificate_hash))


def certificate_hash(der: bytes) -> bytes:
    """SHA-256 of a certificate's DER."""
    return hashlib.sha256(der).digest()
