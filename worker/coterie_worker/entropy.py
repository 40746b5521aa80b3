"""Where secret randomness comes from: the operating system in production, an argument everywhere else.

Pure rooms take an `Entropy` and import nothing; the shells pass `system_entropy`, tests a seeded one.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

Entropy = Callable[[int], bytes]  # n -> n bytes that nobody can predict


def system_entropy(size: int) -> bytes:
    """Return `size` bytes of the operating system's cryptographic generator."""
    return secrets.token_bytes(size)
