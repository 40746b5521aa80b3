"""Real clients and a real aggregator in one process, with seeded entropy and a network that tests can tamper with."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from coterie_api.podconfig import TenantPolicy
from coterie_worker.secagg import (
    ClientEpoch,
    Member,
    PlainClient,
    PlainServer,
    ServerEpoch,
    SessionParameters,
    Stage,
    default_colluders,
    least_threshold,
)
from coterie_worker.secagg.messages import Message, decode_message, encode_message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from coterie_worker.secagg import SlotSum

LENGTH = 13
ANY_POLICY = TenantPolicy(secure_aggregation=False)
MASKED_POLICY = TenantPolicy()


def seeded(*seed: object) -> Callable[[int], bytes]:
    """Entropy that repeats itself in the next run and in nothing else."""
    state = [0]

    def draw(size: int) -> bytes:
        state[0] += 1
        return hashlib.shake_256(repr((seed, state[0])).encode()).digest(size)

    return draw


def identity(index: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"identity%d" % index).digest())


def parameters_for(n: int, *, colluders: int | None = None, least: int = 3, slots: int = 2, **changes: Any) -> SessionParameters:
    c = default_colluders(n) if colluders is None else colluders
    t = least_threshold(n, c)
    roster = tuple(Member(f"tenant-{i}", identity(i).public_key().public_bytes_raw()) for i in range(n))
    made = SessionParameters("job-uid", hashlib.sha256(b"spec").digest(), roster, t, c, max(least, t, c + 2), slots_per_epoch=slots)
    return replace(made, **changes)


def model_of(slot: int) -> bytes:
    return hashlib.sha256(b"model%d" % slot).digest()


def vector_of(index: int, slot: int = 0, length: int = LENGTH) -> NDArray[np.uint32]:
    return np.frombuffer(seeded("vector", index, slot)(4 * length), np.uint32).copy()


def plain_sum(indices: Iterable[int], slot: int = 0, length: int = LENGTH) -> NDArray[np.uint32]:
    total = np.zeros(length, np.uint32)
    for index in indices:
        total += vector_of(index, slot, length)
    return total


class World:
    """One epoch: `server`, `clients` by index, and who is `gone`."""

    def __init__(
        self,
        parameters: SessionParameters,
        *,
        members: Iterable[int] | None = None,
        epoch: int = 1,
        first_slot: int = 0,
        plain: bool = False,
    ) -> None:
        self.parameters = parameters
        chosen = frozenset(range(parameters.members) if members is None else members)
        self.server = (PlainServer if plain else ServerEpoch)(parameters, epoch, first_slot, chosen)
        kind = PlainClient if plain else ClientEpoch
        policy = ANY_POLICY if plain else MASKED_POLICY
        self.clients = {i: kind(parameters, i, identity(i), policy, seeded("client", i, epoch)) for i in sorted(chosen)}
        self.gone: set[int] = set()
        self.answered: dict[int, list[bytes]] = {}

    def lose(self, indices: Iterable[int]) -> None:
        for index in indices:
            self.gone.add(index)
            self.server.drop(index)

    def send(self, outbox: dict[int, bytes]) -> None:
        for index, payload in outbox.items():
            if index not in self.gone:
                for reply in self.clients[index].receive(payload):
                    self.answered.setdefault(index, []).append(reply)
                    self.server.receive(index, reply)

    def set_up(self, until: Stage = Stage.READY) -> World:
        self.send(self.server.start())
        return self.go(until)

    def go(self, until: Stage) -> World:
        while self.server.stage is not until:
            self.send(self.server.close())
        return self

    def open(self, slot: int = 0, participants: Iterable[int] | None = None, length: int = LENGTH) -> World:
        chosen = self.server.live if participants is None else frozenset(participants)
        self.send(self.server.start_slot(slot, model_of(slot), chosen, 0, length))
        return self

    def mask(self, index: int, slot: int = 0, length: int = LENGTH) -> tuple[NDArray[np.uint32], bytes]:
        self.clients[index].check_model(model_of(slot))
        return self.clients[index].mask(vector_of(index, slot, length))

    def upload(self, indices: Iterable[int] | None = None, slot: int = 0, length: int = LENGTH) -> World:
        assert self.server.header is not None
        chosen = self.server.header.participants if indices is None else indices
        for index in chosen:
            if index not in self.gone:
                self.server.accept(index, *self.mask(index, slot, length), slot=slot)
        return self

    def finish(self) -> SlotSum:
        self.go(Stage.DONE)
        return self.server.result()


def ready(n: int, **options: Any) -> World:
    return World(parameters_for(n, **options)).set_up()


def tampered(payload: bytes, **changes: Any) -> bytes:
    """The message with some fields changed, as an aggregator could send it."""
    message: Message = decode_message(payload)
    return encode_message(replace(message, **changes))  # type: ignore[type-var]
