"""The prime field of Shamir's shares: GF(2^257 - 93), wide enough for any 256-bit secret.

Python integers: their arithmetic is not constant-time, but it has no secret-dependent table look-ups either, and every
value here is used once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

PRIME: Final = 2**257 - 93
BITS: Final = 257
ELEMENT_BYTES: Final = 33
_MASK: Final = 2**257 - 1


def to_bytes(element: int) -> bytes:
    """Return the element as 33 big-endian bytes."""
    return element.to_bytes(ELEMENT_BYTES)


def from_bytes(data: bytes) -> int:
    """Return the element of 33 bytes; ValueError unless they are the one encoding of a field element."""
    element = int.from_bytes(data)
    if len(data) != ELEMENT_BYTES or element >= PRIME:
        raise ValueError("not the canonical encoding of a field element")
    return element


def random_elements(count: int, entropy: Callable[[int], bytes]) -> list[int]:
    """Return `count` uniform elements, by rejection (which happens once in 2^250)."""
    drawn = entropy(count * ELEMENT_BYTES)
    elements = [int.from_bytes(drawn[at : at + ELEMENT_BYTES]) & _MASK for at in range(0, len(drawn), ELEMENT_BYTES)]
    kept = [element for element in elements if element < PRIME]
    return kept if len(kept) == count else kept + random_elements(count - len(kept), entropy)
