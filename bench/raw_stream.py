"""The bytes of a round and nothing else: gRPC over TLS 1.3, one server process and n client processes, 1 MiB messages.

Each round the server sends a vector to every client and every client sends one back: what a secure round moves.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

CHUNK = 1 << 20
OPTIONS = [("grpc.max_receive_message_length", CHUNK + 4096), ("grpc.max_send_message_length", CHUNK + 4096)]
METHOD = "/bench.Raw/Round"


def seconds_per_round(clients: int, values: int, rounds: int) -> list[float]:
    """Return the seconds of each round of `values` float32 down and up for every client; the first warms up and is left out."""
    from bench.certificate import self_signed

    context = get_context("spawn")
    queue: Queue[Any] = context.Queue()
    key, certificate = self_signed("bench.local")
    server = context.Process(target=_serve, args=(queue, key, certificate, clients, values * 4, rounds + 1))
    server.start()
    port = queue.get()
    dialers = [context.Process(target=_dial, args=(port, certificate, values * 4, rounds + 1)) for _ in range(clients)]
    for dialer in dialers:
        dialer.start()
    seconds: list[float] = queue.get()
    for process in (*dialers, server):
        process.join()
    return seconds[1:]


def _chunks(size: int) -> list[bytes]:
    whole = bytes(size)
    return [whole[at : at + CHUNK] for at in range(0, size, CHUNK)]


def _serve(queue: Any, key: bytes, certificate: bytes, clients: int, size: int, rounds: int) -> None:
    asyncio.run(_serving(queue, key, certificate, clients, size, rounds))


async def _serving(queue: Any, key: bytes, certificate: bytes, clients: int, size: int, rounds: int) -> None:
    import grpc

    chunks, arrived = _chunks(size), [0] * rounds
    ready, done = asyncio.Event(), [asyncio.Event() for _ in range(rounds)]
    present = 0

    async def exchange(requests: Any, context: Any) -> None:  # noqa: ARG001
        nonlocal present
        present += 1
        if present == clients:
            ready.set()
        await ready.wait()
        for number in range(rounds):
            for chunk in chunks:
                await context.write(chunk)
            left = size
            while left:
                left -= len(await context.read())
            arrived[number] += 1
            if arrived[number] == clients:
                done[number].set()
            await done[number].wait()

    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("bench.Raw", {"Round": grpc.stream_stream_rpc_method_handler(exchange)}),)
    )
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
    await server.start()
    queue.put(port)
    await ready.wait()
    times = [time.perf_counter()]
    for event in done:
        await event.wait()
        times.append(time.perf_counter())
    queue.put([after - before for before, after in itertools.pairwise(times)])
    await server.stop(5)


def _dial(port: int, certificate: bytes, size: int, rounds: int) -> None:
    asyncio.run(_dialing(port, certificate, size, rounds))


async def _dialing(port: int, certificate: bytes, size: int, rounds: int) -> None:
    import grpc

    chunks = _chunks(size)
    options = [*OPTIONS, ("grpc.ssl_target_name_override", "bench.local")]
    async with grpc.aio.secure_channel(f"127.0.0.1:{port}", grpc.ssl_channel_credentials(certificate), options) as channel:
        stream = channel.stream_stream(METHOD)()
        for _ in range(rounds):
            left = size
            while left:
                left -= len(await stream.read())
            for chunk in chunks:
                await stream.write(chunk)
        await stream.done_writing()
        await stream.code()  # closing the channel earlier would drop what is under way
