"""Real TLS and gRPC on loopback: who is let in, and who isn't."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import AsyncExitStack
from dataclasses import replace

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.local.dataplane.authority import Authority
from tests.local.dataplane.loopback import CLIENT_BYTES, GREETING, JOB, NAME, SPEC_HASH, World, dialed, greeted, serving, soon
from tests.local.dataplane.middlemen import Relay, raw_stream

from coterie_api.progress import DropReason
from coterie_api.wire.v1 import rounds_pb2 as pb
from coterie_worker.transport import (
    Connection,
    Control,
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
    role_uri,
)
from coterie_worker.transport import tls as transport_tls
from coterie_worker.transport.auth import VERSION, prove

pytestmark = pytest.mark.local


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
            pb.Frame(hello=pb.Hello(version=VERSION - 1, job_uid=JOB, instance=bytes(16), spec_hash=SPEC_HASH)),
            pb.Frame(hello=pb.Hello(version=VERSION, job_uid=JOB, instance=bytes(15), spec_hash=SPEC_HASH)),
            pb.Frame(hello=pb.Hello(version=VERSION, job_uid="x" * 65, instance=bytes(16), spec_hash=SPEC_HASH)),
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
        hello = pb.Hello(version=VERSION, job_uid=JOB, index=0, instance=claim.instance, spec_hash=SPEC_HASH)
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

    async def test_the_last_slot_is_told_at_each_dial(self, world: World) -> None:
        async with serving(world) as (server, port), AsyncExitStack() as stack:
            connection = world.connection(world.credential(0), port)
            connection.last_slot = 7
            await stack.enter_async_context(dialed(connection))

            assert await soon(server.event()) == Joined(0, last_slot=7)

    async def test_another_last_slot_than_was_signed(self, world: World) -> None:
        claim = world.credential(0).claim
        certificate = ServerCertificate(world.pair.certificate, world.pair.key).hash
        async with serving(world) as (server, port), raw_stream(world, port) as call:
            hello = pb.Hello(version=VERSION, job_uid=JOB, index=0, instance=claim.instance, spec_hash=SPEC_HASH, last_slot=7)
            await call.write(pb.Frame(hello=hello))
            nonce = (await soon(call.read())).challenge.nonce
            await call.write(pb.Frame(proof=pb.Proof(signature=prove(world.keys[0], claim, nonce, certificate))))

            assert await ending(call) == (grpc.StatusCode.UNAUTHENTICATED, "not authenticated")
            assert server.connected == frozenset()

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
