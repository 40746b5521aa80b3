"""TLS 1.3 with certificates of the operator's CA, on both ends of a stream.

gRPC for Python does not show a client the server's certificate. So the client makes one plain TLS 1.3 handshake first,
verified by CA, name and role, reads the certificate, and hands gRPC *that leaf alone* as the only root to trust: the gRPC
connection ends at the holder of that very key or fails.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from coterie_worker.transport.auth import certificate_hash
from coterie_worker.transport.messages import TransportError

if TYPE_CHECKING:
    from pathlib import Path


class CertificateRefused(TransportError):
    """The server's certificate is not this job's aggregator's."""


@dataclass(frozen=True, slots=True)
class Pinned:
    """The certificate that will terminate the client's connection."""

    pem: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """A server's certificate and key, as files hold them."""

    chain_pem: bytes
    key_pem: bytes

    @classmethod
    def load(cls, folder: Path) -> ServerCertificate:
        """Read `tls.crt` and `tls.key`."""
        return cls((folder / "tls.crt").read_bytes(), (folder / "tls.key").read_bytes())

    @property
    def hash(self) -> bytes:
        """SHA-256 of the leaf's DER; the leaf is first in the chain."""
        leaf = x509.load_pem_x509_certificates(self.chain_pem)[0]
        return certificate_hash(leaf.public_bytes(Encoding.DER))

    def __repr__(self) -> str:
        return f"ServerCertificate(hash={self.hash.hex()})"


def role_uri(job_uid: str, role: str) -> str:
    """The URI in the certificate of a job's child."""
    return f"coterie://job/{job_uid}/{role}"


OPERATOR_URI: Final = "coterie://operator"


def uris(certificate: x509.Certificate) -> frozenset[str]:
    """The URIs among a certificate's subject alternative names."""
    with suppress(x509.ExtensionNotFound):
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return frozenset(names.get_values_for_type(x509.UniformResourceIdentifier))
    return frozenset()


def client_context(ca_pem: bytes) -> ssl.SSLContext:
    """TLS 1.3, trusting the job's CA alone."""
    context = ssl.create_default_context(cadata=ca_pem.decode())
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["h2"])
    return context


async def pin(address: tuple[str, int], name: str, ca_pem: bytes, uri: str) -> Pinned:
    """Learn the certificate at an address: of this CA, for this DNS name, with this URI; raises CertificateRefused or OSError."""
    try:
        _, writer = await asyncio.open_connection(*address, ssl=client_context(ca_pem), server_hostname=name)
    except ssl.SSLError as error:
        raise CertificateRefused(f"the certificate at {name} does not verify: {error.reason}") from None
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    await close(writer)
    certificate = x509.load_der_x509_certificate(der)
    if uri not in uris(certificate):
        raise CertificateRefused(f"the certificate at {name} carries {sorted(uris(certificate))}, not {uri}")
    return Pinned(certificate.public_bytes(Encoding.PEM), certificate_hash(der))


async def close(writer: asyncio.StreamWriter) -> None:
    """End a connection that has served its purpose; how the other side takes it doesn't matter."""
    writer.close()
    with suppress(OSError, ssl.SSLError):
        await writer.wait_closed()
