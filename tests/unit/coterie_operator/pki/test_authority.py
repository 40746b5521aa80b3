"""Laws of the operator's certificate authority."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID

from coterie_operator.pki import Authority, Validity, aggregator_request, operator_request

NOW = datetime(2026, 8, 1, 12, tzinfo=UTC)
DNS = "fashion-aggregator-abcdefghij.research.svc"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create(NOW)


def _certificate(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem)


def _server_verifier(authority: Authority, name: str, when: datetime) -> verification.ServerVerifier:
    store = verification.Store([_certificate(authority.certificate)])
    return verification.PolicyBuilder().store(store).time(when).build_server_verifier(x509.DNSName(name))


def _client_verifier(authority: Authority, when: datetime) -> verification.ClientVerifier:
    store = verification.Store([_certificate(authority.certificate)])
    return verification.PolicyBuilder().store(store).time(when).build_client_verifier()


def test_an_aggregators_certificate_verifies_for_its_services_name(authority: Authority) -> None:
    issued = authority.issue(aggregator_request("uid-1", (DNS,)), NOW, 90)

    _server_verifier(authority, DNS, NOW).verify(_certificate(issued.certificate), [])


def test_a_certificate_says_which_job_and_role_it_is_for(authority: Authority) -> None:
    leaf = _certificate(authority.issue(aggregator_request("uid-1", (DNS,)), NOW, 90).certificate)

    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["coterie://job/uid-1/aggregator"]
    assert names.get_values_for_type(x509.DNSName) == [DNS]


def test_certificates_are_p256_with_fresh_keys(authority: Authority) -> None:
    first, second = (authority.issue(operator_request(), NOW, 1) for _ in range(2))

    key = serialization.load_pem_private_key(first.key, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert isinstance(key.curve, ec.SECP256R1)
    assert first.key != second.key


def test_the_operators_certificate_verifies_as_a_client(authority: Authority) -> None:
    issued = authority.issue(operator_request(), NOW, 90)

    verified = _client_verifier(authority, NOW).verify(_certificate(issued.certificate), [])

    assert verified.subjects is not None
    assert x509.UniformResourceIdentifier("coterie://operator") in verified.subjects


@pytest.mark.parametrize("name", ["other-aggregator-abcdefghij.research.svc", "fashion-aggregator-abcdefghij.evil.svc", "research.svc"])
def test_a_certificate_does_not_verify_for_another_name(authority: Authority, name: str) -> None:
    leaf = _certificate(authority.issue(aggregator_request("uid-1", (DNS,)), NOW, 90).certificate)

    with pytest.raises(verification.VerificationError):
        _server_verifier(authority, name, NOW).verify(leaf, [])


@pytest.mark.parametrize("days", [-1, 91])
def test_a_certificate_does_not_verify_outside_its_validity(authority: Authority, days: int) -> None:
    leaf = _certificate(authority.issue(aggregator_request("uid-1", (DNS,)), NOW, 90).certificate)

    with pytest.raises(verification.VerificationError):
        _server_verifier(authority, DNS, NOW + timedelta(days=days)).verify(leaf, [])


def test_an_aggregators_certificate_does_not_open_another_aggregators_status(authority: Authority) -> None:
    leaf = _certificate(authority.issue(aggregator_request("uid-1", (DNS,)), NOW, 90).certificate)

    with pytest.raises(verification.VerificationError):
        _client_verifier(authority, NOW).verify(leaf, [])


def test_the_operators_certificate_does_not_pass_as_an_aggregator(authority: Authority) -> None:
    leaf = _certificate(authority.issue(operator_request(), NOW, 90).certificate)

    assert leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value == x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    with pytest.raises(verification.VerificationError):
        _server_verifier(authority, DNS, NOW).verify(leaf, [])


def test_a_leaf_cannot_sign_another_leaf(authority: Authority) -> None:
    leaf = _certificate(authority.issue(operator_request(), NOW, 90).certificate)

    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not leaf.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign


def test_another_authoritys_certificate_is_refused(authority: Authority) -> None:
    stranger = Authority.create(NOW).issue(aggregator_request("uid-1", (DNS,)), NOW, 90)

    with pytest.raises(verification.VerificationError):
        _server_verifier(authority, DNS, NOW).verify(_certificate(stranger.certificate), [])
    with pytest.raises(InvalidSignature):
        _certificate(stranger.certificate).verify_directly_issued_by(_certificate(authority.certificate))


def test_what_was_written_can_be_loaded_again(authority: Authority) -> None:
    loaded = Authority.load(authority.certificate, authority.key)

    leaf = _certificate(loaded.issue(aggregator_request("uid-1", (DNS,)), NOW, 90).certificate)
    _server_verifier(authority, DNS, NOW).verify(leaf, [])


def test_a_certificate_with_another_authoritys_key_is_not_loaded(authority: Authority) -> None:
    with pytest.raises(ValueError, match="do not belong together"):
        Authority.load(authority.certificate, Authority.create(NOW).key)


def test_an_ed25519_authority_is_not_loaded(authority: Authority) -> None:
    key = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )

    with pytest.raises(ValueError, match="P-256"):
        Authority.load(authority.certificate, key)


def test_an_expired_authority_signs_nothing() -> None:
    old = Authority.create(NOW, days=10)

    with pytest.raises(ValueError, match="the authority is valid from"):
        old.issue(operator_request(), NOW + timedelta(days=10), 1)


def test_a_leaf_never_outlives_its_authority() -> None:
    young = Authority.create(NOW, days=10)

    leaf = _certificate(young.issue(operator_request(), NOW, 90).certificate)

    assert leaf.not_valid_after_utc == NOW + timedelta(days=10)


def test_a_key_stays_out_of_representations(authority: Authority) -> None:
    assert "PRIVATE" not in repr(authority.issue(operator_request(), NOW, 1))


@pytest.mark.parametrize(("after", "is_due"), [(-1, True), (0, False), (39, False), (61, True), (90, True), (400, True)])
def test_a_certificate_is_renewed_when_two_thirds_of_its_life_are_over(after: int, is_due: bool) -> None:
    validity = Validity.of_days(NOW, 90)

    assert validity.is_due(NOW + timedelta(days=after)) is is_due


@pytest.mark.parametrize("days", [0, -3])
def test_a_validity_of_no_days_is_refused(days: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Validity.of_days(NOW, days)
