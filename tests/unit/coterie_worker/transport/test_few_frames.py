"""Short vectors in one frame, acknowledgments that travel with others, and peers that take nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from tests.unit.coterie_worker.transport.sides import LIMITS, SHORT, Side, begin, frame, pump, refused, short, vector

from coterie_api.progress import DropReason
from coterie_api.wire.v1 import rounds_pb2 as pb
from coterie_worker.transport.gate import UploadGate
from coterie_worker.transport.messages import Control, Dropped, Finished, FrameRefused, VectorKind


class TestAcknowledgments:
    async def test_one_travels_with_the_next_message(self) -> None:
        here, there = Side(), Side(limits=replace(LIMITS, ack_seconds=1e6))
        here.sender.post(vector())
        await pump(here, there)
        there.sender.post(Control(b"next"))

        assert await pump(there, here) == ["control"]
        await here.sender.settled()

    async def test_one_that_finds_no_company_comes_alone_and_once(self) -> None:
        here, there = Side(), Side()
        for _ in range(2):
            here.sender.post(vector())
        await pump(here, there)

        assert await pump(there, here) == [None]
        await here.sender.settled()

    async def test_a_stream_that_breaks_meanwhile_tells_it_at_its_beginning(self) -> None:
        here, there = Side(), Side()
        here.sender.post(vector())
        await pump(here, there)

        there.sender.resume(0)

        assert await pump(there, here) == []

    @pytest.mark.parametrize("last", [Finished("Completed"), Dropped(1, DropReason.NO_DATA, is_final=True)])
    async def test_of_a_last_word_one_comes_at_once(self, last: Finished | Dropped) -> None:
        limits = replace(LIMITS, ack_seconds=1e6)
        here, there = Side(limits=limits), Side(limits=limits)
        here.sender.post(last)
        await pump(here, there)

        assert await pump(there, here) == [None]


class TestAPeerThatTakesNothing:
    async def test_one_acknowledgment_is_kept_for_it_however_much_it_says(self) -> None:
        side = Side()
        for sequence in range(1, 1000):
            await side.hear(frame(sequence, drop=pb.Drop(reason="TaskRaised")))

        waiting = side.sender.frames()
        assert (await anext(waiting)).ack == 999
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(waiting), 0.05)

    async def test_one_that_offers_uploads_without_end_and_takes_no_answer_is_refused(self) -> None:
        side = Side(UploadGate(1))  # nothing is open, so each offer is declined
        for sequence in range(1, LIMITS.queued_messages + 1):
            await side.hear(begin(8, VectorKind.MASKED, sequence))

        with pytest.raises(FrameRefused, match="8 answers wait to be taken"):
            await side.hear(begin(8, VectorKind.MASKED, LIMITS.queued_messages + 1))

    async def test_a_grant_for_nothing_is_refused(self) -> None:
        side = Side()
        await side.hear(pb.Frame(grant=pb.Grant(is_accepted=True)))

        with pytest.raises(FrameRefused, match="not offered"):
            await side.hear(pb.Frame(grant=pb.Grant(is_accepted=True)))


class TestShortVectors:
    async def test_one_is_one_frame(self) -> None:
        here, there = Side(limits=SHORT), Side(limits=SHORT)
        here.sender.post(vector(size=25))

        assert await pump(here, there) == ["short_vector"]

        (whole,) = there.got
        assert (whole.kind, whole.tag, whole.signature) == (VectorKind.PARAMETERS, 3, b"signature")
        np.testing.assert_array_equal(whole.words, np.arange(25, dtype=np.float32))
        assert whole.words.flags.writeable

    async def test_one_word_more_is_several(self) -> None:
        here, there = Side(limits=SHORT), Side(limits=SHORT)
        here.sender.post(vector(size=26))

        assert await pump(here, there) == ["vector_begin", "chunk", "chunk", "vector_end"]

    async def test_as_an_upload_it_needs_no_credit(self) -> None:
        gate = UploadGate(0)
        gate.open(3)
        here, there = Side(limits=SHORT), Side(gate, SHORT)
        here.sender.post(vector(VectorKind.MASKED, size=25))

        await pump(here, there)

        there.got[0].release()
        assert gate.in_memory == 0

    async def test_a_longer_one_does(self) -> None:
        gate = UploadGate(0)
        gate.open(3)
        here, there = Side(limits=SHORT), Side(gate, SHORT)
        here.sender.post(vector(VectorKind.MASKED, size=26))

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await asyncio.gather(pump(here, there), pump(there, here))
        assert there.got == []

    async def test_one_that_is_longer_than_short_is_refused(self) -> None:
        await refused(short(bytes(104)), match="104 bytes, at most 100", limits=SHORT)

    async def test_one_that_is_longer_than_its_kind_may_be(self) -> None:
        await refused(short(bytes(51), VectorKind.LAYOUT), match="51 bytes, at most 50", limits=SHORT)

    @pytest.mark.parametrize("kind", [0, 9, VectorKind.INITIAL])
    async def test_one_of_a_kind_that_does_not_come_this_way(self, kind: int) -> None:
        await refused(short(bytes(4), kind), match="at most -1 are allowed", limits=SHORT)

    async def test_one_that_is_no_whole_number_of_words(self) -> None:
        await refused(short(bytes(6)), match="6 bytes, not a multiple of 4", limits=SHORT)

    async def test_one_whose_signature_is_too_long(self) -> None:
        await refused(short(bytes(4), signature=bytes(257)), match="257 bytes, at most 256", limits=SHORT)

    async def test_one_inside_another_vector(self) -> None:
        inner = short(bytes(4))
        await refused(begin(), inner, match="short_vector came inside a vector", limits=SHORT)
