"""The protocol's stages, per role: what each expects, and where it leads. A missing entry *is* the protocol error.

    aggregator   START ─start─► ADVERTISE ─► SHARE ─► ACKNOWLEDGE ─► READY ─start_slot─► INPUT ─► CONSISTENCY ─► UNMASK ─► DONE
                                                                      ▲   ▲                                                 │
                                                                      │   └────────────── start_slot ───────────────────────┘
                                                                      └── too few in INPUT, CONSISTENCY or UNMASK: the slot is burnt
                 too few in ADVERTISE, SHARE or ACKNOWLEDGE: FAILED, the epoch is lost

    client       START ─EpochStart─► ADVERTISED ─AdvertSet─► SHARED ─Delivery─► READY
                 READY | OPEN | MASKED | SIGNED | REVEALED ─SlotStart─► OPEN ─mask─► MASKED
                 OPEN | MASKED ─Survivors─► SIGNED ─UnmaskRequest─► REVEALED
                 READY | OPEN | MASKED | SIGNED | REVEALED ─FraudProof─► the same

With a Harary graph, parts of its seed are revealed in between:

    aggregator   ADVERTISE ─► GRAPH ─► SHARE
    client       ADVERTISED ─AdvertSet─► COMMITTED ─GraphParts─► SHARED

Protocol `None` has neither shares nor masks: ADVERTISE leads to READY and INPUT to DONE.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from coterie_worker.secagg.errors import Replayed, TooLate, Unexpected, WrongStage
from coterie_worker.secagg.messages import (
    Advert,
    AdvertSet,
    Consistent,
    Dealing,
    Delivery,
    EpochStart,
    FraudProof,
    GraphPart,
    GraphParts,
    Message,
    PlainJoin,
    Revealed,
    ShareAck,
    SlotStart,
    Survivors,
    UnmaskRequest,
)


class Stage(StrEnum):
    """Where an aggregator's epoch stands; each waits for the messages in EXPECTS until it is closed."""

    START = "Start"
    ADVERTISE = "Advertise"
    GRAPH = "Graph"
    SHARE = "Share"
    ACKNOWLEDGE = "Acknowledge"
    READY = "Ready"
    INPUT = "Input"
    CONSISTENCY = "Consistency"
    UNMASK = "Unmask"
    DONE = "Done"
    FAILED = "Failed"


class ClientStage(StrEnum):
    """Where a client's epoch stands."""

    START = "Start"
    ADVERTISED = "Advertised"
    COMMITTED = "Committed"
    SHARED = "Shared"
    READY = "Ready"
    OPEN = "Open"
    MASKED = "Masked"
    SIGNED = "Signed"
    REVEALED = "Revealed"


EXPECTS: Final[dict[Stage, type[Message]]] = {
    Stage.ADVERTISE: Advert,
    Stage.SHARE: Dealing,
    Stage.ACKNOWLEDGE: ShareAck,
    Stage.CONSISTENCY: Consistent,
    Stage.UNMASK: Revealed,
}
GRAPH_EXPECTS: Final[dict[Stage, type[Message]]] = {**EXPECTS, Stage.GRAPH: GraphPart}
PLAIN_EXPECTS: Final[dict[Stage, type[Message]]] = {Stage.ADVERTISE: PlainJoin}

CLOSES: Final[dict[Stage, Stage]] = {
    Stage.ADVERTISE: Stage.SHARE,
    Stage.SHARE: Stage.ACKNOWLEDGE,
    Stage.ACKNOWLEDGE: Stage.READY,
    Stage.INPUT: Stage.CONSISTENCY,
    Stage.CONSISTENCY: Stage.UNMASK,
    Stage.UNMASK: Stage.DONE,
}
GRAPH_CLOSES: Final[dict[Stage, Stage]] = {**CLOSES, Stage.ADVERTISE: Stage.GRAPH, Stage.GRAPH: Stage.SHARE}
PLAIN_CLOSES: Final[dict[Stage, Stage]] = {Stage.ADVERTISE: Stage.READY, Stage.INPUT: Stage.DONE}

FALLS: Final[dict[Stage, Stage]] = {
    Stage.ADVERTISE: Stage.FAILED,
    Stage.GRAPH: Stage.FAILED,
    Stage.SHARE: Stage.FAILED,
    Stage.ACKNOWLEDGE: Stage.FAILED,
    Stage.INPUT: Stage.READY,
    Stage.CONSISTENCY: Stage.READY,
    Stage.UNMASK: Stage.READY,
}

OPENS_SLOTS: Final = frozenset({Stage.READY, Stage.DONE})

_BETWEEN_SLOTS: Final = (ClientStage.READY, ClientStage.OPEN, ClientStage.MASKED, ClientStage.SIGNED, ClientStage.REVEALED)
CLIENT: Final[dict[type[Message], dict[ClientStage, ClientStage]]] = {
    EpochStart: {ClientStage.START: ClientStage.ADVERTISED},
    AdvertSet: {ClientStage.ADVERTISED: ClientStage.SHARED},
    Delivery: {ClientStage.SHARED: ClientStage.READY},
    SlotStart: dict.fromkeys(_BETWEEN_SLOTS, ClientStage.OPEN),
    Survivors: {ClientStage.OPEN: ClientStage.SIGNED, ClientStage.MASKED: ClientStage.SIGNED},
    UnmaskRequest: {ClientStage.SIGNED: ClientStage.REVEALED},
    FraudProof: {stage: stage for stage in _BETWEEN_SLOTS},
}
GRAPH_CLIENT: Final[dict[type[Message], dict[ClientStage, ClientStage]]] = {
    **CLIENT,
    AdvertSet: {ClientStage.ADVERTISED: ClientStage.COMMITTED},
    GraphParts: {ClientStage.COMMITTED: ClientStage.SHARED},
}
PLAIN_CLIENT: Final[dict[type[Message], dict[ClientStage, ClientStage]]] = {
    EpochStart: {ClientStage.START: ClientStage.READY},
    SlotStart: dict.fromkeys(_BETWEEN_SLOTS, ClientStage.OPEN),
}
MASKS: Final[dict[ClientStage, ClientStage]] = {ClientStage.OPEN: ClientStage.MASKED}  # our caller's step, not a message's
REPEATED: Final = frozenset({SlotStart, FraudProof})  # of other kinds, a client answers one message per epoch or slot
OF_EPOCH: Final = frozenset({EpochStart, AdvertSet, GraphParts, Delivery})  # what was answered to them holds for all its slots
_ORDER: Final = list(Stage)


def expect_client(table: dict[type[Message], dict[ClientStage, ClientStage]], stage: ClientStage, kind: type[Message]) -> ClientStage:
    """Return the stage that a message leads a client to.

    Raises: Unexpected.
    """
    if stage not in table.get(kind, {}):
        raise Unexpected(f"{kind.__name__}: not expected at stage {stage}")
    return table[kind][stage]


def expect(table: dict[Stage, type[Message]], stage: Stage, kind: type[Message]) -> None:
    """Raise unless the stage waits for this kind of message: TooLate if an earlier one did, else Unexpected."""
    if table.get(stage) is kind:
        return
    waits = next((other for other, expected in table.items() if expected is kind), None)
    if waits is not None and (_ORDER.index(waits) < _ORDER.index(stage) or stage is Stage.READY):
        raise TooLate(f"{kind.__name__}: stage {waits} is closed, this is stage {stage}")
    raise Unexpected(f"{kind.__name__}: not expected at stage {stage}")


def require(stage: Stage, allowed: frozenset[Stage], call: str) -> None:
    """Raise WrongStage unless our caller may make this call now."""
    if stage not in allowed:
        raise WrongStage(f"{call}: called at stage {stage}, allowed at {', '.join(sorted(allowed))}")


def refuse_other_content(kind: type[Message]) -> Replayed:
    """Return the error for a second, different message where one was answered."""
    return Replayed(f"{kind.__name__}: another one of this kind was answered already, with other content")
