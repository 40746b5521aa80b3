"""What the round machine asks for. The shell performs the commands of one transition in their order, each to its end."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from coterie_api.progress import DropReason
from coterie_worker.rounds.selection import Selection


@dataclass(frozen=True, slots=True)
class Await:
    """Replace the one timer: in `seconds` from now, unless replaced before, tell `DeadlinePassed(step)`."""

    step: int
    seconds: float


@dataclass(frozen=True, slots=True)
class StartEpoch:
    """Log the epoch's number, forget the epoch before, and share new keys among `members`. Answer: StageOpened, TooFew."""

    step: int
    epoch: int
    first_slot: int
    members: frozenset[int]


@dataclass(frozen=True, slots=True)
class Drop:
    """Tell the epoch that a client is gone for the rest of it."""

    client: int


@dataclass(frozen=True, slots=True)
class Skip:
    """Tell the epoch that a client has no update in the open slot, and stays."""

    client: int


@dataclass(frozen=True, slots=True)
class OpenSlot:
    """Log the slot durably, and only then ask the cohort. Answer: StageOpened, TooFew."""

    step: int
    slot: int
    round_index: int
    cohort: frozenset[int]


@dataclass(frozen=True, slots=True)
class CloseStage:
    """Close the stage with what was heard. Answer: StageOpened (of the next), EpochReady, SumOpened, TooFew."""

    step: int


@dataclass(frozen=True, slots=True)
class ApplySum:
    """Take the mean of the opened sum and let the server optimizer move the parameters."""

    round_index: int
    slot: int


@dataclass(frozen=True, slots=True)
class Absence:
    """One client that was asked in one slot, and is not in its sum."""

    slot: int
    client: int
    reason: DropReason


@dataclass(frozen=True, slots=True)
class Record:
    """Append the round to the history, before the checkpoint, which makes it final."""

    round_index: int
    slot: int  # of the attempt that succeeded
    attempts: int  # slots and epochs that it took, from 1
    cohort: frozenset[int]
    survivors: frozenset[int]
    absences: tuple[Absence, ...]  # of all attempts


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Make parameters, moments and these numbers durable."""

    rounds_done: int
    next_slot: int
    next_epoch: int
    selection: Selection


@dataclass(frozen=True, slots=True)
class Publish:
    """Show the model of the checkpoint to the evaluator, and delete the models that nobody needs any more."""

    version: int
    selection: Selection


class Outcome(StrEnum):
    """How a job's rounds ended."""

    COMPLETED = "Completed"  # all rounds done
    STOPPED_EARLY = "StoppedEarly"  # no better model for `patience` rounds: a success too
    TOO_FEW_SURVIVORS = "TooFewSurvivors"  # terminal
    NO_QUORUM = "NoQuorum"  # no first epoch before the assembly deadline: let all go, retry later


@dataclass(frozen=True, slots=True)
class Finish:
    """Release model `version` (None: there is none to release) and end. The last command there is."""

    outcome: Outcome
    version: int | None
    came: int = 0  # where the outcome is a lack of clients: how many there were
    needed: int = 0
    opened: frozenset[int] = frozenset()  # of a sum that may be open already, and only with these clients once more


Command: TypeAlias = Await | StartEpoch | Drop | Skip | OpenSlot | CloseStage | ApplySum | Record | Checkpoint | Publish | Finish
