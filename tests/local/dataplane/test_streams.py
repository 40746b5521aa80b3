"""Real TLS and gRPC on loopback: who is let in, who isn't, and what a broken stream costs."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace

import grpc
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.local.dataplane.authority import Authority
from tests.local.dataplane.loopback import CLIENT_BYTES, GREETING, JOB, NAME, SPEC_HASH, World, dialed, serving

from coterie_api.progress import DropReason
from coterie_api.wire.v1 import rounds_pb2 as pb
from coterie_api.wire.v1 import rounds_pb2_grpc as stubs
from coterie_worker.transport import (
    Connection,
    Control,
    Dropped,
    Finished,
    Joined,
    Left,
    Limits,
    Peer,
    Received,
    Reset,
    RoundsServer,
    ServerCertificate,
    TransportError,
    Vector,
    VectorKind,
    role_uri,
)
from coterie_worker.transport import tls as transport_tls
from coterie_worker.transport.auth import prove

pytestmark = pytest.mark.local
SOON = 10.0


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path, clients=4)


async def soon(awaitable):
    async with asyncio.timeout(SOON):
        return await awaitable


async def greeted(connection: Connection) -> None:
    """Read what every new session begins with."""
    assert isinstance(await soon(connection.receive()), Reset)
    for kind in (VectorKind.LAYOUT, VectorKind.INITIAL):
        assert (await soon(connection.receive())).kind is kind


async def never_joins(server: RoundsServer, connection: Connection, attempts: int = 2) -> None:
    """Dial by hand: each attempt fails, and the server has seen nobody."""
    for _ in range(attempts):
        with pytest.raises((OSError, TransportError, grpc.aio.AioRpcError)):
            await soon(connection._dial_once())
    assert server.connected == frozenset()


async def ending(call) -> tuple[grpc.StatusCode, str]:
    """How the server ended a stream."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await soon(call.read())
    return caught.value.code(), caught.value.details()


class Proxy:
    """Carries bytes between two addresses until it is told to cut."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._writers: list[asyncio.StreamWriter] = []
        self.carried = 0
        self.cut_after: int | None = None

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self._server.sockets[0].getsockname()[1]

    async def _accept(self, reader, writer) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers += [writer, back]
        with suppress(ConnectionError):
            await asyncio.gather(self._pipe(reader, back), self._pipe(there, writer))

    async def _pipe(self, reader, writer) -> None:
        while data := await reader.read(65536):
            self.carried += len(data)
            if self.cut_after is not None and self.carried > self.cut_after:
                self.cut_after = None
                self.cut()
                return
            writer.write(data)
            await writer.drain()
        writer.close()

    def cut(self) -> None:
        """Break every connection, as a network does."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def stop(self) -> None:
        self.cut()
        self._server.close()
        await self._server.wait_closed()


@asynccontextmanager
async def proxied(port: int):
    proxy = Proxy(port)
    bound = await proxy.start()
    try:
        yield proxy, bound
    finally:
        await proxy.stop()


class TestTheRosterIsLetIn:
    async def test_a_client_joins_gets_the_initial_model_and_talks(self, world: World) -> None:
        async with serving(world) as (server, port), dialed(world.connection(world.credential(2), port)) as connection:
            assert await soon(server.event()) == Joined(2)
            await greeted(connection)
            connection.send(Control(b"up"))
            server.send(2, Control(b"down"))

            assert await soon(server.event()) == Received(2, Control(b"up"))
            assert await soon(connection.receive()) == Control(b"down")

    async def test_the_initial_model_is_not_sent_to_one_who_holds_it(self, world: World) -> None:
        async with serving(world) as (server, port):
            connection = world.connection(world.credential(0), port)
            connection.holds = GREETING.hash
            async with dialed(connection):
                assert await soon(connection.receive()) == Reset(GREETING.hash)
                server.send(0, Control(b"first"))

                assert await soon(connection.receive()) == Control(b"first")

    async def test_a_client_waits_for_an_aggregator_that_is_not_there_yet(self, world: World) -> None:
        async with serving(world) as (_, free):
            pass
        world.hosts.unlink()
        async with dialed(world.connection(world.credential(0), free)) as connection, serving(world, port=free) as (server, _):
            assert await soon(server.event()) == Joined(0)
            await greeted(connection)

    async def test_a_new_process_of_a_client_takes_the_place_of_the_old(self, world: World) -> None:
        async with serving(world) as (server, port), dialed(world.connection(world.credential(0), port)):
            assert await soon(server.event()) == Joined(0)
            async with dialed(world.connection(world.credential(0), port)) as second:
                assert await soon(server.event()) == Left(0, DropReason.DISCONNECTED)
                assert await soon(server.event()) == Joined(0)
                await greeted(second)

    async def test_the_end_of_the_job_reaches_all_and_those_who_come_late(self, world: World) -> None:
        async with serving(world) as (server, port):
            early, late = (world.connection(world.credential(index), port) for index in (0, 1))
            async with dialed(early):
                await greeted(early)
                await soon(server.finish(Finished("Completed")))
                assert await soon(early.receive()) == Finished("Completed")
            async with dialed(late):
                await greeted(late)
                assert await soon(late.receive()) == Finished("Completed")


class TestStrangersAreNot:
    async def test_another_key(self, world: World) -> None:
        async with serving(world) as (server, port):
            credential = replace(world.credential(0), key=Ed25519PrivateKey.generate())
            await never_joins(server, world.connection(credential, port))

    async def test_another_tenant_of_the_same_roster(self, world: World) -> None:
        async with serving(world) as (server, port):
            await never_joins(server, world.connection(replace(world.credential(0), index=1), port))

    async def test_an_index_outside_the_roster(self, world: World) -> None:
        async with serving(world) as (server, port):
            await never_joins(server, world.connection(replace(world.credential(0), index=4), port))

    async def test_another_job_json(self, world: World) -> None:
        async with serving(world) as (server, port):
            await never_joins(server, world.connection(replace(world.credential(0), spec_hash=bytes(32)), port))

    async def test_one_who_says_nothing_is_cut_off(self, world: World) -> None:
        world.limits["handshake_seconds"] = 0.2
        async with serving(world) as (_, port), raw_stream(world, port) as call:
            assert await ending(call) == (grpc.StatusCode.DEADLINE_EXCEEDED, "the handshake took too long")

    @pytest.mark.parametrize(
        "frame",
        [
            pb.Frame(),
            pb.Frame(sequence=1, control=pb.Control(payload=b"x")),
            pb.Frame(proof=pb.Proof(signature=bytes(64))),
            pb.Frame(hello=pb.Hello(version=2, job_uid=JOB, instance=bytes(16), spec_hash=SPEC_HASH)),
            pb.Frame(hello=pb.Hello(version=1, job_uid=JOB, instance=bytes(15), spec_hash=SPEC_HASH)),
            pb.Frame(hello=pb.Hello(version=1, job_uid="x" * 65, instance=bytes(16), spec_hash=SPEC_HASH)),
        ],
        ids=["nothing", "control", "proof", "version", "instance", "job"],
    )
    async def test_one_who_begins_otherwise(self, world: World, frame: pb.Frame) -> None:
        async with serving(world) as (server, port), raw_stream(world, port) as call:
            await call.write(frame)

            assert await ending(call) == (grpc.StatusCode.UNAUTHENTICATED, "not authenticated")  # and nothing about why
            assert server.connected == frozenset()

    async def test_a_recorded_proof(self, world: World) -> None:
        """The proof of one stream, played back on another, whose nonce differs."""
        claim = world.credential(0).claim
        hello = pb.Hello(version=1, job_uid=JOB, index=0, instance=claim.instance, spec_hash=SPEC_HASH)
        certificate = ServerCertificate(world.pair.certificate, world.pair.key).hash
        async with serving(world) as (server, port):
            async with raw_stream(world, port) as call:
                await call.write(pb.Frame(hello=hello))
                nonce = (await soon(call.read())).challenge.nonce
                recorded = prove(world.keys[0], claim, nonce, certificate)
                await call.write(pb.Frame(proof=pb.Proof(signature=recorded)))
                assert (await soon(call.read())).WhichOneof("body") == "welcome"
                assert await soon(server.event()) == Joined(0)
            async with raw_stream(world, port) as call:
                await call.write(pb.Frame(hello=hello))
                assert (await soon(call.read())).challenge.nonce != nonce
                await call.write(pb.Frame(proof=pb.Proof(signature=recorded)))

                assert await ending(call) == (grpc.StatusCode.UNAUTHENTICATED, "not authenticated")

    async def test_a_server_without_tls_1_3_finds_no_client_and_a_client_without_it_no_server(self, world: World) -> None:
        async with serving(world) as (_, port):
            context = ssl.create_default_context(cadata=world.authority.certificate.decode())
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            with pytest.raises(OSError):  # noqa: PT011 - the text is the operating system's
                await soon(asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=NAME))
        assert transport_tls.client_context(world.authority.certificate).minimum_version is ssl.TLSVersion.TLSv1_3


class TestClientsKnowTheirAggregator:
    @pytest.mark.parametrize(
        ("dns", "uri"),
        [
            ("other.research.svc", role_uri(JOB, "aggregator")),
            (NAME, role_uri("another-job", "aggregator")),
            (NAME, role_uri(JOB, "client")),
            (NAME, "coterie://operator"),
            (NAME, ""),
        ],
        ids=["another name", "another job", "another role", "the operator", "no role"],
    )
    async def test_a_certificate_of_the_same_ca_for_something_else_gets_no_proof(self, world: World, dns: str, uri: str) -> None:
        honest = world.pair
        world.pair = world.authority.issue(dns=dns, uri=uri)
        async with serving(world) as (server, port):
            assert world.pair != honest
            await never_joins(server, world.connection(world.credential(0), port))

    async def test_a_certificate_of_another_ca_gets_no_proof(self, world: World) -> None:
        async with serving(world) as (server, port):
            peer = Peer(NAME, port, world.hosts, Authority().certificate)
            await never_joins(server, Connection(peer, world.credential(0), Limits(dict(CLIENT_BYTES), 1 << 16)))

    async def test_a_relay_with_a_valid_certificate_of_its_own_can_not_pass_a_proof_on(self, world: World) -> None:
        """The worst relay: its certificate has the CA, the name and the role right (a former attempt's, stolen)."""
        async with serving(world) as (server, port), AsyncExitStack() as stack:
            relay = Relay(world, port)
            relay_port = await relay.start()
            stack.push_async_callback(relay.stop)

            await never_joins(server, world.connection(world.credential(0), relay_port))

            assert relay.proofs == 2  # it was given proofs, and they were worth nothing

    async def test_the_same_relay_passes_where_the_certificate_is_not_signed(self, world: World, monkeypatch) -> None:
        """The twin that must succeed on a broken build: both ends leave the certificate out of the transcript."""
        monkeypatch.setattr("coterie_worker.transport.client.prove", lambda key, claim, nonce, _: prove(key, claim, nonce, bytes(32)))
        async with serving(world) as (server, port), AsyncExitStack() as stack:
            server._certificate_hash = bytes(32)
            relay = Relay(world, port)
            relay_port = await relay.start()
            stack.push_async_callback(relay.stop)

            async with dialed(world.connection(world.credential(0), relay_port)):
                assert await soon(server.event()) == Joined(0)

    async def test_a_server_that_changes_its_certificate_after_the_pin_gets_no_stream(self, world: World) -> None:
        """What is signed is what terminates the stream: gRPC trusts the pinned leaf alone."""
        other = world.authority.issue(dns=NAME, uri=role_uri(JOB, "aggregator"))
        async with serving(world) as (server, port):
            connection = world.connection(world.credential(0), port)
            pinned = transport_tls.Pinned(other.certificate, ServerCertificate(other.certificate, other.key).hash)

            with pytest.raises(grpc.aio.AioRpcError, match="CERTIFICATE_VERIFY_FAILED"):
                await soon(connection._attend("127.0.0.1", pinned))

            assert server.connected == frozenset()


class TestStreamsBreak:
    async def test_a_cut_stream_goes_on_where_it_stopped_and_nobody_notices(self, world: World) -> None:
        async with linked(world) as (server, proxy, connection):
            for number in range(20):
                connection.send(Control(bytes([number])))
                server.send(0, Control(bytes([number])))
                if number % 5 == 4:
                    proxy.cut()

                assert await soon(server.event()) == Received(0, Control(bytes([number])))
                assert await soon(connection.receive()) == Control(bytes([number]))

    async def test_an_upload_that_is_cut_comes_again_whole(self, world: World) -> None:
        words = np.arange(1_000_000, dtype=np.uint32)
        async with linked(world) as (server, proxy, connection):
            server.gate.open(5)
            proxy.cut_after = proxy.carried + 2_000_000
            connection.send(Vector(VectorKind.MASKED, 5, words, b"signature"))

            upload = (await soon(server.event())).message

            assert proxy.cut_after is None
            np.testing.assert_array_equal(upload.words, words)
            upload.release()
            assert server.gate.in_memory == 0

    async def test_a_stream_that_does_not_come_back_within_the_grace_is_a_client_that_left(self, world: World) -> None:
        world.limits["grace_seconds"] = 0.1
        async with serving(world) as (server, port), proxied(port) as (proxy, outer):
            connection = world.connection(world.credential(0), outer)
            async with dialed(connection):
                assert await soon(server.event()) == Joined(0)
            proxy.cut()

            assert await soon(server.event()) == Left(0, DropReason.DISCONNECTED)

    async def test_a_restarted_aggregator_begins_a_new_session(self, world: World) -> None:
        async with AsyncExitStack() as stack:
            async with serving(world) as (server, port):
                connection = await stack.enter_async_context(dialed(world.connection(world.credential(0), port)))
                await greeted(connection)
                connection.send(Control(b"void"))
                assert await soon(server.event()) == Joined(0)
            async with serving(world, port=port) as (server, _):
                assert await soon(server.event()) == Joined(0)
                assert isinstance(await soon(connection.receive()), Reset)


class TestBounds:
    async def test_two_uploads_at_most_are_in_memory(self, world: World) -> None:
        words = np.zeros(300_000, np.uint32)
        async with serving(world) as (server, port), AsyncExitStack() as stack:
            server.gate.open(1)
            for index in range(4):
                connection = await stack.enter_async_context(dialed(world.connection(world.credential(index), port)))
                await greeted(connection)
                connection.send(Vector(VectorKind.MASKED, 1, words, b"s"))
            uploads = []
            while len(uploads) < 4:
                event = await soon(server.event())
                if isinstance(event, Received):
                    assert server.gate.in_memory <= 2
                    uploads.append(event.index)
                    event.message.release()

            assert sorted(uploads) == [0, 1, 2, 3]

    @pytest.mark.parametrize(
        "frames",
        [
            [pb.Frame(sequence=1, control=pb.Control(payload=bytes((1 << 16) + 1)))],
            [pb.Frame(sequence=1, vector_begin=pb.VectorBegin(kind=VectorKind.MASKED, tag=1, length_bytes=1 << 40))],
            [pb.Frame(sequence=1, vector_begin=pb.VectorBegin(kind=VectorKind.PARAMETERS, tag=1, length_bytes=4))],
            [pb.Frame(sequence=7, control=pb.Control(payload=b"x"))],
            [pb.Frame(sequence=1, finished=pb.Finished(reason="x"))],
            [pb.Frame(ack=99)],
            [pb.Frame(grant=pb.Grant(is_accepted=True))],
        ],
        ids=["control too large", "vector too large", "a model", "out of order", "the job's end", "ack of nothing", "a grant"],
    )
    async def test_one_who_breaks_the_rules_is_expelled_by_name(self, world: World, frames: list[pb.Frame]) -> None:
        async with serving(world) as (server, port), raw_stream(world, port) as call:
            await authenticate(world, call, 0)
            assert await soon(server.event()) == Joined(0)
            for frame in frames:
                await call.write(frame)

            assert await soon(server.event()) == Left(0, DropReason.PROTOCOL_VIOLATION)
            assert server.connected == frozenset()

    async def test_a_vector_that_stops_arriving_ends_its_stream(self, world: World) -> None:
        world.limits["chunk_seconds"] = 0.2
        async with serving(world) as (server, port), raw_stream(world, port) as call:
            await authenticate(world, call, 0)
            assert await soon(server.event()) == Joined(0)
            server.gate.open(1)
            await call.write(pb.Frame(sequence=1, vector_begin=pb.VectorBegin(kind=VectorKind.MASKED, tag=1, length_bytes=8)))

            assert await soon(server.event()) == Left(0, DropReason.PROTOCOL_VIOLATION)
            assert server.gate.in_memory == 0

    async def test_a_drop_tells_its_reason(self, world: World) -> None:
        drop = Dropped(3, DropReason.TASK_RAISED, "ValueError", "task.py:7", "abc")
        async with serving(world) as (server, port), dialed(world.connection(world.credential(0), port)) as connection:
            await greeted(connection)
            connection.send(drop)
            assert await connection.settled(SOON)

            assert [await soon(server.event()) for _ in range(2)] == [Joined(0), Received(0, drop)]


@asynccontextmanager
async def linked(world: World):
    """A server and a client that talk through a proxy."""
    async with AsyncExitStack() as stack:
        server, port = await stack.enter_async_context(serving(world))
        proxy, outer = await stack.enter_async_context(proxied(port))
        connection = await stack.enter_async_context(dialed(world.connection(world.credential(0), outer)))
        assert await soon(server.event()) == Joined(0)
        await greeted(connection)
        yield server, proxy, connection


@asynccontextmanager
async def raw_stream(world: World, port: int):
    """A stream of frames without Coterie's client."""
    credentials = grpc.ssl_channel_credentials(root_certificates=world.authority.certificate)
    options = [("grpc.ssl_target_name_override", NAME), ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.secure_channel(f"ipv4:127.0.0.1:{port}", credentials, options=options) as channel:
        call = stubs.RoundsStub(channel).Attend()
        try:
            yield call
        finally:
            call.cancel()


async def authenticate(world: World, call, index: int) -> None:
    claim = world.credential(index).claim
    await call.write(pb.Frame(hello=pb.Hello(version=1, job_uid=JOB, index=index, instance=claim.instance, spec_hash=SPEC_HASH)))
    nonce = (await soon(call.read())).challenge.nonce
    certificate = ServerCertificate(world.pair.certificate, world.pair.key).hash
    await call.write(pb.Frame(proof=pb.Proof(signature=prove(world.keys[index], claim, nonce, certificate))))
    assert (await soon(call.read())).WhichOneof("body") == "welcome"


class Relay(stubs.RoundsServicer):
    """Terminates TLS with its own certificate and passes every frame on to the real server, and back."""

    def __init__(self, world: World, port: int) -> None:
        self._world, self._port = world, port
        self.proofs = 0

    async def start(self) -> int:
        pair = self._world.authority.issue(dns=NAME, uri=role_uri(JOB, "aggregator"))
        self._server = grpc.aio.server()
        stubs.add_RoundsServicer_to_server(self, self._server)
        port = self._server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(pair.key, pair.certificate)]))
        await self._server.start()
        return port

    async def stop(self) -> None:
        await self._server.stop(0)

    async def Attend(self, request_iterator, context) -> None:  # noqa: N802
        async with raw_stream(self._world, self._port) as call:
            forward = asyncio.create_task(self._forward(request_iterator, call))
            try:
                while (frame := await call.read()) is not grpc.aio.EOF:
                    await context.write(frame)
            except grpc.aio.AioRpcError as error:
                await context.abort(error.code(), error.details())
            finally:
                forward.cancel()
                await asyncio.gather(forward, return_exceptions=True)

    async def _forward(self, frames, call) -> None:
        async for frame in frames:
            self.proofs += frame.WhichOneof("body") == "proof"
            await call.write(frame)
