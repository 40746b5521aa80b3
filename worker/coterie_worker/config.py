"""What a pod finds at its mount paths, resolved against its root folder."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from coterie_api.fields import dump, parse
from coterie_api.names import FILE_JOB, FILE_ROLE, PATH_CONFIG, PATH_IDENTITY, PATH_TERMINATION
from coterie_api.pinned import pinned
from coterie_api.podconfig import JobConfig, TenantPolicy

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from coterie_api.progress import Termination

T = TypeVar("T")
TERMINATION_BYTES: Final = 4096  # what a kubelet keeps
MESSAGE_CHARACTERS: Final = 1500


class UnusableKey(Exception):
    """The tenant's private key can't be read as Ed25519."""


@dataclass(frozen=True, slots=True)
class Pod:
    """The files of this pod, below its root folder; and the address to listen on."""

    root: Path = Path("/")
    host: str = "127.0.0.1"

    def at(self, mount: str) -> Path:
        """The place of a mount path."""
        return self.root / mount.lstrip("/")

    def job(self) -> tuple[JobConfig, bytes]:
        """The job, and SHA-256 of the very bytes it was read from. Raises OSError, ValueError, InvalidObject."""
        content = (self.at(PATH_CONFIG) / FILE_JOB).read_bytes()
        return parse(JobConfig, json.loads(content), where=FILE_JOB), hashlib.sha256(content).digest()

    def role(self, cls: type[T]) -> T:
        """What is meant for this pod alone. Raises OSError, ValueError, InvalidObject."""
        content = (self.at(PATH_CONFIG) / FILE_ROLE).read_bytes()
        return parse(cls, json.loads(content), where=FILE_ROLE)

    def identity(self) -> Ed25519PrivateKey:
        """The tenant's key. Raises OSError, UnusableKey."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        path = self._identity_file
        try:
            key = load_pem_private_key(path.read_bytes(), password=None)
        except ValueError:
            raise UnusableKey(f"{path}: not a PKCS#8 private key in PEM") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise UnusableKey(f"{path}: a {type(key).__name__}, allowed is Ed25519")
        return key

    def pinned_policy(self) -> TenantPolicy | None:
        """The tenant's own policy, if it has pinned one beside its key. Raises OSError, UnusablePolicy."""
        return pinned(self._identity_file.read_bytes())

    @property
    def _identity_file(self) -> Path:
        return self.at(PATH_IDENTITY) / "private.pem"

    def say_last(self, word: Termination) -> None:
        """Write the termination message, cut to what a kubelet keeps. A pod without a place for it goes without."""
        path = self.at(PATH_TERMINATION)
        if path.parent.is_dir():
            path.write_bytes(encode(word))


def encode(word: Termination) -> bytes:
    """A termination message as JSON of at most 4 KiB: a long message is cut, then drops are left out, the last first."""
    document = dump(word)
    document["message"] = word.message[:MESSAGE_CHARACTERS]
    drops = (document.get("progress") or {}).get("drops") or []
    while len(encoded := json.dumps(document, separators=(",", ":")).encode()) > TERMINATION_BYTES and drops:
        drops.pop()
    return encoded
