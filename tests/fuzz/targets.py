"""What is fuzzed: every decoder (`arrivals` has those outside of the protocol), both roles at every stage, and whole networks.

A target takes any bytes and returns. Errors of `coterie_worker.secagg.errors` are expected where the protocol allows them; any
other exception, a state that a refused message changed, a wrong sum or a share that left without a quorum is a finding.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
from tests.fuzz import arrivals
from tests.fuzz.script import Script
from tests.unit.coterie_worker.secagg.simulation import World, model_of, parameters_for, plain_sum
from tests.unit.coterie_worker.secagg.test_malicious_clients import CHEAT
from tests.unit.coterie_worker.secagg.test_malicious_dealers import of_another_secret, with_liar

from coterie_worker.secagg import DealerCheated, Encoding, PeerProtocolError, Stage, TooFewSurvivors, codec, graph
from coterie_worker.secagg import parameters as rules
from coterie_worker.secagg.consistency import Opening
from coterie_worker.secagg.errors import LocalProtocolError, Malformed, NotFinite
from coterie_worker.secagg.graph import Degree
from coterie_worker.secagg.messages import Revealed, UnmaskRequest, decode_message, encode_message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

N = 4
IN_GRAPH = 6  # clients of a world with a Harary graph; its bounds mean nothing at this size
VICTIM = 1


def decode(data: bytes) -> None:
    """Any bytes are one message, in one encoding, or Malformed."""
    try:
        message = decode_message(data)
    except Malformed:
        return
    if encode_message(message) != data:
        raise AssertionError("a message has two encodings")


def quantize(data: bytes) -> None:
    """Any floats are encoded within the bound, or NotFinite; also in parts."""
    floats = np.frombuffer(data[: len(data) // 4 * 4], "<f4")
    for ring_bits in (16, 32):
        encoding = Encoding(256, 5, len(floats), weighted=False, ring_bits=ring_bits)
        try:
            words = encoding.encode(floats, 1, lambda size: b"\7" * size)
        except NotFinite:
            if np.isfinite(floats).all() and np.isfinite(floats.astype(np.float64) * 256).all():
                raise
            continue
        parts = np.concatenate(list(encoding.parts(floats, 1, lambda size: b"\7" * size, words=4)))
        lanes = words.view("<i2" if ring_bits == 16 else "<i4")
        if not np.array_equal(parts, words) or np.abs(lanes.astype(np.int64)).max() > encoding.bound:
            raise AssertionError("encoded out of bounds, or otherwise in parts")
        encoding.decode(words)


def spoil(genuine: bytes, script: Script) -> bytes:
    """Return other bytes: the fuzzer's own, the genuine ones with some changed, or with a part of the message replaced."""
    match script.pick(4):
        case 0:
            return script.rest()
        case 1:
            changed = bytearray(genuine)
            for _ in range(1 + script.pick(4)):
                changed[(script.pick(256) << 8 | script.pick(256)) % len(changed)] ^= 1 + script.pick(255)
            return bytes(changed)
        case 2:
            return genuine
    value = codec.parse(genuine)
    replace_part(value, script)
    return codec.encode(value)


def replace_part(value: list[Any], script: Script) -> None:
    """Walk down the message and replace, repeat, remove, exchange or shorten one of its parts."""
    while value:
        at = script.pick(len(value))
        inner = value[at]
        if not isinstance(inner, list) or not script.pick(2):
            break
        value = inner
    else:
        value.append(script.pick(256))
        return
    change = script.pick(5)
    if change == 0:
        value[at : at + 1] = []
    elif change == 1:
        value.insert(at, inner)
    elif change == 2:
        value[at], value[-1] = value[-1], value[at]
    else:
        value[at] = other_value(inner, script)


def other_value(inner: Any, script: Script) -> Any:
    """Return a number, bytes, the next number or shorter bytes."""
    return [script.pick(256), bytes([script.pick(256)]) * script.pick(70), inner + 1 if isinstance(inner, int) else inner[1:]][
        script.pick(3)
    ]


@dataclass
class Scene:
    """A world right before `outbox` reaches the clients; `replies` are what they would say."""

    world: World
    outbox: dict[int, bytes] = field(default_factory=dict)


STAGES = (Stage.ADVERTISE, Stage.SHARE, Stage.ACKNOWLEDGE, Stage.INPUT, Stage.CONSISTENCY, Stage.UNMASK)
GRAPH_STAGES = (Stage.GRAPH, *STAGES)


def small_degree(*_: object) -> Degree:
    return Degree(4, 3)


@contextmanager
def small_graph() -> Iterator[None]:
    """Give worlds of more than N clients a Harary graph."""
    with mock.patch.object(rules, "COMPLETE_UP_TO", N), mock.patch.object(graph, "degree_for", small_degree):
        yield


def world_of(n: int, slots: int = 1) -> World:
    return World(parameters_for(n, colluders=1, slots=slots))


def build(stage: Stage, n: int = N) -> Scene:
    """Return a world whose aggregator has just entered `stage` and whose clients have heard nothing of it."""
    world = world_of(n)
    outbox = world.server.start()
    while world.server.stage is not stage:
        world.send(outbox)
        if world.server.stage is Stage.INPUT:
            world.upload()
        if world.server.stage is Stage.ACKNOWLEDGE:
            world.server.close()
            outbox = world.server.start_slot(0, model_of(0), world.server.live, 0, 13)
        else:
            outbox = world.server.close()
    return Scene(world, outbox)


def burnt() -> Scene:
    """A world whose slot a dealer has burnt, and the proof of that."""
    world = with_liar(N, splits=of_another_secret).set_up().open().upload()
    try:
        world.finish()
    except DealerCheated as error:
        return Scene(world, dict.fromkeys(range(N), error.proofs[0]))
    raise AssertionError("a slot opened that a dealer should have burnt")


@lru_cache(maxsize=len(STAGES) + 1 + len(GRAPH_STAGES))
def scene(stage: Stage | None, n: int = N) -> Scene:
    """A scene that refused messages leave as it is; an accepted one spoils it, and then `forget` it. None: the burnt one."""
    return burnt() if stage is None else build(stage, n)


def client(data: bytes) -> None:
    """A client at any stage hears anything: it refuses, unchanged, or its reply holds no share without a quorum."""
    script = Script(data)
    hear_anything(scene((*STAGES, None)[script.pick(len(STAGES) + 1)]), script)


def graph_client(data: bytes) -> None:
    """The same on a Harary graph."""
    script = Script(data)
    with small_graph():
        hear_anything(scene(GRAPH_STAGES[script.pick(len(GRAPH_STAGES))], IN_GRAPH), script)


def hear_anything(now: Scene, script: Script) -> None:
    victim = now.world.clients[VICTIM]
    payload = spoil(now.outbox[VICTIM], script)
    before = (victim.stage, victim.header, victim.last_slot)
    try:
        replies = victim.receive(payload)
    except PeerProtocolError:
        if (victim.stage, victim.header, victim.last_slot) != before:
            raise AssertionError("a refused message changed the client") from None
        return
    finally:
        if (victim.stage, victim.header, victim.last_slot) != before:
            scene.cache_clear()
    if not victim.memory.disqualified <= {CHEAT}:
        raise AssertionError("an honest dealer was disqualified")
    for reply in replies:
        if isinstance(decode_message(reply), Revealed):
            check_quorum(now.world, victim, payload)


def check_quorum(world: World, victim: Any, payload: bytes) -> None:
    """Shares left: a quorum of the roster must have signed what the victim signed."""
    request = decode_message(payload)
    if not isinstance(request, UnmaskRequest) or len({signer for signer, _ in request.signatures}) < world.parameters.quorum:
        raise AssertionError("shares left without a quorum")
    for signer, signature in request.signatures:
        Opening.of(world.parameters, victim.header).check_consistent(signer, victim._survivors, signature)


def server(data: bytes) -> None:
    """An aggregator at any stage hears anything from anyone: it refuses by name, unchanged, or takes it."""
    script = Script(data)
    stage = STAGES[script.pick(len(STAGES))]
    now = build(stage) if stage is Stage.INPUT else answered(stage)
    role = now.world.server
    sender = script.pick(N + 1)
    before = (role.stage, role.live, role.waiting_for)
    try:
        if stage is Stage.INPUT:
            words = np.frombuffer(script.rest()[:64].ljust(64, b"\0"), "<u4")[: script.pick(16)]
            role.accept(sender, words, bytes(64))
        else:
            role.receive(sender, spoil(now.outbox[min(sender, N - 1)], script))
    except PeerProtocolError as error:
        if error.sender != sender or (role.stage, role.live, role.waiting_for) != before:
            raise AssertionError("a refused message changed the aggregator, or its sender is not named") from None
        return
    answered.cache_clear()


@lru_cache(maxsize=len(STAGES))
def answered(stage: Stage) -> Scene:
    """A scene whose `outbox` holds the clients' honest replies, undelivered."""
    made = build(stage)
    return Scene(made.world, {i: made.world.clients[i].receive(payload)[0] for i, payload in made.outbox.items()})


def network(data: bytes) -> None:
    """A network that delivers, spoils, repeats and loses: the sum is exact or the slot is burnt."""
    Network(Script(data[:120]), world_of(N, slots=2)).run()


def graph_network(data: bytes) -> None:
    """The same on a Harary graph."""
    with small_graph():
        Network(Script(data[:120]), world_of(IN_GRAPH, slots=2)).run()


def plain_network(data: bytes) -> None:
    """The same without masks."""
    Network(Script(data[:120]), World(parameters_for(N, slots=2), plain=True)).run()


class Network:
    """What is under way between one aggregator and its clients."""

    def __init__(self, script: Script, world: World) -> None:
        self.script, self.world, self.n = script, world, world.parameters.members
        self.down: list[tuple[int, bytes]] = []
        self.up: list[tuple[int, bytes]] = []
        self.uploaded: set[int] = set()
        self.slot = -1

    def run(self) -> None:
        self.post(self.world.server.start())
        while not self.script.is_over and self.world.server.stage is not Stage.FAILED:
            self.step()

    def post(self, outbox: dict[int, bytes]) -> None:
        self.down += outbox.items()

    def step(self) -> None:
        match self.script.pick(8):
            case 0:
                self._deliver_all()
            case 1:
                self._down()
            case 2:
                self._up()
            case 3:
                self._upload()
            case 4:
                self.world.lose({self.script.pick(self.n)} if not self.world.gone else ())
            case 5:
                self._down(is_spoiled=True)
            case _:
                self._close()

    def _deliver_all(self) -> None:
        while self.down:
            self._hear(*self.down.pop(0))
        while self.up:
            self._tell(*self.up.pop(0))

    def _down(self, *, is_spoiled: bool = False) -> None:
        if not self.down:
            return
        index, payload = self.down.pop(self.script.pick(len(self.down)))
        self._hear(index, spoil(payload, self.script) if is_spoiled else payload)

    def _hear(self, index: int, payload: bytes) -> None:
        if index in self.world.gone:
            return
        try:
            replies = self.world.clients[index].receive(payload)
        except PeerProtocolError:
            return
        self.up += [(index, reply) for reply in replies]

    def _up(self) -> None:
        if not self.up:
            return
        self._tell(*self.up.pop(self.script.pick(len(self.up))))

    def _tell(self, index: int, payload: bytes) -> None:
        try:
            self.world.server.receive(index, payload)
        except PeerProtocolError:
            return

    def _upload(self) -> None:
        for index in range(self.n):
            try:
                vector, signature = self.world.mask(index, self.slot)
                if index not in self.world.gone:
                    self.world.server.accept(index, vector, signature, slot=self.slot)
                    self.uploaded.add(index)
            except (LocalProtocolError, PeerProtocolError):
                continue

    def _close(self) -> None:
        role = self.world.server
        try:
            if role.stage in (Stage.READY, Stage.DONE):
                self._next_slot()
            else:
                self.post(role.close())
        except (TooFewSurvivors, DealerCheated):
            return

    def _next_slot(self) -> None:
        role = self.world.server
        if role.stage is Stage.DONE:
            total = role.result()
            if total.survivors != self.uploaded or not np.array_equal(total.sum, plain_sum(self.uploaded, self.slot)):
                raise AssertionError("a wrong sum was opened")
        if role.remaining_slots:
            slot = 2 - role.remaining_slots
            outbox = role.start_slot(slot, model_of(slot), role.live, 0, 13)
            self.slot, self.uploaded = slot, set()
            self.post(outbox)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "decode": decode,
    "quantize": quantize,
    "client": client,
    "server": server,
    "network": network,
    "graph-client": graph_client,
    "graph-network": graph_network,
    "plain-network": plain_network,
    "layout": lambda data: arrivals.layout(Script(data)),
    "tensors": lambda data: arrivals.tensors(Script(data)),
    "frames": lambda data: arrivals.frames(Script(data)),
}


def seeds(target: str) -> list[bytes]:
    """Return inputs to begin with: genuine messages, and scripts that come far."""
    if target == "decode":
        made = [build(stage) for stage in STAGES]
        down = [one.outbox[VICTIM] for one in made]
        return [burnt().outbox[VICTIM], *down] + [
            reply for one, sent in zip(made, down, strict=True) for reply in one.world.clients[VICTIM].receive(sent)
        ]
    if target == "quantize":
        return [b"", np.arange(9, dtype="<f4").tobytes(), np.array([1e30, -1e30, np.inf], "<f4").tobytes(), b"\xff" * 8]
    if target in ("layout", "tensors", "frames"):
        return arrivals.seeds(target)
    if target == "plain-network":
        whole = bytes([0, 7, 7, 0, 3, 7, 7])
        return [whole, whole + whole[3:], bytes([4, 2]) + whole, bytes([5, 0, 3, 1, 1, 0, 0]) + whole]
    if target in ("network", "graph-network"):
        whole = bytes([0, 7] * (3 + (target == "graph-network")) + [7, 0, 3, 7, 0, 7, 0, 7, 7])
        return [whole, whole + whole[7:], bytes([0, 7, 0, 7, 5, 3, 2, 1, 0, 7, 4]) + whole, bytes([4, 2]) + whole]
    scripts = (b"\2", b"\1\0\0\0\5\1", b"\3\2\1\1\1\1", b"\3\1\0\3", b"\0\xff")
    senders = (b"",) if target in ("client", "graph-client") else tuple(bytes([sender]) for sender in range(N + 1))
    scenes = len(STAGES) + (target in ("client", "graph-client"))  # the burnt one, or that of the graph
    return [bytes([stage]) + sender + script for stage in range(scenes) for sender in senders for script in scripts]
