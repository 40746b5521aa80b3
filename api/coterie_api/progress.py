"""What a running aggregator tells the operator (`/status`), and the last word of a pod (termination message)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class DropReason(StrEnum):
    """Why a client is not in a sum: the catalog, each with one sentence that holds no data."""

    DISCONNECTED = "Disconnected"
    LATE = "Late"
    TASK_IMPORT_FAILED = "TaskImportFailed"
    TASK_RAISED = "TaskRaised"
    NO_DATA = "NoData"
    NOT_FINITE = "NotFinite"
    WRONG_SHAPE = "WrongShape"
    OUT_OF_MEMORY = "OutOfMemory"
    PROTOCOL_VIOLATION = "ProtocolViolation"
    POLICY_REFUSED = "PolicyRefused"
    SLOT_USED = "SlotUsed"
    SUM_REFUSED = "SumRefused"


SENTENCES: dict[DropReason, str] = {
    DropReason.DISCONNECTED: "the client's connection ended",
    DropReason.LATE: "the client's update did not arrive before the deadline",
    DropReason.TASK_IMPORT_FAILED: "the task's code could not be imported",
    DropReason.TASK_RAISED: "the task's code raised an exception",
    DropReason.NO_DATA: "the data set has no examples",
    DropReason.NOT_FINITE: "the update holds NaN or infinity",
    DropReason.WRONG_SHAPE: "the task's model does not match the job's layout",
    DropReason.OUT_OF_MEMORY: "the client ran out of memory",
    DropReason.PROTOCOL_VIOLATION: "the client broke the protocol",
    DropReason.POLICY_REFUSED: "the job is weaker than the tenant's policy allows",
    DropReason.SLOT_USED: "the client has already used this slot",
    DropReason.SUM_REFUSED: "the client helps to open no second sum that is close to an earlier one",
}


@dataclass(frozen=True, slots=True)
class Drop:
    """One client's absence from a sum, told without any of its data."""

    client: str  # namespace/dataset
    reason: DropReason
    error_class: str = ""  # class of the exception, for TASK_*
    where: str = ""  # file:line in the task's own code
    incident: str = ""  # finds the traceback in the tenant's pod log


def sentence(drop: Drop) -> str:
    """Why, in words that hold no data."""
    error = " at ".join(part for part in (drop.error_class, drop.where) if part)
    return SENTENCES[drop.reason] + (f" ({error})" if error else "")


@dataclass(frozen=True, slots=True)
class Progress:
    """A running job's numbers, all of them public or released aggregates."""

    rounds_done: int = 0
    rounds: int = 0
    slot: int = 0
    phase: str = "Starting"  # Starting | Assembling | Training | Unmasking | Evaluating | Publishing | Done
    connected: int = 0
    cohort: int = 0
    survivors: int = 0
    accuracy: float | None = None
    loss: float | None = None
    best_round: int | None = None
    bytes_sent: int = 0
    bytes_received: int = 0
    round_seconds: float = 0.0
    clamped: int = 0  # coordinates clamped to the ring in the last sum
    epsilon_spent: float | None = None  # privacy loss so far, at the job's delta; None: nothing bounds it
    epsilon_left: float | None = None  # what the job's bound still allows
    update_norm: float | None = None  # of the last mean update, which is released; None before the first
    drops: tuple[Drop, ...] = field(default=())  # of the last attempt at a round
    evaluation_failure: Drop | None = None  # why the newest evaluation has no numbers; of no client


def unevaluated(progress: Progress | None) -> str:
    """Why the newest evaluation has no numbers, in words that hold no data; empty if it has, or if there is none."""
    failure = progress.evaluation_failure if progress is not None else None
    if failure is None:
        return ""
    incident = f", incident {failure.incident} in the evaluator's log" if failure.incident else ""
    return f"the newest evaluation failed: {sentence(failure)}{incident}"


@dataclass(frozen=True, slots=True)
class Termination:
    """The last word of a pod, at most 4 KiB of JSON."""

    reason: str  # a Reason of v1alpha1.conditions or a DropReason
    message: str
    drop: Drop | None = None
    progress: Progress | None = None
