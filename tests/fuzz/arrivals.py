"""What a client decodes outside of the protocol: the layout, the initial model, and the frames of the wire.

Only named errors may come out, whatever comes in, and nothing is kept beyond the limits.
"""

from __future__ import annotations

import asyncio
import re
from math import prod
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from coterie_api.wire.v1 import rounds_pb2 as pb
from coterie_worker.layout import Entry, InvalidFile, InvalidLayout, Kind, Layout
from coterie_worker.layout.dtypes import CODES
from coterie_worker.layout.tensorfile import Tensor, read, write
from coterie_worker.transport.client import FROM_AGGREGATOR
from coterie_worker.transport.codec import AnyFrame, ChunkFrame, body_of, from_bytes, to_bytes
from coterie_worker.transport.frames import TEXT_CHARACTERS
from coterie_worker.transport.limits import Limits
from coterie_worker.transport.link import SIGNATURE_BYTES, Receiver, Sender
from coterie_worker.transport.messages import Control, Finished, FrameRefused, Message, Vector, VectorKind

if TYPE_CHECKING:
    from tests.fuzz.script import Script

LAYOUT = Layout.of(
    [
        Entry("w", (2, 3), "float32", Kind.PARAMETER),
        Entry("tied", (2, 3), "float32", Kind.PARAMETER, alias_of="w"),
        Entry("var", (4,), "float32", Kind.BUFFER, minimum=0.0),
        Entry("count", (), "int64", Kind.FIXED),
    ]
)
FILE = write({"w": Tensor("float32", (2, 3), memoryview(bytes(24))), "count": Tensor("int64", (), memoryview(bytes(8)))}, {"format": "pt"})
HEADER = FILE[8 : 8 + int.from_bytes(FILE[:8], "little")]
PARTS = re.compile(rb'"[^"]*"|-?\d+(?:\.\d+)?|\[[^\[\]]*\]')
ODD = (
    b"9" * 5_000,
    b"9" * 4_000,
    b"[" * 20_000,
    b"-1",
    b"0",
    b"9223372036854775807",
    b"1e999",
    b"NaN",
    b"null",
    b"true",
    b"{}",
    b"[]",
    b'""',
    b'"\\ud800"',
    b'"w"',
    b'"Buffer"',
    b"\xff",
)
LIMITS = Limits(
    dict.fromkeys((VectorKind.LAYOUT, VectorKind.INITIAL, VectorKind.PARAMETERS), 16_384),
    control_bytes=512,
    chunk_bytes=8_192,
    short_bytes=256,
)


def layout(script: Script) -> None:
    """Any bytes are a layout that comes back from its own JSON, or InvalidLayout."""
    try:
        made = Layout.from_json(other_json(LAYOUT.to_json(), script))
    except InvalidLayout as error:
        str(error)
        return
    if Layout.from_json(made.to_json()) != made or made.size < made.trainable:
        raise AssertionError("another layout came back")


def tensors(script: Script) -> None:
    """Any bytes are tensors of as many bytes as their shapes need, or InvalidFile."""
    if script.pick(2):
        data = script.rest()
    else:
        header = other_json(HEADER, script)
        data = len(header).to_bytes(8, "little") + header + FILE[8 + len(HEADER) :]
    try:
        found = read(data)
    except InvalidFile:
        return
    if any(each.data.nbytes != prod(each.shape) * CODES[each.dtype][1] for each in found.values()):
        raise AssertionError("a tensor has other bytes than its shape needs")


def other_json(genuine: bytes, script: Script) -> bytes:
    """The fuzzer's own bytes, or the genuine ones with some parts replaced or bytes changed."""
    if script.pick(4) == 0:
        return script.rest()
    for _ in range(script.pick(3)):
        parts = list(PARTS.finditer(genuine))
        if parts:
            part = parts[script.pick(len(parts))]
            genuine = genuine[: part.start()] + ODD[script.pick(len(ODD))] + genuine[part.end() :]
    changed = bytearray(genuine)
    for _ in range(script.pick(3)):
        changed[(script.pick(256) << 8 | script.pick(256)) % len(changed)] ^= script.pick(256)
    return bytes(changed)


def frames(script: Script) -> None:
    """Any frames are whole messages within the limits, or the stream ends with FrameRefused or DecodeError."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(Stream(script).run())


class Stream:
    """A client's end of a stream on which an aggregator sends what the script says."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._receiver = Receiver(LIMITS, FROM_AGGREGATOR)
        self._sender = Sender(LIMITS, lambda: self._receiver.received)
        self._sender.post(Control(b"of the client's own"))

    async def run(self) -> None:
        try:
            while not self._script.is_over:
                await self._step()
        except (FrameRefused, DecodeError):
            pass
        self._receiver.abandon()
        if self._receiver.is_inside_vector:
            raise AssertionError("a vector that was cut is kept")

    async def _step(self) -> None:
        """As the client reads: `transport.client`."""
        frame = decoded(self._bytes())
        before = self._receiver.received
        self._sender.acknowledge(frame.ack)
        body = body_of(frame)
        if body == "grant":
            self._sender.grant(frame.grant.is_accepted)
        elif body is not None:
            message = await self._receiver.take(frame, self._sender)
            if self._receiver.received != before + (message is not None):
                raise AssertionError("messages are counted wrongly")
            check_message(message)

    def _bytes(self) -> bytes:
        """A frame's: the fuzzer's own, or those of one that fits more or less, perhaps with a byte changed."""
        script = self._script
        if script.pick(8) == 0:
            return script.take(script.pick(256))
        frame = self._frame()
        frame.sequence, frame.ack = self._receiver.received + 1 - (script.pick(16) == 1), int(script.pick(16) == 1)
        data = bytearray(to_bytes(frame))
        if script.pick(4) == 1 and data:
            data[(script.pick(256) << 8 | script.pick(256)) % len(data)] ^= script.pick(256)
        return bytes(data)

    def _frame(self) -> AnyFrame:
        script = self._script
        kind = script.pick(8)
        size, small, number = 64 * script.pick(256), script.pick(256), 1 + script.pick(6)
        match kind:
            case 0:
                return pb.Frame(control=pb.Control(payload=bytes(3 * small)))
            case 1:
                return pb.Frame(vector_begin=pb.VectorBegin(kind=number, tag=small, length_bytes=size + (small if small > 250 else 0)))
            case 2 | 3:
                return ChunkFrame(memoryview(bytes(size)))
            case 4:
                return pb.Frame(vector_end=pb.VectorEnd(signature=bytes(2 * small)))
            case 5:
                return pb.Frame(short_vector=pb.ShortVector(kind=number, tag=small, data=bytes(2 * small), signature=bytes(small)))
            case 6:
                return pb.Frame(finished=pb.Finished(reason="\u2028" * small))
        return pb.Frame(grant=pb.Grant(is_accepted=True)) if small else pb.Frame()


def decoded(data: bytes) -> AnyFrame:
    """The frame, which protobuf reads as our own reader does."""
    frame = from_bytes(data)
    if isinstance(frame, ChunkFrame):
        other = pb.Frame.FromString(data)
        if (other.chunk.data, other.ack, other.sequence) != (frame.data, frame.ack, frame.sequence):
            raise AssertionError("protobuf reads another chunk")
    return frame


def check_message(message: Message | None) -> None:
    """Raise unless it is within the limits."""
    match message:
        case Control(payload):
            fits = len(payload) <= LIMITS.control_bytes
        case Vector(kind, _, words, signature):
            fits = words.nbytes <= LIMITS.vector_bytes[kind] and words.ndim == 1 and len(signature) <= SIGNATURE_BYTES
        case Finished(reason):
            fits = len(reason) <= TEXT_CHARACTERS and (reason.isprintable() or not reason)
        case other:
            fits = other is None
    if not fits:
        raise AssertionError("a message beyond the limits")


def seeds(target: str) -> list[bytes]:
    """Return inputs to begin with: genuine bytes, each odd part in a place where it hurts, and whole streams."""
    if target == "layout":
        parts = range(len(PARTS.findall(LAYOUT.to_json())))
        return [b"\0" + LAYOUT.to_json(), *(bytes([1, 1, part, odd]) for part in parts for odd in range(len(ODD)))]
    if target == "tensors":
        parts = range(len(PARTS.findall(HEADER)))
        return [b"\1" + FILE, *(bytes([0, 1, 1, part, odd]) for part in parts for odd in range(len(ODD)))]
    plain = bytes(3)  # in its order, nothing acknowledged, no byte changed
    control, begin, chunk, end = (bytes([1, kind, 100, 9, 2]) + plain for kind in (0, 1, 2, 4))
    short, finished, grant = (bytes([1, kind, 0, 8, 2]) + plain for kind in (5, 6, 7))
    genuine = to_bytes(pb.Frame(sequence=1, control=pb.Control(payload=b"own")))
    return [
        control + begin + chunk + end + short + grant + finished,
        begin + chunk + chunk,
        begin + end,
        chunk,
        begin + bytes([1, 2, 100, 9, 2, 0, 0, 1, 0, 3, 1]),
        control + grant + grant,
        bytes([0, len(genuine)]) + genuine,
        bytes([0, 2]) + b"\xff\xff",
    ]
