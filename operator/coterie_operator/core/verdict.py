"""What a pass over a job came to: one stage, with the reason that people and machines are told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, StrEnum, auto

from coterie_api.v1alpha1.types import Frozen, Reason


class Stage(Enum):
    """Where a job stands. Passes at a *turn* only write the status; the next pass acts on what has been written.

    So a decision is durable, guarded by the object's version, before anything follows from it: two operators at once, or one
    that dies between two writes, can't act on two different decisions.
    """

    WAITING = auto()  # no quorum of consent yet; nothing has been started
    FREEZING = auto()  # turn: a quorum is there, and what it consists of is fixed
    RUNNING = auto()  # children are as they should be, or are made so
    RENEWING = auto()  # turn: the aggregator starts again with a new certificate
    LETTING_GO = auto()  # turn: no quorum of clients by the assembly deadline
    RESTING = auto()  # all clients are let go until the next assembly
    SUSPENDING = auto()  # turn
    SUSPENDED = auto()
    RESUMING = auto()  # turn
    FAILING = auto()  # turn, the last one
    SUCCEEDING = auto()  # turn, the last one
    FINISHED = auto()  # nothing is recreated; what runs is ended; ttl

    @property
    def is_turn(self) -> bool:
        return self in _TURNS

    @property
    def is_end(self) -> bool:
        return self in (Stage.FAILING, Stage.SUCCEEDING, Stage.FINISHED)


_TURNS = frozenset({Stage.FREEZING, Stage.RENEWING, Stage.LETTING_GO, Stage.SUSPENDING, Stage.RESUMING, Stage.FAILING, Stage.SUCCEEDING})


class TenantReason(StrEnum):
    """Reasons of a single tenant; of the whole job only while it waits for that one."""

    NO_IDENTITY = "NoIdentity"
    REQUIREMENT_NOT_MET = "RequirementNotMet"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A stage and why."""

    stage: Stage
    reason: Reason | TenantReason = Reason.PENDING  # a tenant's with WAITING alone
    message: str = ""
    frozen: Frozen | None = None  # with FREEZING
    until: datetime | None = None  # with LETTING_GO: when the next assembly begins
