"""What the shells send and receive: typed values, whole or not at all. No wire format shows here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from coterie_api.progress import DropReason

# A vector's bytes, one-dimensional and contiguous: uint8 for files, little-endian float32 or uint32 for numbers.
Words: TypeAlias = NDArray[np.uint8] | NDArray[np.float32] | NDArray[np.uint32]


class VectorKind(IntEnum):
    """What a vector is. The numbers are those of the wire format."""

    LAYOUT = 1  # JSON, uint8
    INITIAL = 2  # safetensors, uint8
    PARAMETERS = 3  # float32; the tag is the version
    MASKED = 4  # uint32; the tag is the slot


@dataclass(frozen=True, slots=True)
class Control:
    """One message of the secure-aggregation protocol, opaque here."""

    payload: bytes = field(repr=False)


def no_release() -> None:
    """A vector that took no credit has none to give back."""


@dataclass(frozen=True, slots=True, eq=False)
class Vector:
    """A whole vector. Who receives an upload calls `release` when it is added, so that another may come."""

    kind: VectorKind
    tag: int
    words: Words = field(repr=False)
    signature: bytes = field(default=b"", repr=False)
    release: Callable[[], None] = field(default=no_release, repr=False)


@dataclass(frozen=True, slots=True)
class Dropped:
    """The client will not be in this slot's sum, and why; `is_final` when it will not come back at all."""

    slot: int
    reason: DropReason
    error_class: str = ""
    where: str = ""  # file:line in the task's own code
    incident: str = ""
    is_final: bool = False


@dataclass(frozen=True, slots=True)
class Finished:
    """The job has ended; the client goes home."""

    reason: str


Message: TypeAlias = Control | Vector | Dropped | Finished
FromClient: TypeAlias = Control | Vector | Dropped


@dataclass(frozen=True, slots=True)
class Joined:
    """A client proved itself in a new session: it knows nothing of the running epoch, and it says which slot it used last."""

    index: int
    last_slot: int = 0


@dataclass(frozen=True, slots=True)
class Left:
    """A client's session is over: it ended it, broke the rules, or did not return within the grace."""

    index: int
    reason: DropReason


@dataclass(frozen=True, slots=True)
class Received:
    """A whole message of a client."""

    index: int
    message: FromClient


@dataclass(frozen=True, slots=True)
class Note:
    """Something that the shell tells itself, in order with what clients send."""

    value: object


Event: TypeAlias = Joined | Left | Received | Note


@dataclass(frozen=True, slots=True)
class Reset:
    """To the client: a new session began. Whatever it knew of an epoch is void."""

    initial_hash: bytes


@dataclass(frozen=True, slots=True)
class Greeting:
    """The initial model, sent once to each client that doesn't hold it.

    `load` gives the layout's JSON and the safetensors file, anew for each client: neither stays in memory.
    """

    hash: bytes
    load: Callable[[], tuple[Words, Words]] = field(repr=False)

    @classmethod
    def of(cls, load: Callable[[], tuple[Words, Words]]) -> Greeting:
        """The greeting of two files."""
        return cls(initial_hash(*load()), load)

    @property
    def vectors(self) -> tuple[Vector, Vector]:
        """What to send."""
        layout, initial = self.load()
        return Vector(VectorKind.LAYOUT, 0, layout), Vector(VectorKind.INITIAL, 0, initial)


def initial_hash(layout: Words, initial: Words) -> bytes:
    """One hash over the layout's JSON and the safetensors file."""
    parts = b"".join(hashlib.sha256(words.view(np.uint8).data).digest() for words in (layout, initial))
    return hashlib.sha256(b"coterie/v1/initial\x00" + parts).digest()


def model_hash(initial: bytes, version: int, parameters: Words) -> bytes:
    """What a slot's header names: the initial model by its hash (layout, fixed tensors), the version, and the parameters themselves."""
    digest = hashlib.sha256(parameters.view(np.uint8).data).digest()
    return hashlib.sha256(b"coterie/v1/model\x00" + initial + version.to_bytes(8, "big") + digest).digest()


class TransportError(Exception):
    """The connection can't go on. Never carries what a peer sent."""


class FrameRefused(TransportError):
    """The peer sent a frame that the rules don't allow here; the stream ends, the process goes on."""
