"""The test cluster's own authority, serving certificate and service-account key, so that every client verifies what it talks to."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFETIME: Final = datetime.timedelta(days=90)  # a contributor may keep a cluster for a while


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where the files of one cluster lie."""

    authority: Path
    certificate: Path
    key: Path
    service_account_key: Path
    service_account_public_key: Path

    @classmethod
    def within(cls, folder: Path) -> Credentials:
        """Return where `issue` writes into a folder."""
        names = ("ca.crt", "server.crt", "server.key", "service-accounts.key", "service-accounts.pub")
        return cls(*(folder / name for name in names))


def issue(folder: Path, dns_names: tuple[str, ...], addresses: tuple[str, ...]) -> Credentials:
    """Write an authority, a serving certificate for the given names and a service-account key pair into `folder`."""
    found = Credentials.within(folder)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = _authority(authority_key)
    key = ec.generate_private_key(ec.SECP256R1())
    found.authority.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    found.certificate.write_bytes(_serving(authority, authority_key, key, dns_names, addresses).public_bytes(serialization.Encoding.PEM))
    _write_private(found.key, key)
    signer = ec.generate_private_key(ec.SECP256R1())
    _write_private(found.service_account_key, signer)
    public = signer.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    found.service_account_public_key.write_bytes(public)
    return found


def _authority(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "coterie test cluster")])
    builder = _builder(name, name, key.public_key())
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True).add_extension(usage, critical=True)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False).sign(key, hashes.SHA256())


def _serving(
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    key: ec.EllipticCurvePrivateKey,
    dns_names: tuple[str, ...],
    addresses: tuple[str, ...],
) -> x509.Certificate:
    # The same key proves the API server to its clients, the kubelet to the API server and the API server to the kubelet, whose
    # questions about rights RBAC answers by this group.
    name = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:masters"), x509.NameAttribute(NameOID.COMMON_NAME, "kube-apiserver")]
    subject = x509.Name(name)
    names = [x509.DNSName(name) for name in dns_names] + [x509.IPAddress(ip_address(address)) for address in addresses]
    builder = _builder(subject, authority.subject, key.public_key()).add_extension(x509.SubjectAlternativeName(names), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
    )
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    return builder.add_extension(identifier, critical=False).sign(authority_key, hashes.SHA256())


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - datetime.timedelta(minutes=5)).not_valid_after(now + _LIFETIME)


def _write_private(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    path.touch(mode=0o600)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(pem)
