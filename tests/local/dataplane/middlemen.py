"""What may stand between a client and its aggregator: a wire that breaks, a relay, and hands that write frames themselves."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress

import grpc
from tests.local.dataplane.loopback import JOB, NAME, SPEC_HASH, World, soon

from coterie_api.wire.v1 import rounds_pb2 as pb
from coterie_api.wire.v1 import rounds_pb2_grpc as stubs
from coterie_worker.transport import ServerCertificate, role_uri
from coterie_worker.transport.auth import VERSION, prove


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
    await call.write(pb.Frame(hello=pb.Hello(version=VERSION, job_uid=JOB, index=index, instance=claim.instance, spec_hash=SPEC_HASH)))
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
