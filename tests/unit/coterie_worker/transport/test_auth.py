"""A proof holds for one claim, one nonce, one certificate; everything else is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from coterie_worker.transport.auth import Admission, Claim, NotAuthenticated, prove

KEYS = [Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in range(3)]
ADMISSION = Admission("job-1", b"S" * 32, tuple(key.public_key().public_bytes_raw() for key in KEYS[:2]))
CLAIM = Claim("job-1", 1, b"I" * 16, b"S" * 32)
NONCE, CERTIFICATE = b"N" * 32, b"C" * 32
PROOF = prove(KEYS[1], CLAIM, NONCE, CERTIFICATE)


def test_the_tenant_of_the_roster_is_let_in() -> None:
    ADMISSION.check_proof(CLAIM, NONCE, CERTIFICATE, PROOF)


@pytest.mark.parametrize(
    "claim",
    [
        replace(CLAIM, job_uid="job-2"),
        replace(CLAIM, index=0),
        replace(CLAIM, index=2),
        replace(CLAIM, index=2**32 - 1),
        replace(CLAIM, instance=b"J" * 16),
        replace(CLAIM, instance=b""),
        replace(CLAIM, instance=b"I" * 17),
        replace(CLAIM, spec_hash=b"T" * 32),
        replace(CLAIM, spec_hash=b""),
        replace(CLAIM, last_slot=1),
        replace(CLAIM, last_slot=2**64 - 1),
    ],
    ids=repr,
)
def test_another_claim_with_the_same_proof_is_refused(claim: Claim) -> None:
    with pytest.raises(NotAuthenticated):
        ADMISSION.check_proof(claim, NONCE, CERTIFICATE, PROOF)


def test_a_recorded_proof_is_worthless_for_another_nonce() -> None:
    with pytest.raises(NotAuthenticated, match="signature"):
        ADMISSION.check_proof(CLAIM, b"M" * 32, CERTIFICATE, PROOF)


def test_a_proof_made_for_another_certificate_is_refused() -> None:
    with pytest.raises(NotAuthenticated, match="signature"):
        ADMISSION.check_proof(CLAIM, NONCE, b"D" * 32, PROOF)


@pytest.mark.parametrize("proof", [b"", PROOF[:-1], PROOF + b"\x00", bytes(64)], ids=["none", "short", "long", "zeros"])
def test_what_is_no_signature_is_refused(proof: bytes) -> None:
    with pytest.raises(NotAuthenticated, match="signature"):
        ADMISSION.check_proof(CLAIM, NONCE, CERTIFICATE, proof)


@pytest.mark.parametrize("key", [KEYS[0], KEYS[2]], ids=["another tenant", "a stranger"])
def test_another_key_is_refused(key: Ed25519PrivateKey) -> None:
    with pytest.raises(NotAuthenticated, match="signature"):
        ADMISSION.check_proof(CLAIM, NONCE, CERTIFICATE, prove(key, CLAIM, NONCE, CERTIFICATE))


def test_bytes_moved_between_parts_make_another_transcript() -> None:
    assert Claim("1x", 0, b"I" * 16, b"S" * 32).transcript(NONCE, CERTIFICATE) != Claim("x", 0, b"I" * 16, b"S" * 32).transcript(
        NONCE, CERTIFICATE
    )
    with pytest.raises(NotAuthenticated, match="wrong length"):
        CLAIM.transcript(NONCE + b"C", CERTIFICATE[1:])


def test_a_slot_is_said_under_the_signature_and_makes_nobody_somebody_else() -> None:
    later = replace(CLAIM, last_slot=7)

    ADMISSION.check_proof(later, NONCE, CERTIFICATE, prove(KEYS[1], later, NONCE, CERTIFICATE))
    assert later == CLAIM, "it goes on with its session"


def test_refusals_do_not_repeat_what_was_sent() -> None:
    with pytest.raises(NotAuthenticated) as caught:
        ADMISSION.check_claim(replace(CLAIM, job_uid="secret-name"))

    assert "secret-name" not in str(caught.value)
