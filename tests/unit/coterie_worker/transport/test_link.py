"""Messages over streams that break: in order, whole, exactly once; and everything out of order is refused."""

from __future__ import annotations

import asyncio
import random

import numpy as np
import pytest
from tests.unit.coterie_worker.transport.sides import LIMITS, SHORT, Side, begin, chunk, frame, pump, refused, vector

from coterie_api.progress import DropReason
from coterie_api.wire.v1 import rounds_pb2 as pb
from coterie_worker.transport.codec import from_bytes, to_bytes
from coterie_worker.transport.gate import UploadGate
from coterie_worker.transport.link import LinkFull, Receiver, Sender
from coterie_worker.transport.messages import Control, Dropped, Finished, FrameRefused, VectorKind


class TestMessagesArrive:
    async def test_every_kind_arrives_whole_and_in_order(self) -> None:
        here, there = Side(), Side()
        drop = Dropped(7, DropReason.TASK_RAISED, "ValueError", "task.py:3", "abc", is_final=True)
        for message in (Control(b"one"), vector(), drop, Finished("Completed"), Control(b"")):
            here.sender.post(message)

        await pump(here, there)

        one, whole, dropped, finished, empty = there.got
        assert (one, dropped, finished, empty) == (Control(b"one"), drop, Finished("Completed"), Control(b""))
        assert whole.kind is VectorKind.PARAMETERS
        assert (whole.tag, whole.signature) == (3, b"signature")
        np.testing.assert_array_equal(whole.words, np.arange(50, dtype=np.float32))

    async def test_what_is_acknowledged_is_forgotten(self) -> None:
        here, there = Side(), Side()
        here.sender.post(vector())
        await pump(here, there)

        await pump(there, here)

        async with asyncio.timeout(1):
            await here.sender.settled()

    async def test_a_peer_that_acknowledges_nothing_fills_the_link(self) -> None:
        here = Side()
        for _ in range(LIMITS.queued_messages):
            here.sender.post(Control(b""))

        with pytest.raises(LinkFull, match="at most 8"):
            here.sender.post(Control(b""))

    @pytest.mark.parametrize("seed", range(20))
    async def test_streams_that_break_anywhere_lose_and_repeat_nothing(self, seed: int) -> None:
        """40 messages in 8-message windows over streams that last 1 to 12 frames each way; vectors short or long."""
        chance = random.Random(seed)
        here, there = (Side(limits=SHORT if seed % 2 else LIMITS) for _ in range(2))
        sent = [Control(bytes([n])) if chance.random() < 0.6 else vector(size=chance.randrange(1, 60)) for n in range(40)]
        waiting = list(sent)
        while len(there.got) < len(sent):
            while waiting and len(here.sender._kept) < LIMITS.queued_messages:
                here.sender.post(waiting.pop(0))
            await pump(here, there, chance.randrange(1, 13))
            there.receiver.abandon()
            await pump(there, here, 1)
            here.sender.resume(there.receiver.received)

        for expected, found in zip(sent, there.got, strict=True):
            if isinstance(expected, Control):
                assert expected == found
            else:
                np.testing.assert_array_equal(expected.words, found.words)


class TestUploads:
    async def test_an_upload_waits_for_its_grant(self) -> None:
        gate = UploadGate(2)
        here, there = Side(), Side(gate)
        gate.open(3)
        here.sender.post(vector(VectorKind.MASKED))

        await asyncio.gather(pump(here, there), pump(there, here))

        (upload,) = there.got
        assert gate.in_memory == 1
        upload.release()
        upload.release()
        assert gate.in_memory == 0

    async def test_an_upload_for_another_slot_is_declined_and_the_next_message_comes(self) -> None:
        gate = UploadGate(2)
        here, there = Side(), Side(gate)
        gate.open(4)
        here.sender.post(vector(VectorKind.MASKED))
        here.sender.post(Control(b"after"))

        await asyncio.gather(pump(here, there), pump(there, here))

        assert there.got == [Control(b"after")]
        assert gate.in_memory == 0

    async def test_an_upload_that_is_cut_gives_its_credit_back_and_starts_again(self) -> None:
        gate = UploadGate(1)
        here, there = Side(), Side(gate)
        gate.open(3)
        here.sender.post(vector(VectorKind.MASKED))
        await asyncio.gather(pump(here, there, most=3), pump(there, here))
        assert there.got == []
        assert gate.in_memory == 1

        there.receiver.abandon()
        assert gate.in_memory == 0
        here.sender.resume(there.receiver.received)
        await asyncio.gather(pump(here, there), pump(there, here))

        np.testing.assert_array_equal(there.got[0].words, np.arange(50, dtype=np.uint32))

    async def test_one_that_nobody_wants_any_more_comes_to_nothing_and_the_next_message_comes(self) -> None:
        gate = UploadGate(1)
        here, there = Side(), Side(gate)
        gate.open(3)
        here.sender.post(vector(VectorKind.MASKED))
        here.sender.post(Control(b"after"))
        frames = here.sender.frames()
        await there.hear(from_bytes(to_bytes(await anext(frames))))
        here.sender.grant(True)
        await there.hear(from_bytes(to_bytes(await anext(frames))))
        assert gate.in_memory == 1

        there.receiver.discard()
        assert gate.in_memory == 0
        for _ in range(4):  # three chunks, the end
            await there.hear(from_bytes(to_bytes(await anext(frames))))
        await there.hear(from_bytes(to_bytes(await anext(frames))))
        await frames.aclose()

        assert there.got == [Control(b"after")]
        there.receiver.abandon()
        assert gate.in_memory == 0

    async def test_a_slot_that_closes_between_decision_and_grant_leaves_no_credit_behind(self) -> None:
        gate = UploadGate(1)
        there = Side(gate)
        gate.open(1)
        assert await gate.acquire(1)
        offered = asyncio.create_task(there.hear(begin(8, VectorKind.MASKED)))
        for _ in range(5):
            await asyncio.sleep(0)

        gate.release()  # it is decided now, and told later
        assert gate.in_memory == 1
        gate.close()
        there.receiver.discard()
        await offered

        assert gate.in_memory == 0
        assert not there.receiver.is_inside_vector


class TestWhatIsRefused:
    async def test_a_message_that_skips_one(self) -> None:
        await refused(frame(2, control=pb.Control(payload=b"")), match="message 2 came, 1 was next")

    async def test_a_message_that_was_there_before(self) -> None:
        side = Side()
        await side.hear(frame(1, control=pb.Control(payload=b"x")))

        with pytest.raises(FrameRefused, match="message 1 came, 2 was next"):
            await side.hear(frame(1, control=pb.Control(payload=b"x")))

    async def test_an_acknowledgment_of_what_was_never_sent(self) -> None:
        with pytest.raises(FrameRefused, match="message 1 was acknowledged, 0 is the last one sent"):
            await Side().hear(pb.Frame(ack=1))

    async def test_a_return_to_before_what_was_acknowledged(self) -> None:
        here, there = Side(), Side()
        here.sender.post(Finished("x"))
        await pump(here, there)
        await pump(there, here)

        with pytest.raises(FrameRefused, match="message 0 is claimed"):
            here.sender.resume(0)

    async def test_a_control_message_that_is_too_large(self) -> None:
        await refused(frame(control=pb.Control(payload=bytes(65))), match="65 bytes, at most 64")

    async def test_a_chunk_that_is_too_large(self) -> None:
        await refused(begin(), chunk(bytes(65)), match="65 bytes, at most 64")

    async def test_a_vector_that_is_too_large(self) -> None:
        await refused(begin(404), match="404 bytes, at most 400")

    @pytest.mark.parametrize("kind", [0, 9, VectorKind.INITIAL])
    async def test_a_vector_of_a_kind_that_does_not_come_this_way(self, kind: int) -> None:
        await refused(begin(4, kind), match="at most -1 are allowed")

    async def test_a_vector_that_is_no_whole_number_of_words(self) -> None:
        await refused(begin(6), match="6 bytes, not a multiple of 4")

    async def test_more_bytes_than_the_vector_has(self) -> None:
        await refused(begin(8), chunk(bytes(9)), match="9 bytes does not fit at 0 of 8")

    async def test_an_empty_chunk(self) -> None:
        await refused(begin(8), chunk(b""), match="0 bytes does not fit")

    async def test_a_vector_that_ends_early(self) -> None:
        await refused(begin(8), chunk(bytes(4)), frame(vector_end=pb.VectorEnd()), match="after 4 of 8")

    async def test_a_signature_that_is_too_long(self) -> None:
        end = frame(vector_end=pb.VectorEnd(signature=bytes(257)))
        await refused(begin(4), chunk(bytes(4)), end, match="257 bytes, at most 256")

    async def test_a_chunk_outside_a_vector(self) -> None:
        await refused(chunk(b"x"), match="outside a vector")

    async def test_a_message_inside_a_vector(self) -> None:
        await refused(begin(), frame(control=pb.Control()), match="inside a vector")

    async def test_a_vector_inside_a_vector(self) -> None:
        await refused(begin(), begin(), match="inside a vector")

    async def test_a_drop_for_no_reason_of_the_catalog(self) -> None:
        await refused(frame(drop=pb.Drop(reason="Because")), match="no reason of the catalog")

    @pytest.mark.parametrize("body", ["hello", "challenge", "proof", "welcome"])
    async def test_a_frame_that_is_no_message(self, body: str) -> None:
        made = pb.Frame(sequence=1)
        getattr(made, body).SetInParent()
        await refused(made, match=f"kind {body} is not allowed")

    async def test_a_frame_of_the_other_direction(self) -> None:
        receiver = Receiver(LIMITS, frozenset({"control"}))

        with pytest.raises(FrameRefused, match="kind finished is not allowed"):
            await receiver.take(frame(finished=pb.Finished()), Sender(LIMITS, lambda: 0))

    async def test_text_of_a_drop_arrives_short_and_printable(self) -> None:
        side = Side()
        await side.hear(frame(drop=pb.Drop(reason="TaskRaised", error_class="E" * 1000, where="a\x1b[31m\nb")))

        (drop,) = side.got
        assert drop.error_class == "E" * 256
        assert drop.where == "a?[31m?b"
