"""Keys: signatures, key agreement, derivation, sealing, and objects that give their secret once.

Primitives: Ed25519 (RFC 8032), X25519 (RFC 7748), HKDF-SHA256 (RFC 5869), AES-256-GCM (NIST SP 800-38D), by `cryptography`; but
signatures are checked by libsodium (`nacl`), in half the time. It also refuses keys of low order, under which others' signatures hold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from nacl.bindings import crypto_sign_BYTES, crypto_sign_open, crypto_sign_PUBLICKEYBYTES
from nacl.exceptions import BadSignatureError

from coterie_worker.secagg.contexts import SHARE_SEAL, context
from coterie_worker.secagg.errors import BadAdvert, BadSeal, BadSignature, KeyUsed

Entropy = Callable[[int], bytes]

# The nonce is fixed because a sealing key is derived from both parties' one-epoch keys, the session and the direction, and
# seals one message.
_NONCE: Final = bytes(12)

_CURVE_PRIME: Final = 2**255 - 19
# u-coordinates of the points of order 1, 2, 4 and 8 on the curve and its twist (RFC 7748 §6.1; Bernstein, "Curve25519", 2006).
_LOW_ORDER: Final = frozenset(
    {
        0,
        1,
        _CURVE_PRIME - 1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
    }
)


class OneUse:
    """A secret that is given out once and then erased.

    Formal guarantees: a second `take` raises KeyUsed. Python may have left copies of the bytes in memory; what we hold is
    overwritten.
    """

    __slots__ = ("_name", "_secret")

    def __init__(self, secret: bytes, name: str) -> None:
        self._secret: bytearray | None = bytearray(secret)
        self._name = name

    def __repr__(self) -> str:
        return f"<{self._name}: {'erased' if self._secret is None else 'hidden'}>"

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise TypeError(f"{self._name} is never pickled or copied")

    def take(self) -> bytes:
        """Return the secret and erase it."""
        if self._secret is None:
            raise KeyUsed(f"the {self._name} has been used; it is used once, ever")
        secret = bytes(self._secret)
        self.erase()
        return secret

    def erase(self) -> None:
        """Overwrite and forget the secret; harmless when repeated."""
        if self._secret is not None:
            self._secret[:] = bytes(len(self._secret))
            self._secret = None


def verify(public_key: bytes, signature: bytes, signed: bytes, *, what: str) -> None:
    """Raise BadSignature, naming `what`, unless the signature is the key owner's over exactly these bytes."""
    try:
        # libsodium takes whatever lengths it is given: what a signature has too much would count as the beginning of what is signed.
        if len(signature) != crypto_sign_BYTES or len(public_key) != crypto_sign_PUBLICKEYBYTES:
            raise BadSignatureError
        crypto_sign_open(signature + signed, public_key)
    except BadSignatureError:
        raise BadSignature(f"{what}: the signature does not verify under the pinned roster") from None


def public_of(private: bytes) -> bytes:
    """Return the X25519 public key of 32 private bytes."""
    return exchange_key(private).public_key().public_bytes_raw()


def check_exchange_key(public: bytes, *, what: str) -> None:
    """Raise BadAdvert for keys that no honest client makes: of low order, or a second encoding of another key."""
    point = int.from_bytes(public, "little")
    if point >= _CURVE_PRIME:
        raise BadAdvert(f"{what}: not the canonical encoding of an X25519 key")
    if point in _LOW_ORDER:
        raise BadAdvert(f"{what}: a point of low order, which makes every shared secret known")


def exchange_key(private: bytes) -> X25519PrivateKey:
    """Return the key object of 32 private bytes; making one costs as much as an agreement, so make it once."""
    return X25519PrivateKey.from_private_bytes(private)


def agree(private: X25519PrivateKey, public: bytes) -> bytes:
    """Return the X25519 shared secret, never used but through `derive`."""
    return private.exchange(X25519PublicKey.from_public_bytes(public))


def derive(secret: bytes, label: str, *facts: Any) -> bytes:
    """Return 32 bytes of HKDF-SHA256 with no salt and the context as info."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=context(label, *facts)).derive(secret)


def seal(channel: bytes, sid: bytes, sender: int, receiver: int, plain: bytes) -> bytes:
    """Return `plain`, readable by `receiver` alone; `channel` is their X25519 secret. One message per direction and session."""
    facts = (sid, sender, receiver)
    return AESGCM(derive(channel, SHARE_SEAL, *facts)).encrypt(_NONCE, plain, context(SHARE_SEAL, "shares", *facts))


def open_sealed(channel: bytes, sid: bytes, sender: int, receiver: int, sealed: bytes) -> bytes:
    """Return what `sender` sealed for `receiver` in this session.

    Raises: BadSeal, also for the receiver's own message reflected, another session's, or one truncated or changed.
    """
    facts = (sid, sender, receiver)
    try:
        return AESGCM(derive(channel, SHARE_SEAL, *facts)).decrypt(_NONCE, sealed, context(SHARE_SEAL, "shares", *facts))
    except InvalidTag:
        raise BadSeal(f"shares of client {sender}: they do not open under this session's key from {sender} to {receiver}") from None
