"""What is written by hand is what protobuf writes."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from coterie_api.wire.v1 import rounds_pb2 as pb
from coterie_worker.transport.codec import AnyFrame, ChunkFrame, from_bytes, to_bytes

COUNTERS = st.integers(0, 2**64 - 1)


def content(frame: AnyFrame) -> bytes:
    return bytes(frame.data) if isinstance(frame, ChunkFrame) else frame.chunk.data


@given(data=st.binary(min_size=1, max_size=300), ack=COUNTERS, sequence=COUNTERS)
def test_a_chunk_is_written_as_protobuf_writes_it(data: bytes, ack: int, sequence: int) -> None:
    written = to_bytes(ChunkFrame(memoryview(data), ack, sequence))

    assert pb.Frame(ack=ack, sequence=sequence, chunk=pb.Chunk(data=data)).SerializeToString() == written


@pytest.mark.parametrize("size", [127, 128, 16_383, 16_384, 2**20])
def test_lengths_of_every_width_are_read_back(size: int) -> None:
    frame = from_bytes(to_bytes(ChunkFrame(memoryview(bytes(size)), 1, 2)))

    assert (bytes(size), 1, 2) == (content(frame), frame.ack, frame.sequence)


@given(end=st.binary(max_size=300), ack=COUNTERS, sequence=COUNTERS)
def test_a_chunk_of_protobufs_is_read_without_protobuf(end: bytes, ack: int, sequence: int) -> None:
    data = bytes(5000) + end

    frame = from_bytes(pb.Frame(ack=ack, sequence=sequence, chunk=pb.Chunk(data=data)).SerializeToString())

    assert isinstance(frame, ChunkFrame)
    assert (data, ack, sequence) == (frame.data, frame.ack, frame.sequence)


@given(at=st.integers(0, 30), byte=st.integers(0, 255), ack=COUNTERS)
def test_a_changed_head_is_read_as_protobuf_reads_it(at: int, byte: int, ack: int) -> None:
    written = bytearray(to_bytes(ChunkFrame(memoryview(bytes(5000)), ack, 7)))
    written[at] = byte

    try:
        expected = pb.Frame.FromString(bytes(written))
    except DecodeError:
        with pytest.raises(DecodeError):
            from_bytes(bytes(written))
        return
    frame = from_bytes(bytes(written))

    assert (expected.ack, expected.sequence, expected.chunk.data) == (frame.ack, frame.sequence, content(frame))


def test_other_frames_are_protobufs_own() -> None:
    frame = pb.Frame(ack=3, sequence=4, control=pb.Control(payload=b"x"))

    assert frame == from_bytes(to_bytes(frame))


@pytest.mark.parametrize("cut", [1, 10, 4900])
def test_a_chunk_that_was_cut_is_no_frame(cut: int) -> None:
    whole = to_bytes(ChunkFrame(memoryview(bytes(5000)), 1, 2))

    with pytest.raises(DecodeError):
        from_bytes(whole[:-cut])
