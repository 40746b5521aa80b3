"""A secure round's bytes: gRPC over TLS 1.3, one server process and n client processes, 1 MiB messages.

Each round the server sends a vector to every client and every client sends one back: what a secure round moves. With `calls`
both sides also make a secure round's library calls (`primitives`), in threads beside the event loop, and nothing else.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

from bench.primitives import AggregatorCalls, ClientCalls
from bench.table import Row

if TYPE_CHECKING:
    from collections.abc import Iterable
    from multiprocessing.queues import Queue

CHUNK = 1 << 20
OPTIONS = [("grpc.max_receive_message_length", CHUNK + 4096), ("grpc.max_send_message_length", CHUNK + 4096)]
ROUNDS = 25
METHOD = "/bench.Raw/Round"


@dataclass(frozen=True, slots=True)
class Load:
    """How much goes over the streams, and whether it is also worked on."""

    clients: int
    values: int  # float32, each way
    rounds: int
    calls: bool = False

    @property
    def size(self) -> int:
        """Bytes of a vector."""
        return 4 * self.values


def against_raw(what: str, ours: float, target: float) -> Iterable[Row]:
    """A round's seconds against its bytes alone, n = 10 and d = 10⁶; and with the library calls too: what no protocol goes below."""
    raw, bare = (statistics.median(seconds_per_round(Load(10, 1_000_000, ROUNDS, calls))) for calls in (False, True))
    yield Row(f"{what}, vs the same bytes raw", ours, raw, "s", target)
    yield Row("its limit: raw bytes and bare library calls, without protocol and files", bare, raw, "s", target)


def seconds_per_round(load: Load) -> list[float]:
    """Return the seconds of each round; the first warms up and is left out."""
    from bench.certificate import self_signed

    context = get_context("spawn")
    queue: Queue[Any] = context.Queue()
    key, certificate = self_signed("bench.local")
    server = context.Process(target=_serve, args=(queue, key, certificate, load))
    server.start()
    port = queue.get()
    dialers = [context.Process(target=_dial, args=(port, certificate, load)) for _ in range(load.clients)]
    for dialer in dialers:
        dialer.start()
    seconds: list[float] = queue.get()
    for process in (*dialers, server):
        process.join()
    return seconds[1:]


def _serve(queue: Any, key: bytes, certificate: bytes, load: Load) -> None:
    asyncio.run(_Server(load).run(queue, key, certificate))


class _Server:
    def __init__(self, load: Load) -> None:
        self._load = load
        self._model = _chunks(bytes(load.size))
        self._present, self._ready = 0, asyncio.Event()
        self._arrived, self._done = [0] * (load.rounds + 1), [asyncio.Event() for _ in range(load.rounds + 1)]
        self._calls = AggregatorCalls(load.clients, load.values) if load.calls else None

    async def run(self, queue: Any, key: bytes, certificate: bytes) -> None:
        import grpc

        server = grpc.aio.server(options=OPTIONS)
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("bench.Raw", {"Round": grpc.stream_stream_rpc_method_handler(self._exchange)}),)
        )
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
        await server.start()
        queue.put(port)
        await self._ready.wait()
        times = [time.perf_counter()]
        for event in self._done:
            await event.wait()
            times.append(time.perf_counter())
        queue.put([after - before for before, after in itertools.pairwise(times)])
        await server.stop(5)

    async def _exchange(self, requests: Any, context: Any) -> None:  # noqa: ARG002
        self._present += 1
        if self._present == self._load.clients:
            self._ready.set()
        await self._ready.wait()
        for number, done in enumerate(self._done):
            await _send(context, self._model)
            upload = await _receive(context, self._load)
            if self._calls is not None:
                await asyncio.to_thread(self._calls.add, upload)
            self._arrived[number] += 1
            if self._arrived[number] == self._load.clients:
                if self._calls is not None:
                    await asyncio.to_thread(self._calls.close)
                done.set()
            await done.wait()


def _dial(port: int, certificate: bytes, load: Load) -> None:
    asyncio.run(_dialing(port, certificate, load))


async def _dialing(port: int, certificate: bytes, load: Load) -> None:
    import grpc

    calls, answer = ClientCalls(load.clients, load.values) if load.calls else None, _chunks(bytes(load.size))
    options = [*OPTIONS, ("grpc.ssl_target_name_override", "bench.local")]
    async with grpc.aio.secure_channel(f"127.0.0.1:{port}", grpc.ssl_channel_credentials(certificate), options) as channel:
        stream = channel.stream_stream(METHOD)()
        for _ in range(load.rounds + 1):
            model = await _receive(stream, load)
            await _send(stream, _chunks(await asyncio.to_thread(calls.answer, model)) if calls is not None else answer)
        await stream.done_writing()
        await stream.code()  # closing the channel earlier would drop what is under way


def _chunks(vector: bytes | memoryview) -> list[bytes]:
    return [bytes(vector[at : at + CHUNK]) for at in range(0, len(vector), CHUNK)]


async def _send(stream: Any, chunks: list[bytes]) -> None:
    for chunk in chunks:
        await stream.write(chunk)


async def _receive(stream: Any, load: Load) -> bytearray:
    """A whole vector; empty where nobody will look at it."""
    vector = bytearray(load.size if load.calls else 0)
    at = 0
    while at < load.size:
        chunk = await stream.read()
        if load.calls:
            vector[at : at + len(chunk)] = chunk
        at += len(chunk)
    return vector
