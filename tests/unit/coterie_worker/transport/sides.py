"""Two ends of a link without a network between them, and frames made by hand."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from coterie_api.wire.v1 import rounds_pb2 as pb
from coterie_worker.transport.codec import body_of, from_bytes, to_bytes
from coterie_worker.transport.limits import Limits
from coterie_worker.transport.link import Receiver, Sender
from coterie_worker.transport.messages import FrameRefused, Vector, VectorKind

if TYPE_CHECKING:
    from coterie_worker.transport.gate import UploadGate

ALL = frozenset({"control", "short_vector", "vector_begin", "chunk", "vector_end", "drop", "finished"})
LIMITS = Limits(
    {VectorKind.PARAMETERS: 400, VectorKind.MASKED: 400, VectorKind.LAYOUT: 50},
    control_bytes=64,
    chunk_bytes=64,
    short_bytes=0,
    queued_messages=8,
    ack_seconds=0.01,
)
SHORT = replace(LIMITS, short_bytes=100)


class Side:
    """A sender and a receiver of one process."""

    def __init__(self, gate: UploadGate | None = None, limits: Limits = LIMITS) -> None:
        self.receiver = Receiver(limits, ALL, gate)
        self.sender = Sender(limits, lambda: self.receiver.received)
        self.got: list[Any] = []

    async def hear(self, frame: pb.Frame) -> None:
        self.sender.acknowledge(frame.ack)
        body = frame.WhichOneof("body")
        if body == "grant":
            self.sender.grant(frame.grant.is_accepted)
        elif body is not None and (message := await self.receiver.take(frame, self.sender)) is not None:
            self.got.append(message)


async def pump(source: Side, target: Side, most: int | None = None) -> list[str | None]:
    """Carry frames for as long as there are any, or at most so many; then the stream breaks. Return what they held."""
    frames, bodies = source.sender.frames(), []
    try:
        carried = 0
        while most is None or carried < most:
            async with asyncio.timeout(0.05):
                frame = await anext(frames)
            bodies.append(body_of(frame))
            await target.hear(from_bytes(to_bytes(frame)))
            carried += 1
    except TimeoutError:
        pass
    finally:
        await frames.aclose()
    return bodies


def vector(kind: VectorKind = VectorKind.PARAMETERS, size: int = 50) -> Vector:
    words = np.arange(size, dtype=np.uint32 if kind is VectorKind.MASKED else np.float32)
    return Vector(kind, 3, words, b"signature")


def frame(sequence: int = 1, **body: Any) -> pb.Frame:
    return pb.Frame(sequence=sequence, **body)


def begin(length: int = 200, kind: int = VectorKind.PARAMETERS, sequence: int = 1) -> pb.Frame:
    return frame(sequence, vector_begin=pb.VectorBegin(kind=kind, tag=1, length_bytes=length))


def chunk(data: bytes, sequence: int = 1) -> pb.Frame:
    return frame(sequence, chunk=pb.Chunk(data=data))


def short(data: bytes, kind: int = VectorKind.PARAMETERS, signature: bytes = b"") -> pb.Frame:
    return frame(short_vector=pb.ShortVector(kind=kind, tag=1, data=data, signature=signature))


async def refused(*frames: pb.Frame, match: str, limits: Limits = LIMITS) -> None:
    side = Side(limits=limits)
    for each in frames[:-1]:
        await side.hear(each)
    with pytest.raises(FrameRefused, match=match):
        await side.hear(frames[-1])
    assert side.got == []
