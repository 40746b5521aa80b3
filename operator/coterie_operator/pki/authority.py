"""The operator's own certificate authority: P-256, because gRPC's BoringSSL refuses Ed25519 certificates.

One authority signs two kinds of leaf. An aggregator proves to clients which job it runs (DNS names of its Service, and the
URI `coterie://job/<uid>/aggregator`); the operator proves to aggregators that it may read `/status` (`coterie://operator`).
The extended key usages are disjoint, so a stolen aggregator key does not open another aggregator's `/status`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from coterie_operator.pki.renewal import Validity

if TYPE_CHECKING:
    from datetime import datetime

OPERATOR_URI = "coterie://operator"
AUTHORITY_DAYS = 3650
MAX_COMMON_NAME = 64  # X.520 upper bound


@dataclass(frozen=True, slots=True)
class Request:
    """What a leaf certificate shall say."""

    common_name: str
    dns_names: tuple[str, ...]
    uri: str
    usage: ObjectIdentifier


@dataclass(frozen=True, slots=True)
class Issued:
    """A leaf with its private key (PKCS#8) and the authority's certificate, all PEM. Never log or store it but in a Secret."""

    certificate: bytes
    key: bytes
    authority: bytes

    def __repr__(self) -> str:
        return "Issued(...)"  # the key stays out of tracebacks


def aggregator_request(job_uid: str, dns_names: tuple[str, ...]) -> Request:
    """Return the request for the server certificate of one job's aggregator."""
    return Request(f"aggregator {job_uid}", dns_names, f"coterie://job/{job_uid}/aggregator", ExtendedKeyUsageOID.SERVER_AUTH)


def operator_request() -> Request:
    """Return the request for the client certificate with which the operator reads `/status`."""
    return Request("coterie operator", (), OPERATOR_URI, ExtendedKeyUsageOID.CLIENT_AUTH)


class Authority:
    """A certificate and its key, able to sign leaves."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        if certificate.public_key() != key.public_key():
            raise ValueError("the certificate of the authority and its private key do not belong together")
        self._certificate = certificate
        self._key = key

    @classmethod
    def create(cls, now: datetime, days: int = AUTHORITY_DAYS) -> Authority:
        """Make a new self-signed authority, valid from `now` (aware) for `days` days."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("coterie authority")
        builder = _builder(name, name, key.public_key(), Validity.of_days(now, days))
        builder = (
            builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        return cls(builder.sign(key, hashes.SHA256()), key)

    @classmethod
    def load(cls, certificate_pem: bytes, key_pem: bytes) -> Authority:
        """Read what `certificate` and `key` wrote.

        Raises:
            ValueError: not PEM, not P-256, or the two do not belong together.
        """
        key = serialization.load_pem_private_key(key_pem, password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise ValueError(f"the authority's key is {type(key).__name__}; it must be an elliptic curve key on P-256")  # noqa: TRY004 - a value was read, not a type passed
        return cls(x509.load_pem_x509_certificate(certificate_pem), key)

    @property
    def certificate(self) -> bytes:
        """The authority's certificate, PEM: what the other side needs to verify a leaf."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key(self) -> bytes:
        """The authority's private key, PKCS#8 PEM."""
        return _pem(self._key)

    @property
    def validity(self) -> Validity:
        return Validity(self._certificate.not_valid_before_utc, self._certificate.not_valid_after_utc)

    def issue(self, request: Request, now: datetime, days: int) -> Issued:
        """Sign a leaf for `request` with a fresh P-256 key, valid from `now` for `days` days, never beyond the authority's own end.

        Raises:
            ValueError: the authority's own certificate does not hold at `now`.
        """
        validity = Validity.of_days(now, days)
        own = self.validity
        if not own.not_before <= now < own.not_after:
            raise ValueError(f"the authority is valid from {own.not_before} to {own.not_after}, not at {now}")
        key = ec.generate_private_key(ec.SECP256R1())
        clipped = Validity(validity.not_before, min(validity.not_after, own.not_after))
        builder = _builder(_name(request.common_name), self._certificate.subject, key.public_key(), clipped)
        certificate = self._extend(builder, request, key.public_key()).sign(self._key, hashes.SHA256())
        return Issued(certificate.public_bytes(serialization.Encoding.PEM), _pem(key), self.certificate)

    def _extend(self, builder: x509.CertificateBuilder, request: Request, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        names: list[x509.GeneralName] = [x509.DNSName(name) for name in request.dns_names]
        names.append(x509.UniformResourceIdentifier(request.uri))
        issuer = self._certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        return (
            builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([request.usage]), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer), critical=False)
        )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:MAX_COMMON_NAME])])


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, validity: Validity) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(validity.not_before)
        .not_valid_after(validity.not_after)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
