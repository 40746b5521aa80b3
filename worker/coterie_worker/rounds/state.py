"""What the round machine knows: the rules of a job, where it resumes, and where it stands."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from coterie_api.progress import DropReason
from coterie_worker.rounds.commands import Absence
from coterie_worker.rounds.selection import Criterion, Selection

if TYPE_CHECKING:
    from coterie_api.podconfig import JobConfig

GATHERING_SECONDS = 20  # clients of one job start within seconds of each other, once their pods run
REPLY_SECONDS = 30  # no training behind it; a client that needs longer is not coming
MAX_SLOT_JUMP = 2**20  # more slots than the longest job opens, and 2⁴³ such jumps fit below the protocol's last slot
EVALUATION_SECONDS = 60  # a test set's worth of forward passes; a slower evaluator loses only the last model's numbers
_NOBODY: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Rules:
    """What is fixed for a job.

    Attributes:
        rounds: how many to do, at least 1.
        roster: clients in the roster; they are the indices from 0.
        quorum: live clients needed to open an epoch or a slot, and survivors needed to open a sum:
            max(minClients, min_survivors, threshold), from 1 to `roster`.
        seed: of the cohorts.
        cohort_size: clients asked per round; None: all who hold keys.
        slots_per_epoch: slots that one epoch has keys for.
        attempts: tries at one round before the job fails.
        assembly_seconds: how long to wait for a quorum.
        gathering_seconds: once there is a quorum, how long to wait for the rest of the roster before the first epoch.
        round_seconds: from the asking of a cohort to its last upload.
        reply_seconds: for an answer that needs no training: keys, consistency, unmasking.
        evaluation_seconds: at the end, how long to wait for the last model's numbers; 0 without an evaluator.
        criterion: None: the newest model is the result, and nothing stops training early.
    """

    rounds: int
    roster: int
    quorum: int
    seed: int = 0
    cohort_size: int | None = None
    slots_per_epoch: int = 8
    attempts: int = 3
    assembly_seconds: float = 600
    gathering_seconds: float = GATHERING_SECONDS
    round_seconds: float = 600
    reply_seconds: float = REPLY_SECONDS
    evaluation_seconds: float = 0
    criterion: Criterion | None = None

    def __post_init__(self) -> None:
        for name in ("rounds", "roster", "quorum", "slots_per_epoch", "attempts"):
            if getattr(self, name) < 1:
                raise ValueError(f"rules of the rounds: {name} is {getattr(self, name)}, must be at least 1")
        for name in ("assembly_seconds", "gathering_seconds", "round_seconds", "reply_seconds", "evaluation_seconds"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"rules of the rounds: {name} is {getattr(self, name)}, must be at least 0")
        if self.quorum > self.roster:
            raise ValueError(f"rules of the rounds: quorum is {self.quorum}, must be at most the roster's {self.roster}")
        if self.cohort_size is not None and not self.quorum <= self.cohort_size <= self.roster:
            raise ValueError(
                f"rules of the rounds: cohort_size is {self.cohort_size}, must be from {self.quorum} (quorum) to {self.roster} (roster)"
            )


def rules_of(job: JobConfig, *, has_evaluator: bool) -> Rules:
    """Return the rules of a job as its pods see it.

    Raises:
        ValueError: numbers that no round can satisfy, such as fewer clients in the roster than the quorum.
    """
    select_by, patience = job.evaluation.select_by, job.evaluation.patience
    return Rules(
        rounds=job.rounds,
        roster=len(job.roster),
        quorum=max(job.min_clients, job.aggregation.min_survivors, job.aggregation.threshold, 1),
        seed=job.seed,
        cohort_size=job.strategy.cohort_size,
        slots_per_epoch=job.aggregation.slots_per_epoch,
        assembly_seconds=job.assembly_deadline_seconds,
        gathering_seconds=min(GATHERING_SECONDS, job.assembly_deadline_seconds),
        round_seconds=job.round_deadline_seconds,
        reply_seconds=min(REPLY_SECONDS, job.round_deadline_seconds),
        evaluation_seconds=EVALUATION_SECONDS if has_evaluator else 0,
        criterion=Criterion(select_by, patience) if select_by and has_evaluator else None,
    )


NOTHING_EVALUATED = Selection()


@dataclass(frozen=True, slots=True)
class Resume:
    """Where a job goes on: the defaults at first, else from the checkpoint and the slot log, whichever is further.

    `opened` are the survivors whose sum clients were asked to open in this very round before the crash; else empty. `withdrawn` were
    sent away for good.
    """

    rounds_done: int = 0
    next_slot: int = 1
    next_epoch: int = 1
    selection: Selection = NOTHING_EVALUATED
    opened: frozenset[int] = frozenset()
    withdrawn: frozenset[int] = frozenset()


class Phase(StrEnum):
    """What the rounds are doing now; the words of `Progress.phase`, but that KEYING and GATHERING show as Assembling."""

    STARTING = "Starting"  # before the first command
    ASSEMBLING = "Assembling"  # fewer clients than the quorum
    GATHERING = "Gathering"  # a quorum; a moment for the rest to come
    KEYING = "Keying"  # an epoch's keys are being shared
    TRAINING = "Training"  # a slot is open and uploads come in
    UNMASKING = "Unmasking"  # uploads are closed; consistency, then unmasking
    EVALUATING = "Evaluating"  # all rounds done; the last model's numbers are due
    DONE = "Done"

    @property
    def shown(self) -> str:
        """The word for people: `Progress.phase`."""
        return "Assembling" if self in (Phase.GATHERING, Phase.KEYING) else self.value


@dataclass(frozen=True, slots=True)
class State:
    """Where the rounds stand. Only `machine` makes new ones."""

    rules: Rules
    phase: Phase = Phase.STARTING
    step: int = 0
    waiting: frozenset[int] | None = None  # answers due from; None: not waiting for clients' messages
    is_answer_due: bool = False  # StartEpoch, OpenSlot or CloseStage was asked for and its Answer has not come

    rounds_done: int = 0
    attempt: int = 0  # failed tries at this round
    excused: int = 0  # those of them that cheaters spoiled; each costs the roster a client, so there are few
    next_slot: int = 1
    next_epoch: int = 1
    slot_floor: int = 1  # the next epoch's least slot: clients have used those below, by their own records
    opened: frozenset[int] = _NOBODY  # survivors whose sum of this round clients may have opened: they open no other close to it

    live: frozenset[int] = _NOBODY  # connected now
    withdrawn: frozenset[int] = _NOBODY  # won't come again
    joiners: frozenset[int] = _NOBODY  # connected since the last epoch started
    holders: frozenset[int] = _NOBODY  # connected and holding this epoch's keys
    slots_left: int = 0  # that this epoch has keys for; 0: there is no epoch
    has_assembled: bool = False  # an epoch was started since this process began

    slot: int = 0  # open now, or the last one; 0: none yet
    cohort: frozenset[int] = _NOBODY
    failed: tuple[Absence, ...] = ()  # of the open slot, as they happen
    absences: tuple[Absence, ...] = ()  # of this round's former attempts
    selection: Selection = NOTHING_EVALUATED

    @property
    def is_done(self) -> bool:
        """Whether `Finish` has been asked for."""
        return self.phase is Phase.DONE

    @property
    def expected(self) -> int:
        """Clients of the roster that may still take part."""
        return self.rules.roster - len(self.withdrawn)

    @property
    def failed_clients(self) -> frozenset[int]:
        """Clients without an update in the open slot."""
        return frozenset(absence.client for absence in self.failed)

    @property
    def refused(self) -> frozenset[int]:
        """Clients that don't help to open the slot's sum."""
        return frozenset(absence.client for absence in self.failed if absence.reason is DropReason.SUM_REFUSED)

    def without(self, cheaters: frozenset[int]) -> State:
        """Leave cheaters out for good. The try that they spoiled is excused: else three of them could end the job, one after the other."""
        return replace(
            self,
            live=self.live - cheaters,
            joiners=self.joiners - cheaters,
            withdrawn=self.withdrawn | cheaters,
            excused=self.excused + bool(cheaters - self.withdrawn),
        )

    def believes(self, last_slot: int) -> bool:
        """Whether a client may have used this slot. Slots of a job that has lost its log begin above those that clients
        have used, and one client alone must not push them to their end."""
        return last_slot < self.next_slot + MAX_SLOT_JUMP
