"""Between typed messages and the frames of the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from coterie_api.progress import DropReason
from coterie_api.wire.v1 import rounds_pb2 as pb
from coterie_worker.transport.codec import ChunkFrame
from coterie_worker.transport.messages import Control, Dropped, Finished, FrameRefused, Message, Vector, VectorKind, Words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import DTypeLike

    from coterie_worker.transport.chunk_size import ChunkSize

TEXT_CHARACTERS: Final = 256
WORD_TYPES: Final[dict[VectorKind, DTypeLike]] = {
    VectorKind.LAYOUT: np.uint8,
    VectorKind.INITIAL: np.uint8,
    VectorKind.PARAMETERS: np.dtype("<f4"),
    VectorKind.MASKED: np.dtype("<u4"),
}


def clean(text: str) -> str:
    """Text for people, short and printable: it ends in logs and in the job's status."""
    return "".join(character if character.isprintable() else "?" for character in text[:TEXT_CHARACTERS])


def encode(message: Control | Dropped | Finished) -> pb.Frame:
    """The one frame of a message that is not a vector."""
    match message:
        case Control(payload):
            return pb.Frame(control=pb.Control(payload=payload))
        case Finished(reason):
            return pb.Frame(finished=pb.Finished(reason=reason))
        case Dropped():
            return pb.Frame(drop=encode_drop(message))


def encode_drop(drop: Dropped) -> pb.Drop:
    """A drop on the wire, its texts cut and cleaned."""
    return pb.Drop(
        slot=drop.slot,
        reason=drop.reason.value,
        error_class=clean(drop.error_class),
        where=clean(drop.where),
        incident=clean(drop.incident),
        is_final=drop.is_final,
    )


def decode(frame: pb.Frame) -> Message:
    """The message of a frame that is not part of a vector; raises FrameRefused."""
    match frame.WhichOneof("body"):
        case "control":
            return Control(frame.control.payload)
        case "finished":
            return Finished(clean(frame.finished.reason))
        case "drop":
            return decode_drop(frame.drop)
        case other:
            raise FrameRefused(f"a frame of kind {other} is not a message")


def decode_drop(drop: pb.Drop) -> Dropped:
    """A drop off the wire; raises FrameRefused."""
    try:
        reason = DropReason(drop.reason)
    except ValueError:
        raise FrameRefused("a drop names no reason of the catalog") from None
    return Dropped(drop.slot, reason, clean(drop.error_class), clean(drop.where), clean(drop.incident), drop.is_final)


def as_bytes(words: Words) -> memoryview:
    """The vector's bytes, not copied."""
    return words.view(np.uint8).data


def begin(vector: Vector) -> pb.Frame:
    """Open a vector."""
    return pb.Frame(vector_begin=pb.VectorBegin(kind=vector.kind.value, tag=vector.tag, length_bytes=vector.words.nbytes))  # type: ignore[arg-type]


def short(vector: Vector) -> pb.Frame:
    """A whole vector in one frame."""
    data = bytes(as_bytes(vector.words))
    return pb.Frame(
        short_vector=pb.ShortVector(kind=vector.kind.value, tag=vector.tag, data=data, signature=vector.signature)  # type: ignore[arg-type]
    )


def chunks(words: Words, size: ChunkSize) -> Iterator[ChunkFrame]:
    """The vector's bytes in order, not copied."""
    view = as_bytes(words)
    while view:
        length = size.bytes
        yield ChunkFrame(view[:length])
        view = view[length:]


def end(vector: Vector) -> pb.Frame:
    """Close a vector."""
    return pb.Frame(vector_end=pb.VectorEnd(signature=vector.signature))
