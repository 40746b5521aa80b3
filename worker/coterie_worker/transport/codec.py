"""Frames to bytes and back, for gRPC's serializers.

A chunk of a vector is written and read by hand: protobuf copies its megabyte into the message and out of it again, and
these copies are most of what a round costs beside encryption. What is written is what protobuf writes, and what does not look
exactly like that is left to protobuf to read; tests hold the two together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from coterie_api.wire.v1 import rounds_pb2 as pb

SERVICE: Final = pb.DESCRIPTOR.services_by_name["Rounds"].full_name
METHOD: Final = "Attend"
_LENGTH_DELIMITED: Final = 2  # wire type of bytes and messages
_WORTH_IT: Final = 4096  # bytes of a frame from which on a copy costs more than reading by hand
_VARINT_BYTES: Final = 10  # of 64 bits
_UINT64: Final = 2**64 - 1
_CHUNK: Final = pb.Frame.DESCRIPTOR.fields_by_name["chunk"].number
_ACK: Final = pb.Frame.DESCRIPTOR.fields_by_name["ack"].number
_SEQUENCE: Final = pb.Frame.DESCRIPTOR.fields_by_name["sequence"].number
_DATA: Final = pb.Chunk.DESCRIPTOR.fields_by_name["data"].number


@dataclass(slots=True)
class ChunkFrame:
    """A frame that carries a part of a vector, not copied before it is written or after it is read."""

    data: memoryview
    ack: int = 0
    sequence: int = 0

    def to_bytes(self) -> bytes:
        """The serialized `Frame`."""
        head = pb.Frame(ack=self.ack, sequence=self.sequence).SerializeToString()
        inner = _tag(_DATA) + _varint(len(self.data))
        return b"".join((head, _tag(_CHUNK), _varint(len(inner) + len(self.data)), inner, self.data))


AnyFrame = pb.Frame | ChunkFrame


def body_of(frame: AnyFrame) -> str | None:
    """The name of the frame's body; None if it has none."""
    if isinstance(frame, ChunkFrame):
        return "chunk"
    body: str | None = frame.WhichOneof("body")
    return body


def to_bytes(frame: AnyFrame) -> bytes:
    """What goes to the wire."""
    return frame.to_bytes() if isinstance(frame, ChunkFrame) else frame.SerializeToString()


def from_bytes(data: bytes) -> AnyFrame:
    """The frame off the wire; raises DecodeError, which ends the stream."""
    chunk = _chunk_of(data) if len(data) >= _WORTH_IT else None
    return chunk or pb.Frame.FromString(data)


def _chunk_of(data: bytes) -> ChunkFrame | None:
    """The chunk frame that `data` is, if it is laid out as `ChunkFrame.to_bytes` does it."""
    ack, at = _counter(data, 0, _ACK)
    sequence, at = _counter(data, at, _SEQUENCE)
    for number in (_CHUNK, _DATA):
        tag = _tag(number)
        if not data.startswith(tag, at):
            return None
        length, at = _read_varint(data, at + len(tag))
        if length != len(data) - at:
            return None
    return ChunkFrame(memoryview(data)[at:], ack, sequence)


def _counter(data: bytes, at: int, number: int) -> tuple[int, int]:
    """A counter's value and where it ends; protobuf leaves out zeros, and bits that a uint64 has no room for."""
    value, end = _read_varint(data, at + 1) if data[at] == number << 3 else (0, at)
    return value & _UINT64, end


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The value that starts there and where it ends; -1 if there is none."""
    value = 0
    for place, group in enumerate(data[at : at + _VARINT_BYTES]):
        value |= (group & 0x7F) << 7 * place
        if group < 0x80:
            return value, at + place + 1
    return -1, at


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
