"""A tenant's Ed25519 key pair, as `coterie keygen` and embedded mode make it."""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from coterie_api.pinned import pin

if TYPE_CHECKING:
    from coterie_api.podconfig import TenantPolicy
    from coterie_operator.cluster import Object

PRIVATE_FILE = "private.pem"


@dataclass(frozen=True, slots=True)
class KeyPair:
    """The public half for the data set's `spec.identity`, the private half for a Secret of the tenant's namespace."""

    public_key: str  # 32 bytes, base64
    private_pem: bytes  # PKCS#8; with the tenant's policy, if one is pinned

    def __repr__(self) -> str:
        return f"KeyPair(public_key={self.public_key!r}, private_pem=...)"  # the private half stays out of tracebacks

    @classmethod
    def generate(cls) -> KeyPair:
        """Make a new pair from the system's entropy."""
        key = Ed25519PrivateKey.generate()
        raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return cls(base64.b64encode(raw).decode(), pem)

    def pinning(self, policy: TenantPolicy) -> KeyPair:
        """Return the pair with a policy in the file of the private half, where nobody can part the two."""
        return replace(self, private_pem=pin(self.private_pem, policy))

    def secret(self, namespace: str, name: str) -> Object:
        """Return the Secret that holds the private half."""
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": namespace},
            "type": "Opaque",
            "data": {PRIVATE_FILE: base64.b64encode(self.private_pem).decode()},
        }
