"""Frames to bytes and back, for gRPC's serializers.

A chunk of a vector is written by hand: protobuf would copy its megabyte three times, once into the message and twice out of
it, and these copies are most of what a round costs beside encryption. What is written is what protobuf would write; a test
holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from coterie_api.wire.v1 import rounds_pb2 as pb

SERVICE: Final = pb.DESCRIPTOR.services_by_name["Rounds"].full_name
METHOD: Final = "Attend"
_LENGTH_DELIMITED: Final = 2  # wire type of bytes and messages
_CHUNK: Final = pb.Frame.DESCRIPTOR.fields_by_name["chunk"].number
_DATA: Final = pb.Chunk.DESCRIPTOR.fields_by_name["data"].number


@dataclass(slots=True)
class ChunkFrame:
    """A frame that carries a part of a vector, not copied before it is written."""

    data: memoryview
    ack: int = 0
    sequence: int = 0

    def to_bytes(self) -> bytes:
        """The serialized `Frame`."""
        head = pb.Frame(ack=self.ack, sequence=self.sequence).SerializeToString()
        inner = _tag(_DATA) + _varint(len(self.data))
        return b"".join((head, _tag(_CHUNK), _varint(len(inner) + len(self.data)), inner, self.data))


Outgoing = pb.Frame | ChunkFrame


def to_bytes(frame: Outgoing) -> bytes:
    """What goes to the wire."""
    return frame.to_bytes() if isinstance(frame, ChunkFrame) else frame.SerializeToString()


def from_bytes(data: bytes) -> pb.Frame:
    """The frame off the wire; raises DecodeError, which ends the stream."""
    return pb.Frame.FromString(data)


def _tag(number: int) -> bytes:
    return _varint(number << 3 | _LENGTH_DELIMITED)


def _varint(value: int) -> bytes:
    """Base-128, least significant group first (protobuf's encoding specification, "Base 128 Varints")."""
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)
