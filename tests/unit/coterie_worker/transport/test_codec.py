"""What is written by hand is what protobuf writes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie_api.wire.v1 import rounds_pb2 as pb
from coterie_worker.transport.codec import ChunkFrame, from_bytes, to_bytes

COUNTERS = st.integers(0, 2**64 - 1)


@given(data=st.binary(min_size=1, max_size=300), ack=COUNTERS, sequence=COUNTERS)
def test_a_chunk_is_written_as_protobuf_writes_it(data: bytes, ack: int, sequence: int) -> None:
    written = to_bytes(ChunkFrame(memoryview(data), ack, sequence))

    assert pb.Frame(ack=ack, sequence=sequence, chunk=pb.Chunk(data=data)).SerializeToString() == written


@pytest.mark.parametrize("size", [127, 128, 16_383, 16_384, 2**20])
def test_lengths_of_every_width_are_read_back(size: int) -> None:
    frame = from_bytes(to_bytes(ChunkFrame(memoryview(bytes(size)), 1, 2)))

    assert (size, 1, 2) == (len(frame.chunk.data), frame.ack, frame.sequence)


def test_other_frames_are_protobufs_own() -> None:
    frame = pb.Frame(ack=3, sequence=4, control=pb.Control(payload=b"x"))

    assert frame == from_bytes(to_bytes(frame))


@pytest.mark.parametrize("cut", [1, 10, 100])
def test_a_chunk_that_was_cut_is_no_frame(cut: int) -> None:
    whole = to_bytes(ChunkFrame(memoryview(bytes(200)), 1, 2))

    with pytest.raises(Exception, match="parsing message"):
        from_bytes(whole[:-cut])
