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
    """A file, a vector or a model that does not fit the layout.

    The message tells what was found, which in a client may depend on its data: names and sizes of what the layout does not
    have stay in the pod. `tensor` is the layout's name of what differs, or empty.
    """

    def __init__(self, message: str, tensor: str = "") -> None:
        super().__init__(message)
        self.tensor = tensor
