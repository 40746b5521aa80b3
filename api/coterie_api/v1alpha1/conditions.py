"""Conditions of both kinds: the contract for machines, one constant and one sentence for each reason."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated

from coterie_api.shape import About
from coterie_api.v1alpha1.meta import Sentence, Timestamp


class ConditionType(StrEnum):
    """Every condition of a job; all are set on the first visit, Unknown where nothing is known yet."""

    SUSPENDED = "Suspended"
    CONSENT_GRANTED = "ConsentGranted"
    BUDGET_RESERVED = "BudgetReserved"
    ADMITTED = "Admitted"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class DatasetConditionType(StrEnum):
    """Every condition of a data set."""

    ACCEPTED = "Accepted"


class ConditionStatus(StrEnum):
    """The three answers of Kubernetes."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Reason(StrEnum):
    """Why a condition is what it is; `SENTENCES` says each in words."""

    PENDING = "Pending"
    # Accepted, of a data set
    ACCEPTED = "Accepted"
    # Suspended
    SUSPENDED = "Suspended"
    NOT_SUSPENDED = "NotSuspended"
    RESUMED = "Resumed"
    # ConsentGranted
    CONSENT_GRANTED = "ConsentGranted"
    NOT_GRANTED = "NotGranted"
    CONSENT_REVOKED = "ConsentRevoked"
    # BudgetReserved
    BUDGET_NOT_REQUIRED = "BudgetNotRequired"
    # Admitted
    ADMITTED = "Admitted"
    ASSEMBLING = "Assembling"
    QUORUM_NOT_MET = "QuorumNotMet"
    QUOTA_EXCEEDED = "QuotaExceeded"
    TENANT_ACCESS_MISSING = "TenantAccessMissing"
    TENANT_NAMESPACE_TERMINATING = "TenantNamespaceTerminating"
    CREATION_FAILED = "CreationFailed"
    # Running
    STARTING = "Starting"
    TRAINING = "Training"
    AGGREGATOR_RESTARTING = "AggregatorRestarting"
    AGGREGATOR_UNREACHABLE = "AggregatorUnreachable"
    FINISHED = "Finished"
    # Running, and of single tenants: what keeps a pod from running
    IMAGE_PULL_BACK_OFF = "ImagePullBackOff"
    CONTAINER_NOT_STARTED = "ContainerNotStarted"
    CRASH_LOOP_BACK_OFF = "CrashLoopBackOff"
    UNSCHEDULABLE = "Unschedulable"
    CLAIM_NOT_FOUND = "ClaimNotFound"
    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105 - a reason
    VOLUME_NOT_READY = "VolumeNotReady"
    POD_REFUSED = "PodRefused"
    EVICTED = "Evicted"
    NODE_LOST = "NodeLost"
    # Succeeded
    ROUNDS_COMPLETED = "RoundsCompleted"
    STOPPED_EARLY = "StoppedEarly"
    # Failed
    INVALID_SPEC = "InvalidSpec"
    NOT_IMPLEMENTED = "NotImplemented"
    TOO_FEW_SURVIVORS = "TooFewSurvivors"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    BACKOFF_LIMIT_EXCEEDED = "BackoffLimitExceeded"
    TASK_IMPORT_FAILED = "TaskImportFailed"
    TASK_RAISED = "TaskRaised"
    MODEL_REFUSED = "ModelRefused"
    OUTPUT_FAILED = "OutputFailed"
    OUT_OF_MEMORY = "OutOfMemory"


SENTENCES: dict[Reason, str] = {
    Reason.PENDING: "nothing is known yet",
    Reason.ACCEPTED: "the data set may take part in the jobs that it grants",
    Reason.SUSPENDED: "spec.suspend is true: the job's pods are gone and its checkpoint stays",
    Reason.NOT_SUSPENDED: "spec.suspend is false",
    Reason.RESUMED: "the job was suspended and goes on",
    Reason.CONSENT_GRANTED: "enough data sets grant this job to make a quorum",
    Reason.NOT_GRANTED: "a data set is absent or does not grant this job",
    Reason.CONSENT_REVOKED: "the owner of a data set took back the grant",
    Reason.BUDGET_NOT_REQUIRED: "privacy.mode is None: no budget is touched and nothing bounds what the model tells",
    Reason.ADMITTED: "a quorum of clients and the aggregator may run",
    Reason.ASSEMBLING: "clients are starting and the quorum is not complete yet",
    Reason.QUORUM_NOT_MET: "fewer clients than the quorum were there at the assembly deadline",
    Reason.QUOTA_EXCEEDED: "a namespace's resource quota does not allow another pod",
    Reason.TENANT_ACCESS_MISSING: "the operator has no permission in a tenant's namespace",
    Reason.TENANT_NAMESPACE_TERMINATING: "a tenant's namespace is being deleted",
    Reason.CREATION_FAILED: "the API server refused an object of the job",
    Reason.STARTING: "the aggregator is starting",
    Reason.TRAINING: "rounds are going on",
    Reason.AGGREGATOR_RESTARTING: "the aggregator ended early and starts again from its checkpoint",
    Reason.AGGREGATOR_UNREACHABLE: "the aggregator's status can't be read at the moment",
    Reason.FINISHED: "the job is over",
    Reason.IMAGE_PULL_BACK_OFF: "an image of the job can't be pulled",
    Reason.CONTAINER_NOT_STARTED: "a container of the job can't be made or started",
    Reason.CRASH_LOOP_BACK_OFF: "a container of the job ends again and again",
    Reason.UNSCHEDULABLE: "no node can take a pod of the job",
    Reason.CLAIM_NOT_FOUND: "a PersistentVolumeClaim that a pod mounts does not exist",
    Reason.SECRET_NOT_FOUND: "a Secret that a pod mounts does not exist, or lacks a key",
    Reason.VOLUME_NOT_READY: "a pod waits for its volumes",
    Reason.POD_REFUSED: "an admission policy, a LimitRange or the Pod Security Standard of a namespace refuses a pod",
    Reason.EVICTED: "a pod was taken off its node",
    Reason.NODE_LOST: "the node of a pod does not answer",
    Reason.ROUNDS_COMPLETED: "every round is done and the model is published",
    Reason.STOPPED_EARLY: "evaluation.patience ran out and the best model is published",
    Reason.INVALID_SPEC: "the job asks for something that is not allowed",
    Reason.NOT_IMPLEMENTED: "the job asks for something that this version does not offer",
    Reason.TOO_FEW_SURVIVORS: "a round ended three times in a row with fewer clients than it needs",
    Reason.DEADLINE_EXCEEDED: "the job ran longer than spec.activeDeadlineSeconds",
    Reason.BACKOFF_LIMIT_EXCEEDED: "the aggregator failed more often than spec.backoffLimit allows",
    Reason.TASK_IMPORT_FAILED: "the task's code could not be imported",
    Reason.TASK_RAISED: "the task's code raised an exception while the initial model was made",
    Reason.MODEL_REFUSED: "the initial model does not fit the task's layout",
    Reason.OUTPUT_FAILED: "the model could not be written to spec.output",
    Reason.OUT_OF_MEMORY: "a container of the job ran out of memory",
}


@dataclass(frozen=True, slots=True)
class Condition:
    """One answer about a job or a data set, as Kubernetes writes conditions."""

    type: Annotated[
        str,
        About(
            "What is asked: Suspended, ConsentGranted, BudgetReserved, Admitted, Running, Succeeded or Failed; of a data set Accepted.",
            min_length=1,
            max_length=64,
        ),
    ]
    status: Annotated[ConditionStatus, About("True, False or Unknown.")]
    reason: Annotated[
        str,
        About(
            "Why, as one word for machines.",
            pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
            pattern_says="one CamelCase word",
            min_length=1,
            max_length=64,
        ),
    ]
    last_transition_time: Annotated[Timestamp, About("When status last changed.")]
    message: Annotated[Sentence, About("Why, in words.")] = ""
    observed_generation: Annotated[int, About("Generation of the spec that this is about.", minimum=0, format="int64")] = 0

    @property
    def is_true(self) -> bool:
        """Whether the answer is a plain yes."""
        return self.status is ConditionStatus.TRUE


def find_condition(conditions: tuple[Condition, ...], kind: ConditionType | DatasetConditionType) -> Condition | None:
    """Return the condition of a type, None if it was never set."""
    return next((condition for condition in conditions if condition.type == kind), None)


def set_condition(conditions: tuple[Condition, ...], new: Condition) -> tuple[Condition, ...]:
    """Return `conditions` with `new` in the place of the one of its type, or at the end.

    `new.last_transition_time` is the present; it is taken only if the status changes, else the old time stays.
    """
    old = next((condition for condition in conditions if condition.type == new.type), None)
    if old is None:
        return (*conditions, new)
    if old.status is new.status:
        new = replace(new, last_transition_time=old.last_transition_time)
    return tuple(new if condition is old else condition for condition in conditions)
