"""One session's messages, in order and exactly once, over as many streams as it takes.

Each side numbers its messages from 1 and keeps those that the other has not acknowledged. When a stream breaks and the same
session comes back, each side tells the last message that it received whole, and the other goes on after it. A message is
delivered whole or not at all: a vector that was cut starts again.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import grpc.aio
import numpy as np

from coterie_api.wire.v1 import rounds_pb2 as pb
from coterie_worker.transport import frames
from coterie_worker.transport.chunk_size import ChunkSize
from coterie_worker.transport.codec import ChunkFrame, body_of
from coterie_worker.transport.messages import FrameRefused, Message, TransportError, Vector, VectorKind, Words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from coterie_worker.transport.codec import AnyFrame
    from coterie_worker.transport.gate import UploadGate
    from coterie_worker.transport.limits import Limits

ACK_EVERY: Final = 16
SIGNATURE_BYTES: Final = 256
END_OF_STREAM: Final[object] = grpc.aio.EOF  # type: ignore[attr-defined]  # the stubs miss it


class LinkFull(TransportError):
    """The peer acknowledges nothing: more messages wait for it than the limits allow."""


class Sender:
    """What goes out: messages kept until acknowledged, and answers that stand outside their order."""

    def __init__(self, limits: Limits, received: Callable[[], int]) -> None:
        self._limits = limits
        self._received = received
        self.chunk_size = ChunkSize(limits.sent_chunk_bytes, limits.turn_seconds)
        self._kept: deque[Message] = deque()
        self._acknowledged = 0
        self._sent = 0
        self._begun = 0
        self._answers: deque[pb.Frame] = deque()
        self._owed: asyncio.TimerHandle | None = None
        self._is_due = False  # an acknowledgment, without waiting for company
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()
        self._idle = asyncio.Event()
        self._grants: asyncio.Queue[bool] = asyncio.Queue()

    def post(self, message: Message) -> None:
        """Send when possible; raises LinkFull."""
        if len(self._kept) >= self._limits.queued_messages:
            raise LinkFull(f"{len(self._kept)} messages wait for an acknowledgment, at most {self._limits.queued_messages} may")
        self._kept.append(message)
        self._idle.clear()
        self._settled.clear()
        self._wake.set()

    def answer(self, frame: pb.Frame) -> None:
        """Send a frame that is no message: a grant. Raises FrameRefused for a peer that asks and takes no answers."""
        if len(self._answers) >= self._limits.queued_messages:
            raise FrameRefused(f"{len(self._answers)} answers wait to be taken, at most {self._limits.queued_messages} may")
        self._answers.append(frame)
        self._rouse()

    def acknowledge_now(self) -> None:
        """Tell the peer what came, with a frame of its own if nothing else is to be sent."""
        self._is_due = True
        self._rouse()

    def owe(self) -> None:
        """Tell the peer what came with the next frame, or in a while with one of its own."""
        if self._owed is None:
            self._owed = asyncio.get_running_loop().call_later(self._limits.ack_seconds, self.acknowledge_now)

    def _rouse(self) -> None:
        self._idle.clear()
        self._wake.set()

    def grant(self, is_accepted: bool) -> None:
        """The peer has decided on the upload that was offered; raises FrameRefused for a decision too many."""
        if not self._grants.empty():
            raise FrameRefused("a grant came for an upload that was not offered")
        self._grants.put_nowait(is_accepted)

    def acknowledge(self, received: int) -> None:
        """Forget what the peer has; raises FrameRefused if it claims what was never sent."""
        if received > self._begun:
            raise FrameRefused(f"message {received} was acknowledged, {self._begun} is the last one sent")
        while self._acknowledged < received:
            self._kept.popleft()
            self._acknowledged += 1
        if not self._kept:
            self._settled.set()

    def resume(self, received: int) -> None:
        """Start a new stream after the last message that the peer has; raises FrameRefused."""
        if received < self._acknowledged:
            raise FrameRefused(f"message {received} is claimed as the last received, {self._acknowledged} were acknowledged before")
        self.acknowledge(received)
        self._sent = received
        self._answers.clear()
        self._forget_owed()  # the stream's first frames have told it
        self._grants = asyncio.Queue()
        self._wake.set()

    async def settled(self) -> None:
        """Wait until the peer has acknowledged everything."""
        if self._kept:
            await self._settled.wait()

    async def idle(self) -> None:
        """Wait until everything has been written."""
        await self._idle.wait()

    async def frames(self) -> AsyncIterator[AnyFrame]:
        """What to write to the stream, for ever."""
        while True:
            self._wake.clear()
            while self._answers or self._is_due:
                yield self._stamp(self._answers.popleft() if self._answers else pb.Frame())
            if self._sent < self._acknowledged + len(self._kept):
                async for frame in self._message(self._kept[self._sent - self._acknowledged]):
                    yield frame
            elif not (self._answers or self._is_due):
                self._idle.set()
                await self._wake.wait()

    async def _message(self, message: Message) -> AsyncIterator[AnyFrame]:
        sequence = self._begun = self._sent + 1
        if not isinstance(message, Vector):
            self._sent = sequence  # before the frame leaves: the answer may be faster than our next step
            yield self._stamp(frames.encode(message), sequence)
            return
        if message.words.nbytes <= self._limits.short_bytes:
            self._sent = sequence
            yield self._stamp(frames.short(message), sequence)
            return
        yield self._stamp(frames.begin(message), sequence)
        if message.kind is VectorKind.MASKED and not await self._grants.get():
            self._sent = sequence
            return
        for chunk in frames.chunks(message.words, self.chunk_size):
            yield self._stamp(chunk, sequence)
        self._sent = sequence
        yield self._stamp(frames.end(message), sequence)

    async def put(self, frame: AnyFrame, write: Callable[[AnyFrame], Awaitable[None]]) -> None:
        """Write a frame to the stream; how long a chunk takes decides on the size of the next."""
        begin = time.monotonic()
        await write(frame)
        if isinstance(frame, ChunkFrame):
            self.chunk_size.took(time.monotonic() - begin)

    def _stamp(self, frame: AnyFrame, sequence: int = 0) -> AnyFrame:
        frame.ack = self._received()
        frame.sequence = sequence
        self._forget_owed()
        return frame

    def _forget_owed(self) -> None:
        self._is_due = False
        if self._owed is not None:
            self._owed.cancel()
            self._owed = None


@dataclass(slots=True)
class Partial:
    """A vector on its way in."""

    kind: VectorKind
    tag: int
    size: int  # bytes
    words: Words | None  # None: nobody wants it any more
    filled: int = 0

    def add(self, data: memoryview) -> None:
        if not data or self.filled + len(data) > self.size:
            raise FrameRefused(f"a chunk of {len(data)} bytes does not fit at {self.filled} of {self.size}")
        if self.words is not None:
            self.words.view(np.uint8)[self.filled : self.filled + len(data)] = np.frombuffer(data, np.uint8)
        self.filled += len(data)


class Receiver:
    """What comes in: frames in their order, made whole messages."""

    def __init__(self, limits: Limits, accepts: frozenset[str], gate: UploadGate | None = None) -> None:
        self._limits = limits
        self._accepts = accepts
        self._gate = gate
        self._partial: Partial | None = None
        self.received = 0
        self.deadline = 0.0  # by the event loop's clock, for the vector on its way in

    @property
    def is_inside_vector(self) -> bool:
        return self._partial is not None

    async def take(self, frame: AnyFrame, sender: Sender) -> Message | None:
        """The message that this frame completes, if it does; raises FrameRefused."""
        body = body_of(frame)
        if body is None or body not in self._accepts:
            raise FrameRefused(f"a frame of kind {body} is not allowed here")
        if frame.sequence != self.received + 1:
            raise FrameRefused(f"message {frame.sequence} came, {self.received + 1} was next")
        if (body in ("chunk", "vector_end")) != self.is_inside_vector:
            raise FrameRefused(f"a frame of kind {body} came {'inside' if self.is_inside_vector else 'outside'} a vector")
        if isinstance(frame, ChunkFrame):
            self._chunk(frame.data)
            return None
        return await self._take(frame, body, sender)

    async def _take(self, frame: pb.Frame, body: str, sender: Sender) -> Message | None:
        match body:
            case "vector_begin":
                await self._begin(frame.vector_begin, sender)
                return None
            case "chunk":
                self._chunk(memoryview(frame.chunk.data))
                return None
            case "vector_end":
                return self._end(frame.vector_end.signature, sender)
            case "short_vector":
                return self._short(frame.short_vector, sender)
        if body == "control" and len(frame.control.payload) > self._limits.control_bytes:
            raise FrameRefused(
                f"a control message has {len(frame.control.payload)} bytes, at most {self._limits.control_bytes} are allowed"
            )
        message = frames.decode(frame)
        self.received += 1
        if body != "control" or self.received % ACK_EVERY == 0:
            sender.acknowledge_now()
        return message

    def abandon(self) -> None:
        """The stream broke: forget a vector that was cut, and give its credit back."""
        self.discard()
        self._partial = None

    def discard(self) -> None:
        """Nobody wants the vector on its way in any more: give its memory and credit back, and let the rest of it come to nothing."""
        if self._partial is not None and self._partial.words is not None:
            self._partial.words = None
            if self._gate is not None:
                self._gate.release()

    def _short(self, whole: pb.ShortVector, sender: Sender) -> Vector:
        if len(whole.data) > self._limits.short_bytes:
            raise FrameRefused(f"a short vector has {len(whole.data)} bytes, at most {self._limits.short_bytes} are allowed")
        kind, dtype = self._allowed(whole.kind, len(whole.data))
        self._check_signature(whole.signature)
        self.received += 1
        sender.owe()
        return Vector(kind, whole.tag, np.frombuffer(whole.data, dtype).copy(), whole.signature)

    def _allowed(self, number: int, length: int) -> tuple[VectorKind, np.dtype[Any]]:
        allowed = self._limits.vector_bytes.get(number, -1)
        if length > allowed:
            raise FrameRefused(f"a vector of kind {number} has {length} bytes, at most {allowed} are allowed")
        kind = VectorKind(number)
        dtype = np.dtype(frames.WORD_TYPES[kind])
        if length % dtype.itemsize:
            raise FrameRefused(f"a vector of {dtype} has {length} bytes, not a multiple of {dtype.itemsize}")
        return kind, dtype

    def _check_signature(self, signature: bytes) -> None:
        if len(signature) > SIGNATURE_BYTES:
            raise FrameRefused(f"a signature has {len(signature)} bytes, at most {SIGNATURE_BYTES} are allowed")

    async def _begin(self, opening: pb.VectorBegin, sender: Sender) -> None:
        kind, dtype = self._allowed(opening.kind, opening.length_bytes)
        if self._gate is not None:
            is_accepted = await self._gate.acquire(opening.tag)
            if is_accepted and not self._gate.is_open(opening.tag):  # it closed since the decision
                self._gate.release()
                is_accepted = False
            sender.answer(pb.Frame(grant=pb.Grant(is_accepted=is_accepted)))
            if not is_accepted:
                self.received += 1  # declined is done
                return
        words = np.empty(opening.length_bytes // dtype.itemsize, dtype)
        self._partial = Partial(kind, opening.tag, words.nbytes, words)
        self.deadline = asyncio.get_running_loop().time() + self._limits.seconds_for(words.nbytes)

    def _chunk(self, data: memoryview) -> None:
        partial = self._require_partial()
        if len(data) > self._limits.chunk_bytes:
            raise FrameRefused(f"a chunk has {len(data)} bytes, at most {self._limits.chunk_bytes} are allowed")
        partial.add(data)

    def _end(self, signature: bytes, sender: Sender) -> Vector | None:
        partial = self._require_partial()
        if partial.filled != partial.size:
            raise FrameRefused(f"a vector ended after {partial.filled} of {partial.size} bytes")
        self._check_signature(signature)
        self._partial = None
        self.received += 1
        sender.owe()
        if partial.words is None:
            return None
        if self._gate is not None:
            return Vector(partial.kind, partial.tag, partial.words, signature, self._gate.releaser())
        return Vector(partial.kind, partial.tag, partial.words, signature)

    def _require_partial(self) -> Partial:
        if self._partial is None:
            raise FrameRefused("a chunk came outside a vector")
        return self._partial
