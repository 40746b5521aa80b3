"""What the round machine is told. Clients are indices in the roster; `step` is the number that the machine gave out with
what it now waits for, so an event about something that is already over is recognized and changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from coterie_api.progress import DropReason


@dataclass(frozen=True, slots=True)
class ClientJoined:
    """A client has proved its identity and is ready; a new process of it, not a stream resumed by the same one.

    `last_slot` is the last slot that it has used by its own record, 0 for none. `believes` must have agreed to it.
    """

    client: int
    last_slot: int = 0


@dataclass(frozen=True, slots=True)
class ClientLeft:
    """A client's process is gone, or is sent away for what it did; it may come back as a joiner."""

    client: int
    reason: DropReason = DropReason.DISCONNECTED


@dataclass(frozen=True, slots=True)
class ClientWithdrew:
    """A client has said that it can't take part in this job at all: no import, no data, a stricter policy."""

    client: int
    reason: DropReason


@dataclass(frozen=True, slots=True)
class ClientFailed:
    """A client does not do its part in this slot, but stays: its task raised, it opens no sum close to an earlier one."""

    client: int
    slot: int
    reason: DropReason


@dataclass(frozen=True, slots=True)
class StageOpened:
    """The messages of a stage are on their way, and answers are due from `waiting_for`."""

    step: int
    waiting_for: frozenset[int]


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer in this stage was verified (in training: a whole upload is in the sum); `waiting_for` are still missing."""

    step: int
    waiting_for: frozenset[int]


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """The time of the last `Await` with this step is up."""

    step: int


@dataclass(frozen=True, slots=True)
class EpochReady:
    """The keys of an epoch are shared; `members` hold them."""

    step: int
    members: frozenset[int]


@dataclass(frozen=True, slots=True)
class SumOpened:
    """The sum of a slot is open and holds the updates of `survivors`."""

    step: int
    survivors: frozenset[int]


@dataclass(frozen=True, slots=True)
class TooFew:
    """A stage of the epoch or slot ended with fewer honest clients than its protocol needs; nothing was opened.

    `asked` are the survivors whose sum clients were asked to open before it failed; empty if it didn't come to that. `cheaters`
    are why it failed: they are sent away for good, and the others have the proof, so that they open the sum of the rest.
    """

    step: int
    came: int
    needed: int
    asked: frozenset[int] = frozenset()
    cheaters: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The evaluator's number for `selectBy` of one model, whose file is still there; None if the evaluator has none, for it failed."""

    version: int
    value: float | None


Answer: TypeAlias = StageOpened | EpochReady | SumOpened | TooFew  # what the shell says after StartEpoch, OpenSlot, CloseStage
Event: TypeAlias = ClientJoined | ClientLeft | ClientWithdrew | ClientFailed | Heard | DeadlinePassed | Evaluated | Answer
