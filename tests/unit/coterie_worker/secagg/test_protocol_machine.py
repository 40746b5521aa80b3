"""Any order of messages, drops, duplicates, delays and restarts: the sum is exact or the slot is burnt, never wrong.

And no honest client ever gives away both secrets of anyone: over all bytes that ever left clients, each (slot, holder,
dealer) has at most one share, and each (slot, dealer) shares of one kind only.
"""

from __future__ import annotations

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.unit.coterie_worker.secagg.simulation import MASKED_POLICY, World, identity, model_of, parameters_for, plain_sum, seeded

from coterie_worker.secagg import ClientEpoch, DealerCheated, Stage, TooFewSurvivors
from coterie_worker.secagg.errors import LocalProtocolError, PeerProtocolError
from coterie_worker.secagg.messages import Revealed, Survivors, UnmaskRequest, decode_message, encode_message

N = 6
SLOTS = 3


class Protocol(RuleBasedStateMachine):
    """A network that holds, repeats and loses messages between a real aggregator and real clients."""

    @initialize(colluders=st.sampled_from([0, 1]), prepared=st.booleans())
    def begin(self, colluders: int, prepared: bool) -> None:
        self.world = World(parameters_for(N, colluders=colluders, slots=SLOTS))
        self.down: list[tuple[int, bytes]] = []
        self.up: list[tuple[int, bytes]] = []
        self.past: list[tuple[int, bytes]] = []
        self.revealed: dict[tuple[int, int], set[bytes]] = {}
        self.kinds: dict[tuple[int, int], set[bool]] = {}
        self.opened = 0
        self.slot = -1
        self.uploaded: set[int] = set()
        self.post(self.world.server.start())
        if prepared:
            self.things_go_on(4)

    def post(self, outbox: dict[int, bytes]) -> None:
        self.down += outbox.items()

    @precondition(lambda self: self.down)
    @rule(data=st.data(), keep=st.booleans())
    def a_message_reaches_a_client(self, data: st.DataObject, keep: bool) -> None:
        index, payload = self.down.pop(data.draw(st.integers(0, len(self.down) - 1)))
        if keep:
            self.past.append((index, payload))
        self.deliver(index, payload)

    @precondition(lambda self: self.past)
    @rule(data=st.data())
    def an_old_message_reaches_a_client_again(self, data: st.DataObject) -> None:
        self.deliver(*data.draw(st.sampled_from(self.past)))

    @rule(steps=st.integers(1, 6))
    def things_go_on(self, steps: int) -> None:
        """What happens when nothing goes wrong for a while; otherwise few runs would come far."""
        for _ in range(steps):
            stage = self.world.server.stage
            self.everything_arrives_in_order()
            if stage is Stage.DONE:
                self.the_sum_is_taken()
            if stage in (Stage.READY, Stage.DONE):
                self.a_slot_is_opened()
            elif stage is Stage.INPUT:
                self.all_clients_upload()
                self.the_stage_is_closed(patience=0)
            elif stage is not Stage.FAILED:
                self.the_stage_is_closed(patience=1)

    @precondition(lambda self: self.down)
    @rule()
    def everything_arrives(self) -> None:
        self.everything_arrives_in_order()

    def everything_arrives_in_order(self) -> None:
        waiting, self.down = self.down, []
        for index, payload in waiting:
            self.deliver(index, payload)
        self.everything_comes_back()

    def deliver(self, index: int, payload: bytes) -> None:
        if index in self.world.gone:
            return
        client = self.world.clients[index]
        before = client.stage
        try:
            replies = client.receive(payload)
        except PeerProtocolError:
            assert client.stage is before
            return
        for reply in replies:
            self.watch(index, payload, reply)
            self.up.append((index, reply))

    def watch(self, holder: int, request: bytes, reply: bytes) -> None:
        message = decode_message(reply)
        if isinstance(message, Revealed):
            assert isinstance(decode_message(request), UnmaskRequest)
            survivors = set(self.world.clients[holder]._survivors)
            for dealer, share in message.shares:
                self.revealed.setdefault((message.slot, dealer * N + holder), set()).add(share)
                self.kinds.setdefault((message.slot, dealer), set()).add(dealer in survivors)

    def everything_comes_back(self) -> None:
        waiting, self.up = self.up, []
        for index, payload in waiting:
            self.hear(index, payload)

    @precondition(lambda self: self.up)
    @rule(data=st.data(), again=st.booleans())
    def a_message_reaches_the_aggregator(self, data: st.DataObject, again: bool) -> None:
        index, payload = self.up.pop(data.draw(st.integers(0, len(self.up) - 1)))
        self.hear(index, payload)
        if again:
            self.hear(index, payload)

    def hear(self, index: int, payload: bytes) -> None:
        before = self.world.server.stage
        try:
            self.world.server.receive(index, payload)
        except PeerProtocolError as error:
            assert error.sender == index  # noqa: PT017 - the machine goes on after it
        assert self.world.server.stage is before

    @rule(data=st.data())
    def a_client_uploads(self, data: st.DataObject) -> None:
        self.upload(data.draw(st.integers(0, N - 1)))

    @precondition(lambda self: self.world.server.stage is Stage.INPUT)
    @rule()
    def all_clients_upload(self) -> None:
        for index in range(N):
            self.upload(index)

    def upload(self, index: int) -> None:
        client = self.world.clients[index]
        if index in self.world.gone or client.header is None:
            return
        slot = client.header.slot
        try:
            upload = self.world.mask(index, slot)
            self.world.server.accept(index, *upload, slot=slot)
        except (LocalProtocolError, PeerProtocolError):
            return
        self.uploaded.add(index)

    @rule(index=st.integers(0, N - 1))
    def a_connection_is_lost(self, index: int) -> None:
        if len(self.world.gone) < 2:
            self.world.lose({index})

    @rule(index=st.integers(0, N - 1))
    def a_client_restarts(self, index: int) -> None:
        """Its keys are gone, it knows its last slot, and nothing of this epoch is answered any more."""
        old = self.world.clients[index]
        self.world.lose({index}) if index not in self.world.gone and len(self.world.gone) < 2 else None
        if index in self.world.gone:
            fresh = ClientEpoch(self.world.parameters, index, identity(index), MASKED_POLICY, seeded("restart", index), old.last_slot)
            for holder, payload in self.past:
                if holder == index:
                    try:
                        replies = fresh.receive(payload)
                    except PeerProtocolError:
                        continue
                    assert all(not isinstance(decode_message(reply), Revealed) for reply in replies)

    @precondition(lambda self: self.world.server.stage in (Stage.CONSISTENCY, Stage.UNMASK) and len(self.uploaded) > 4)
    @rule(data=st.data())
    def the_aggregator_restarts_and_tries_another_set(self, data: st.DataObject) -> None:
        """It lost what it froze and announces other survivors of the same slot, then asks for their shares."""
        server = self.world.server
        uploads = server._uploads
        assert uploads is not None
        left_out = data.draw(st.sampled_from(sorted(self.uploaded)))
        chosen = tuple(sorted(self.uploaded - {left_out}))
        lie = encode_message(Survivors(server._sid, self.slot, tuple((i, *uploads.signed[i]) for i in chosen)))
        signatures = {}
        for index in sorted(set(range(N)) - self.world.gone):
            try:
                (reply,) = self.world.clients[index].receive(lie)
            except PeerProtocolError:
                continue
            signatures[index] = decode_message(reply).signature  # type: ignore[union-attr]
        request = encode_message(UnmaskRequest(server._sid, self.slot, tuple(sorted(signatures.items()))))
        for index in signatures:
            self.deliver(index, request)

    @precondition(lambda self: self.world.server.stage not in (Stage.READY, Stage.DONE, Stage.FAILED))
    @rule(patience=st.integers(0, 5))
    def the_stage_is_closed(self, patience: int) -> None:
        server = self.world.server
        if patience and server.waiting_for:
            return
        try:
            self.post(server.close())
        except TooFewSurvivors as error:
            assert error.came < error.needed  # noqa: PT017 - the machine goes on after it
            assert server.stage in (Stage.READY, Stage.FAILED)
        except DealerCheated:
            raise AssertionError("an honest client was called a cheater") from None

    @precondition(lambda self: self.world.server.stage is Stage.DONE)
    @rule()
    def the_sum_is_taken(self) -> None:
        total = self.world.server.result()
        assert total.survivors == self.uploaded
        assert len(total.survivors) >= self.world.parameters.min_survivors
        assert np.array_equal(total.sum, plain_sum(self.uploaded, self.slot))
        self.opened += 1

    @precondition(lambda self: self.world.server.stage in (Stage.READY, Stage.DONE))
    @rule()
    def a_slot_is_opened(self) -> None:
        server = self.world.server
        if server.stage is Stage.DONE:
            server.result()
        if server.remaining_slots == 0 or len(server.live) < self.world.parameters.min_survivors:
            return
        self.slot, self.uploaded = SLOTS - server.remaining_slots, set()
        self.post(server.start_slot(self.slot, model_of(self.slot), server.live, 0, 13))

    @invariant()
    def nobody_gave_away_both_secrets_of_anyone(self) -> None:
        assert all(len(shares) == 1 for shares in getattr(self, "revealed", {}).values())
        assert all(len(kinds) == 1 for kinds in getattr(self, "kinds", {}).values())


Protocol.TestCase.settings = settings(max_examples=40, stateful_step_count=50, deadline=None)
TestProtocol = Protocol.TestCase
