"""Pure: how a model's tensors lie in one flat vector and in a safetensors file."""

from coterie_worker.layout.errors import InvalidFile, InvalidLayout, LayoutError, Mismatch
from coterie_worker.layout.model import pack, publish
from coterie_worker.layout.vector import Entry, Kind, Layout

__all__ = ["Entry", "InvalidFile", "InvalidLayout", "Kind", "Layout", "LayoutError", "Mismatch", "pack", "publish"]
