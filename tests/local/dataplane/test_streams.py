"""Real TLS and gRPC on loopback: what a broken stream costs, and what nobody may send."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import grpc
import numpy as np
import pytest
from tests.local.dataplane.loopback import SOON, World, dialed, greeted, serving, soon
from tests.local.dataplane.middlemen import authenticate, proxied, raw_stream

from coterie_api.progress import DropReason
from coterie_api.wire.v1 import rounds_pb2 as pb
from coterie_worker.transport import Control, Dropped, Joined, Left, Received, Reset, Vector, VectorKind
from coterie_worker.transport.server import BACKLOG

pytestmark = pytest.mark.local


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

    async def test_one_that_trickles_an_upload_loses_its_place(self, world: World) -> None:
        """Each chunk is in time, the whole never would be."""
        world.limits |= {"chunk_seconds": 0.3, "least_rate": 1 << 20, "uploads": 1}
        words = np.zeros(300_000, np.uint32)
        async with serving(world) as (server, port), raw_stream(world, port) as call, AsyncExitStack() as stack:
            await holds_a_place(world, server, call)
            trickle = asyncio.create_task(one_byte_at_a_time(call))
            stack.callback(trickle.cancel)
            honest = await stack.enter_async_context(dialed(world.connection(world.credential(1), port)))
            await greeted(honest)
            honest.send(Vector(VectorKind.MASKED, 1, words, b"s"))

            events = [await soon(server.event()) for _ in range(3)]

            assert Left(0, DropReason.PROTOCOL_VIOLATION) in events
            (upload,) = (event for event in events if isinstance(event, Received))
            assert upload.index == 1
            upload.message.release()
            assert server.gate.in_memory == 0

    async def test_what_is_on_its_way_when_uploads_close_takes_no_place_from_the_next_slot(self, world: World) -> None:
        world.limits["uploads"] = 1
        async with serving(world) as (server, port), raw_stream(world, port) as call, AsyncExitStack() as stack:
            await holds_a_place(world, server, call)

            server.close_uploads()
            server.gate.open(2)
            honest = await stack.enter_async_context(dialed(world.connection(world.credential(1), port)))
            await greeted(honest)
            honest.send(Vector(VectorKind.MASKED, 2, np.zeros(300_000, np.uint32), b"s"))

            assert [await soon(server.event()), (await soon(server.event())).index] == [Joined(1), 1]
            assert server.connected == {0, 1}  # it is slow, and broke no rule

    async def test_a_client_that_dials_again_and_again_has_no_more_waiting_than_before(self, world: World) -> None:
        async with serving(world) as (server, port), AsyncExitStack() as stack:
            for _ in range(3):
                call = await stack.enter_async_context(raw_stream(world, port))
                await authenticate(world, call, 0)
                for sequence in range(1, 2 * BACKLOG):
                    await call.write(pb.Frame(sequence=sequence, control=pb.Control(payload=b"x")))
                while server._events.qsize() < BACKLOG:
                    await asyncio.sleep(0.01)
            honest = await stack.enter_async_context(dialed(world.connection(world.credential(1), port)))
            await greeted(honest)
            honest.send(Control(b"last"))  # it comes after whatever else is let in
            waiting = server._events._queue  # looked at and not taken: taking makes room
            while Received(1, Control(b"last")) not in waiting:
                await asyncio.sleep(0.01)

            assert sum(isinstance(event, Received) and event.index == 0 for event in waiting) == BACKLOG

    async def test_a_drop_tells_its_reason(self, world: World) -> None:
        drop = Dropped(3, DropReason.TASK_RAISED, "ValueError", "task.py:7", "abc")
        async with serving(world) as (server, port), dialed(world.connection(world.credential(0), port)) as connection:
            await greeted(connection)
            connection.send(drop)
            assert await connection.settled(SOON)

            assert [await soon(server.event()) for _ in range(2)] == [Joined(0), Received(0, drop)]


async def holds_a_place(world: World, server, call) -> None:
    """A client that was granted an upload of slot 1, and has sent nothing of it."""
    await authenticate(world, call, 0)
    assert await soon(server.event()) == Joined(0)
    server.gate.open(1)
    await call.write(pb.Frame(sequence=1, vector_begin=pb.VectorBegin(kind=VectorKind.MASKED, tag=1, length_bytes=4 * 300_000)))
    while server.gate.in_memory == 0:
        await asyncio.sleep(0.01)


async def one_byte_at_a_time(call) -> None:
    """Chunks of an upload that is always on its way."""
    with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        while True:
            await call.write(pb.Frame(sequence=1, chunk=pb.Chunk(data=b"x")))
            await asyncio.sleep(0.05)


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
