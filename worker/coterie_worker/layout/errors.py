"""What can be wrong with a layout or a file of tensors.

LayoutError
├── InvalidLayout    the layout itself contradicts itself
├── InvalidFile      the bytes are no safetensors file
└── Mismatch         a file or vector belongs to another model than the layout
"""

from __future__ import annotations


class LayoutError(ValueError):
    """The root of this room's errors; messages name tensors, shapes and dtypes, never values."""


class InvalidLayout(LayoutError):
    """A layout that contradicts itself: duplicate names, an alias of nothing, a negative dimension."""


class InvalidFile(LayoutError):
    """Bytes that are not a whole, consistent safetensors file."""


class Mismatch(LayoutError):
    """A file or a vector that does not fit the layout."""
