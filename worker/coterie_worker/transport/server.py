"""The aggregator's end: one session per client, from many streams to one queue of events.

A session belongs to one process of one client (its `instance`). It outlives a stream that breaks, for a grace; a new process,
or the same one after the grace, gets a new session, and the old one is over. The newest that proves itself wins.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import defaultdict
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import grpc

from coterie_api.progress import DropReason
from coterie_api.wire.v1 import rounds_pb2 as pb
from coterie_worker.transport import tls13
from coterie_worker.transport.auth import NONCE_BYTES, SESSION_BYTES, VERSION, Admission, Claim, NotAuthenticated
from coterie_worker.transport.codec import METHOD, SERVICE, AnyFrame, ChunkFrame, body_of, from_bytes, to_bytes
from coterie_worker.transport.gate import UploadGate
from coterie_worker.transport.link import END_OF_STREAM, LinkFull, Receiver, Sender
from coterie_worker.transport.messages import (
    Control,
    Dropped,
    Event,
    Finished,
    FrameRefused,
    FromClient,
    Greeting,
    Joined,
    Left,
    Message,
    Note,
    Received,
    Vector,
)
from coterie_worker.transport.turns import Turns

if TYPE_CHECKING:
    from coterie_worker.transport.limits import Limits
    from coterie_worker.transport.tls import ServerCertificate

log = logging.getLogger(__name__)
FROM_CLIENT: Final = frozenset({"control", "short_vector", "vector_begin", "chunk", "vector_end", "drop"})
BACKLOG: Final = 64  # messages of one client that wait for the aggregator
STREAMS_PER_CLIENT: Final = 4  # room for those that break and come back before the old one is noticed


@dataclass(slots=True)
class Traffic:
    """Bytes of frames, both directions, all clients."""

    sent: int = 0
    received: int = 0


@dataclass(slots=True, eq=False)
class Session:
    """What the server knows of one process of one client."""

    claim: Claim
    identifier: bytes
    sender: Sender
    receiver: Receiver
    stream: asyncio.Task[Any] | None = None
    farewell: asyncio.TimerHandle | None = field(default=None, repr=False)


class RoundsServer:
    """Serves the clients of one job. `event` tells who joined, left, and what they sent."""

    def __init__(self, certificate: ServerCertificate, admission: Admission, greeting: Greeting, limits: Limits) -> None:
        self._certificate = certificate
        self._certificate_hash = certificate.hash
        self._admission = admission
        self._greeting = greeting
        self._limits = limits
        self._sessions: dict[int, Session] = {}
        # By client, and not by session: a new one doesn't make room for what the one before has left.
        self._backlogs = defaultdict[int, asyncio.Semaphore](lambda: asyncio.Semaphore(BACKLOG))
        self._server: grpc.aio.Server | None = None
        self._finished: Finished | None = None
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._turns = Turns(limits.chunks_on_the_way, limits.turn_seconds)
        self.gate = UploadGate(limits.uploads)
        self.traffic = Traffic()

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port."""
        tls13.require()
        self._server = grpc.aio.server(
            maximum_concurrent_rpcs=STREAMS_PER_CLIENT * self._limits.clients + 16, options=server_options(self._limits)
        )
        attend = grpc.stream_stream_rpc_method_handler(self._attend, request_deserializer=self._parse, response_serializer=self._serialize)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: attend}),))
        credentials = grpc.ssl_server_credentials([(self._certificate.key_pem, self._certificate.chain_pem)])
        bound = self._server.add_secure_port(f"{host}:{port}", credentials)
        await self._server.start()
        return bound

    async def event(self) -> Event:
        """The next thing that happened."""
        event = await self._events.get()
        if isinstance(event, Received):
            self._backlogs[event.index].release()
        return event

    def close_uploads(self) -> None:
        """Let none in from now on. What is on its way in gives its place back, and comes to nothing."""
        self.gate.close()
        for session in self._sessions.values():
            session.receiver.discard()

    def note(self, value: object) -> None:
        """Put something of the shell's own among the events."""
        self._events.put_nowait(Note(value))

    @property
    def connected(self) -> frozenset[int]:
        """Clients with a session, those within the grace included."""
        return frozenset(self._sessions)

    def send(self, index: int, message: Message) -> None:
        """Send to a client; a client without a session misses it, and one that takes nothing is expelled."""
        session = self._sessions.get(index)
        if session is None:
            return
        try:
            session.sender.post(message)
        except LinkFull:
            self.expel(index, DropReason.LATE)

    def expel(self, index: int, reason: DropReason) -> None:
        """End a client's session; it may come back in a new one."""
        session = self._sessions.get(index)
        if session is not None:
            self._end(session, reason)

    async def finish(self, finished: Finished) -> None:
        """Tell all clients, also those that dial from now on, that the job ended; wait until they know, within the limit."""
        self._finished = finished
        for index in tuple(self._sessions):
            self.send(index, finished)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.finish_seconds):
                await asyncio.gather(*(session.sender.settled() for session in self._sessions.values()))

    async def stop(self) -> None:
        """Close every stream."""
        for session in tuple(self._sessions.values()):
            self._forget(session)
        if self._server is not None:
            await self._server.stop(grace=0.2)

    async def _attend(self, _requests: Any, context: Any) -> None:
        """One stream of one client, from Hello to its end."""
        try:
            async with asyncio.timeout(self._limits.handshake_seconds):
                session = await self._handshake(context)
        except (NotAuthenticated, FrameRefused) as error:
            log.warning("refused a stream: %s", error)
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "not authenticated")
        except TimeoutError:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the handshake took too long")
        else:
            await self._serve(session, context)

    async def _handshake(self, context: Any) -> Session:
        hello = await self._expect(context, "hello")
        if hello.version != VERSION or len(hello.job_uid) > 64:
            raise NotAuthenticated("the client speaks another version of the protocol")
        claim = Claim(hello.job_uid, hello.index, hello.instance, hello.spec_hash, hello.last_slot)
        self._admission.check_claim(claim)
        nonce = secrets.token_bytes(NONCE_BYTES)
        await context.write(pb.Frame(challenge=pb.Challenge(nonce=nonce)))
        proof = await self._expect(context, "proof")
        self._admission.check_proof(claim, nonce, self._certificate_hash, proof.signature)
        return await self._admit(claim, hello)

    async def _expect(self, context: Any, body: str) -> Any:
        frame = await context.read()
        if frame is END_OF_STREAM or body_of(frame) != body:
            raise FrameRefused(f"a stream opens with {body} here")
        return getattr(frame, body)

    async def _admit(self, claim: Claim, hello: pb.Hello) -> Session:
        old = self._sessions.get(claim.index)
        if old is not None and old.claim == claim and secrets.compare_digest(old.identifier, hello.session):
            await self._detach(old)
            old.sender.resume(hello.received)
            return self._attach(old)
        if old is not None:
            self._end(old, DropReason.DISCONNECTED)
        receiver = Receiver(self._limits, FROM_CLIENT, self.gate)
        session = Session(claim, secrets.token_bytes(SESSION_BYTES), Sender(self._limits, lambda: receiver.received), receiver)
        self._sessions[claim.index] = session
        for vector in self._greeting.vectors if hello.holds != self._greeting.hash else ():
            session.sender.post(vector)
        if self._finished is not None:
            session.sender.post(self._finished)
        self._events.put_nowait(Joined(claim.index, claim.last_slot))
        return self._attach(session)

    def _attach(self, session: Session) -> Session:
        session.stream = asyncio.current_task()
        if session.farewell is not None:
            session.farewell.cancel()
            session.farewell = None
        return session

    async def _detach(self, session: Session) -> None:
        """End the stream that carries a session, so that another may; its reader gives its credit back first."""
        stream, session.stream = session.stream, None
        if stream is not None and not stream.done():
            stream.cancel()
            await asyncio.wait([stream])

    async def _serve(self, session: Session, context: Any) -> None:
        writer = asyncio.create_task(self._write(session, context))
        try:
            await self._read(session, context)
        except FrameRefused as error:
            log.warning("client %d broke the protocol: %s", session.claim.index, error)
            session.receiver.abandon()
            self._end(session, DropReason.PROTOCOL_VIOLATION, is_own_stream=True)
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the frame is not allowed here")
        finally:
            writer.cancel()
            session.receiver.abandon()
            self._await_return(session)
            await asyncio.gather(writer, return_exceptions=True)  # last: gRPC may cancel a second time, and nothing after it would run

    async def _read(self, session: Session, context: Any) -> None:
        backlog = self._backlogs[session.claim.index]
        while True:
            await backlog.acquire()  # before the message is taken: from there on nothing may interrupt
            is_passed_on = False
            try:
                frame = await self._frame(session.receiver, context)
                if frame is END_OF_STREAM:
                    return
                session.sender.acknowledge(frame.ack)
                is_passed_on = await self._take(session, frame)
            finally:
                if not is_passed_on:
                    backlog.release()

    async def _frame(self, receiver: Receiver, context: Any) -> Any:
        """The next frame; raises FrameRefused where one of a vector doesn't come in time."""
        if not receiver.is_inside_vector:
            return await context.read()
        left = receiver.deadline - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(min(self._limits.chunk_seconds, left)):
                return await context.read()
        except TimeoutError:
            raise FrameRefused("a vector stopped arriving, or comes too slowly") from None

    async def _take(self, session: Session, frame: AnyFrame) -> bool:
        """Pass a message on, if there is one. A function of its own: nothing here may hold an upload while the next frame is awaited."""
        has_body = body_of(frame) is not None
        message = await session.receiver.take(frame, session.sender) if has_body else None
        if message is not None:
            self._events.put_nowait(Received(session.claim.index, from_client(message)))
        return message is not None

    def _parse(self, data: bytes) -> AnyFrame:
        self.traffic.received += len(data)
        return from_bytes(data)

    def _serialize(self, frame: AnyFrame) -> bytes:
        data = to_bytes(frame)
        self.traffic.sent += len(data)
        return data

    async def _write(self, session: Session, context: Any) -> None:
        welcome = pb.Welcome(session=session.identifier, received=session.receiver.received, initial_hash=self._greeting.hash)
        await context.write(pb.Frame(welcome=welcome))
        async with aclosing(session.sender.frames()) as frames:  # type: ignore[type-var]
            async for frame in frames:
                if isinstance(frame, ChunkFrame):
                    async with self._turns.one():
                        await session.sender.put(frame, context.write)
                else:
                    await context.write(frame)

    def _await_return(self, session: Session) -> None:
        """The stream broke: the session ends unless it comes back within the grace."""
        is_current = self._sessions.get(session.claim.index) is session and session.stream is asyncio.current_task()
        if is_current:
            session.stream = None
            loop = asyncio.get_running_loop()
            session.farewell = loop.call_later(self._limits.grace_seconds, self._end, session, DropReason.DISCONNECTED)

    def _end(self, session: Session, reason: DropReason, *, is_own_stream: bool = False) -> None:
        if is_own_stream:
            session.stream = None
        self._forget(session)
        self._events.put_nowait(Left(session.claim.index, reason))

    def _forget(self, session: Session) -> None:
        if self._sessions.get(session.claim.index) is session:
            del self._sessions[session.claim.index]
        if session.farewell is not None:
            session.farewell.cancel()
        if session.stream is not None:
            session.stream.cancel()


def from_client(message: Message) -> FromClient:
    """Narrow a message to what clients send; the receiver has let nothing else through."""
    if not isinstance(message, Control | Vector | Dropped):
        raise FrameRefused("a client sent a message of the aggregator")
    return message


def server_options(limits: Limits) -> list[tuple[str, int]]:
    """Bounds and keep-alive of gRPC itself."""
    return [
        ("grpc.max_receive_message_length", limits.message_bytes),
        ("grpc.max_send_message_length", limits.message_bytes),
        ("grpc.max_concurrent_streams", STREAMS_PER_CLIENT),
        ("grpc.keepalive_time_ms", int(1000 * limits.keepalive_seconds)),
        ("grpc.keepalive_timeout_ms", int(1000 * limits.keepalive_answer_seconds)),
        ("grpc.http2.min_ping_interval_without_data_ms", int(500 * limits.keepalive_seconds)),
        ("grpc.so_reuseport", 0),
        # A fixed window: probing for more would let each of many streams buffer as much as the fastest needs.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", limits.window_bytes),
    ]
