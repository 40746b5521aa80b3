"""A peer that is late gets small chunks until it has shown that it is quick; what arrives is the same."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest

from coterie_api.wire.v1 import rounds_pb2 as pb
from coterie_worker.transport.chunk_size import LEAST, ChunkSize
from coterie_worker.transport.codec import ChunkFrame
from coterie_worker.transport.frames import chunks
from coterie_worker.transport.limits import MIB, Limits
from coterie_worker.transport.link import Sender


@pytest.fixture
def size() -> ChunkSize:
    return ChunkSize(MIB, 0.1)


def grown(size: ChunkSize) -> ChunkSize:
    while size.bytes < MIB:
        size.took(0)
    return size


def test_a_peer_of_whom_nothing_is_known_gets_small_chunks(size: ChunkSize) -> None:
    assert size.bytes == LEAST


def test_one_late_chunk_makes_the_next_ones_small(size: ChunkSize) -> None:
    grown(size).took(0.11)
    assert size.bytes == LEAST
    size.took(5)
    assert size.bytes == LEAST


def test_chunks_that_are_in_time_but_not_quick_stay_as_they_are(size: ChunkSize) -> None:
    for _ in range(9):
        size.took(0.05)
    assert size.bytes == LEAST


def test_quick_chunks_let_them_grow_up_to_the_largest_and_no_further(size: ChunkSize) -> None:
    seen = []
    for _ in range(6):
        size.took(0.01)
        seen.append(size.bytes)
    assert seen == [2 * LEAST, 4 * LEAST, MIB, MIB, MIB, MIB]


def test_none_is_larger_than_what_the_peer_accepts() -> None:
    tiny = ChunkSize(64, 0.1)
    tiny.took(1)
    assert tiny.bytes == 64


@pytest.mark.parametrize(("clients", "largest"), [(1, MIB), (5, MIB), (10, MIB // 2), (20, MIB // 4), (100, MIB // 8), (100_000, MIB // 8)])
def test_the_more_clients_the_smaller_the_chunks_that_may_wait_for_them(clients: int, largest: int) -> None:
    assert Limits({}, control_bytes=64, clients=clients).sent_chunk_bytes == largest


@pytest.mark.parametrize(("clients", "ahead"), [(1, 4 * MIB), (10, 4 * MIB), (40, MIB), (80, MIB // 2), (100_000, MIB // 2)])
def test_the_more_clients_the_less_each_sends_ahead_of_being_read(clients: int, ahead: int) -> None:
    assert Limits({}, control_bytes=64, clients=clients).window_bytes == ahead


def test_no_chunk_is_larger_than_the_other_side_accepts() -> None:
    assert Limits({}, control_bytes=64, chunk_bytes=100).sent_chunk_bytes == 100


def test_a_vector_whose_chunks_change_their_size_arrives_whole(size: ChunkSize) -> None:
    words = np.arange(3 * MIB // 4, dtype=np.uint32)
    lengths, parts = [], []
    for frame, seconds in zip(chunks(words, grown(size)), (0.2, 0.01, 0.01, 0.2, *[0.05] * 99), strict=False):
        size.took(seconds)
        lengths.append(len(frame.data))
        parts.append(bytes(frame.data))
    assert lengths[:5] == [MIB, LEAST, 2 * LEAST, 4 * LEAST, LEAST]
    assert b"".join(parts) == words.tobytes()


async def test_how_long_a_chunk_takes_to_write_decides_on_the_next_and_other_frames_do_not() -> None:
    sender = Sender(Limits({}, control_bytes=64, turn_seconds=0.001), lambda: 0)

    async def late(_: object) -> None:
        end = time.monotonic() + 0.002
        while time.monotonic() < end:
            await asyncio.sleep(0)

    await sender.put(pb.Frame(), late)
    grown(sender.chunk_size)
    await sender.put(pb.Frame(), late)
    assert sender.chunk_size.bytes == MIB

    await sender.put(ChunkFrame(memoryview(b"x")), late)
    assert sender.chunk_size.bytes == LEAST


def test_an_empty_vector_has_no_chunk(size: ChunkSize) -> None:
    assert list(chunks(np.empty(0, np.uint8), size)) == []
