"""The client's end: one session, dialed again for as long as it takes.

Each dial resolves the name anew, pins the certificate that it finds (`tls.pin`), proves the tenant's identity for exactly that
certificate, and goes on with the session if the server still knows it. Otherwise a new session begins, told by `Reset`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import grpc
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from coterie_api.wire.v1 import rounds_pb2 as pb
from coterie_worker.transport import resolve, tls
from coterie_worker.transport.auth import INSTANCE_BYTES, VERSION, Claim, prove
from coterie_worker.transport.codec import METHOD, SERVICE, body_of, from_bytes, to_bytes
from coterie_worker.transport.link import END_OF_STREAM, Receiver, Sender
from coterie_worker.transport.messages import Finished, FrameRefused, Message, Reset, TransportError

if TYPE_CHECKING:
    from coterie_worker.transport.limits import Limits

log = logging.getLogger(__name__)
FROM_AGGREGATOR: Final = frozenset({"control", "short_vector", "vector_begin", "chunk", "vector_end", "finished"})
FIRST_PAUSE_SECONDS: Final = 0.05
LONGEST_PAUSE_SECONDS: Final = 5.0
GOODBYE_SECONDS: Final = 2.0
WAITING: Final = 64  # messages of the aggregator that this client has not looked at yet
Incoming: TypeAlias = Message | Reset


@dataclass(frozen=True, slots=True)
class Peer:
    """Where the aggregator is, and how to tell that it is the one."""

    name: str  # DNS name of its Service
    port: int
    hosts: Path  # asked before DNS
    ca_pem: bytes = field(repr=False)
    role: str = "aggregator"


@dataclass(frozen=True, slots=True)
class Credential:
    """Who dials. The key is the tenant's."""

    job_uid: str
    index: int
    spec_hash: bytes
    key: Ed25519PrivateKey = field(repr=False)
    instance: bytes = field(default_factory=lambda: secrets.token_bytes(INSTANCE_BYTES))

    @property
    def claim(self) -> Claim:
        return Claim(self.job_uid, self.index, self.instance, self.spec_hash)


@dataclass(slots=True)
class Backoff:
    """Pauses that double, each drawn between half and whole; short again after a success."""

    pause: float = FIRST_PAUSE_SECONDS

    def reset(self) -> None:
        self.pause = FIRST_PAUSE_SECONDS

    def next(self) -> float:
        """Seconds to wait now."""
        pause, self.pause = self.pause, min(2 * self.pause, LONGEST_PAUSE_SECONDS)
        return pause * (0.5 + secrets.randbelow(1000) / 2000)


class Connection:
    """One client's connection to its aggregator. Run `run` as a task; send and receive beside it."""

    def __init__(self, peer: Peer, credential: Credential, limits: Limits) -> None:
        self._peer = peer
        self._credential = credential
        self._limits = limits
        self._incoming: asyncio.Queue[Incoming] = asyncio.Queue(WAITING)
        self._backoff = Backoff()
        self._session = b""
        self._new_link()
        self.holds = b""  # hash of the initial model, told at the next dial
        self.last_slot = 0  # the last one used by the client's own record, told at the next dial
        self.is_finished = False

    def send(self, message: Message) -> None:
        """Send in the present session; raises LinkFull."""
        self._sender.post(message)

    async def receive(self) -> Incoming:
        """The next message, or Reset when a new session began."""
        return await self._incoming.get()

    async def settled(self, seconds: float) -> bool:
        """Wait until the aggregator has everything that was sent; False if that takes longer."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._sender.settled()
                return True
        return False

    async def run(self) -> None:
        """Dial until the job is finished."""
        while not self.is_finished:
            try:
                await self._dial_once()
            except (OSError, TimeoutError, TransportError, grpc.aio.AioRpcError) as error:
                log.info("no connection to %s: %s", self._peer.name, describe(error))
            if not self.is_finished:
                await asyncio.sleep(self._backoff.next())

    async def _dial_once(self) -> None:
        for address in await resolve.addresses(self._peer.hosts, self._peer.name, self._peer.port):
            try:
                async with asyncio.timeout(self._limits.connect_seconds):
                    uri = tls.role_uri(self._credential.job_uid, self._peer.role)
                    pinned = await tls.pin((address, self._peer.port), self._peer.name, self._peer.ca_pem, uri)
            except (OSError, TimeoutError) as error:
                log.debug("no answer at %s: %s", address, describe(error))
                continue
            await self._attend(address, pinned)
            return
        raise TransportError("no address answers")

    async def _attend(self, address: str, pinned: tls.Pinned) -> None:
        target = f"ipv6:[{address}]:{self._peer.port}" if ":" in address else f"ipv4:{address}:{self._peer.port}"
        credentials = grpc.ssl_channel_credentials(root_certificates=pinned.pem)
        async with grpc.aio.secure_channel(target, credentials, options=channel_options(self._limits, self._peer.name)) as channel:
            call = attend(channel)
            async with asyncio.timeout(self._limits.handshake_seconds):
                await self._handshake(call, pinned.hash)
            self._backoff.reset()
            await self._serve(call)

    async def _handshake(self, call: Any, certificate_hash: bytes) -> None:
        claim = replace(self._credential.claim, last_slot=self.last_slot)
        await call.write(
            pb.Frame(
                hello=pb.Hello(
                    version=VERSION,
                    job_uid=claim.job_uid,
                    index=claim.index,
                    instance=claim.instance,
                    spec_hash=claim.spec_hash,
                    session=self._session,
                    received=self._receiver.received,
                    holds=self.holds,
                    last_slot=claim.last_slot,
                )
            )
        )
        challenge = await expect(call, "challenge")
        await call.write(pb.Frame(proof=pb.Proof(signature=prove(self._credential.key, claim, challenge.nonce, certificate_hash))))
        self._welcome(await expect(call, "welcome"))

    def _welcome(self, welcome: pb.Welcome) -> None:
        if welcome.session == self._session:
            self._sender.resume(welcome.received)
            return
        self._new_link()
        self._session = welcome.session
        self._incoming = drained(self._incoming)
        self._incoming.put_nowait(Reset(welcome.initial_hash))

    def _new_link(self) -> None:
        receiver = Receiver(self._limits, FROM_AGGREGATOR)
        self._receiver = receiver
        self._sender = Sender(self._limits, lambda: receiver.received)

    async def _serve(self, call: Any) -> None:
        writer = asyncio.create_task(self._write(call))
        try:
            await self._read(call)
            await self._say_goodbye(call)
        except FrameRefused:
            self._session = b""  # what the aggregator sends next can't be trusted to fit: begin anew
            raise
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)  # what broke the stream, the reader has seen too
            self._receiver.abandon()
            call.cancel()

    async def _read(self, call: Any) -> None:
        while not self.is_finished:
            frame = await call.read()
            if frame is END_OF_STREAM:
                raise TransportError(f"the stream ended: {(await call.code()).name} {await call.details()}")
            self._sender.acknowledge(frame.ack)
            body = body_of(frame)
            if body == "grant":
                self._sender.grant(frame.grant.is_accepted)
            elif body is not None and (message := await self._receiver.take(frame, self._sender)) is not None:
                self.is_finished = isinstance(message, Finished)
                await self._incoming.put(message)

    async def _say_goodbye(self, call: Any) -> None:
        """Let the acknowledgment of Finished arrive before the stream ends."""
        with suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_SECONDS):
                await self._sender.idle()
                await call.done_writing()
                while await call.read() is not END_OF_STREAM:
                    pass

    async def _write(self, call: Any) -> None:
        async with aclosing(self._sender.frames()) as frames:  # type: ignore[type-var]
            async for frame in frames:
                await self._sender.put(frame, call.write)


def drained(queue: asyncio.Queue[Incoming]) -> asyncio.Queue[Incoming]:
    """The same queue, empty: what an ended session said is void."""
    while not queue.empty():
        queue.get_nowait()
    return queue


def attend(channel: grpc.aio.Channel) -> Any:
    """Open a stream, with our own serializers."""
    method: Any = channel.stream_stream(f"/{SERVICE}/{METHOD}", request_serializer=to_bytes, response_deserializer=from_bytes)
    return method()


async def expect(call: Any, body: str) -> Any:
    """The next frame's body, which must be of this kind."""
    frame = await call.read()
    if frame is END_OF_STREAM:
        raise TransportError(f"the aggregator refused the stream: {(await call.code()).name} {await call.details()}")
    if body_of(frame) != body:
        raise FrameRefused(f"a stream opens with {body} here")
    return getattr(frame, body)


def describe(error: BaseException) -> str:
    """One line for the log."""
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name} {error.details()}"
    return f"{type(error).__name__} {error}"


def channel_options(limits: Limits, name: str) -> list[tuple[str, int | str]]:
    """The name to verify, bounds and keep-alive; no retries and no shared back-off, for `run` dials anew itself."""
    return [
        ("grpc.ssl_target_name_override", name),
        ("grpc.default_authority", name),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_retries", 0),
        ("grpc.enable_http_proxy", 0),
        ("grpc.max_receive_message_length", limits.message_bytes),
        ("grpc.max_send_message_length", limits.message_bytes),
        ("grpc.keepalive_time_ms", int(1000 * limits.keepalive_seconds)),
        ("grpc.keepalive_timeout_ms", int(1000 * limits.keepalive_answer_seconds)),
        ("grpc.http2.max_pings_without_data", 0),
    ]
