"""FederatedJob: what the operator tells (`status`). Derived each time, never read back as a decision."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from coterie_api.shape import About
from coterie_api.v1alpha1.conditions import Condition
from coterie_api.v1alpha1.meta import Sentence, Timestamp

Count = Annotated[int, About(minimum=0, format="int64")]
Word = Annotated[str, About(max_length=253)]
Measure = Annotated[float, About(format="double")]


class JobState(StrEnum):
    """One word on the job for people; machines read the conditions."""

    PENDING = "Pending"
    SUSPENDED = "Suspended"
    ASSEMBLING = "Assembling"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class TenantState(StrEnum):
    """One word on a tenant's part in the job."""

    PENDING = "Pending"
    SKIPPED = "Skipped"
    STARTING = "Starting"
    READY = "Ready"
    BACKING_OFF = "BackingOff"
    DONE = "Done"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class TenantStatus:
    """One tenant's part in the job."""

    namespace: Annotated[Word, About("Namespace of the data set.")]
    name: Annotated[Word, About("Name of the data set.")]
    state: Annotated[TenantState, About("Pending, Skipped, Starting, Ready, BackingOff, Done or Failed.")] = TenantState.PENDING
    reason: Annotated[Word, About("Why, as one word for machines.")] = ""
    message: Annotated[Sentence, About("Why, in words without any data.")] = ""
    attempt: Annotated[Count, About("Which of its client Jobs is the present one, from 0.")] = 0


@dataclass(frozen=True, slots=True)
class DropStatus:
    """A client that is missing from the last sum."""

    client: Annotated[Word, About("The client, as namespace/dataset.")]
    reason: Annotated[Word, About("Why, as one word of the catalog.")]
    error_class: Annotated[Word, About("Class of the exception that the task's code raised.")] = ""
    where: Annotated[Word, About("File and line in the task's own code.")] = ""
    incident: Annotated[Word, About("Finds the traceback in the tenant's pod log.")] = ""


@dataclass(frozen=True, slots=True)
class SecureAggregationStatus:
    """The parameters in force, fixed at the job's start."""

    protocol: Annotated[Word, About("SecAggPlus, or None: the aggregator sees every update.")]
    threshold: Annotated[Count, About("Clients that must help to open a sum.")] = 0
    colluders: Annotated[Count, About("Tenants that may collude with the aggregator without learning another's update.")] = 0
    min_survivors: Annotated[Count, About("Fewest updates in a sum.")] = 0
    ring_bits: Annotated[Count, About("Bits of a value in a sum.")] = 0
    scale: Annotated[Count, About("Rounding steps per 1.0.")] = 0
    clip: Annotated[Measure | None, About("Largest magnitude of one client's coordinate in a sum; larger ones are clamped.")] = None


@dataclass(frozen=True, slots=True)
class PrivacyStatus:
    """What holds for this job, in words."""

    guarantees: Annotated[tuple[Sentence, ...], About("Plain sentences on what is guaranteed, and on what is not.", max_items=16)] = ()


@dataclass(frozen=True, slots=True)
class Attempts:
    """Which of its children are the present ones; a new attempt has a new name."""

    assembly: Annotated[Count, About("Times that clients were assembled.")] = 0
    aggregator: Annotated[Count, About("Failures of the aggregator that count against backoffLimit.")] = 0
    without_quorum: Annotated[Count, About("Assemblies in a row without a quorum, which count against assemblyBackoffLimit.")] = 0


@dataclass(frozen=True, slots=True)
class FrozenDataset:
    """A data set as it was when the job started."""

    namespace: Annotated[Word, About("Namespace of the data set.")]
    name: Annotated[Word, About("Name of the data set.")]
    uid: Annotated[Word, About("Identity of the FederatedDataset.")]
    generation: Annotated[Count, About("Generation of the FederatedDataset whose grant was used.")]
    public_key: Annotated[Word, About("The tenant's Ed25519 key, base64.")]
    min_clients: Annotated[Count, About("The tenant's own minimum of clients.")] = 0
    threshold: Annotated[Count, About("The tenant's own minimum of clients that must help to open a sum.")] = 0
    colluders: Annotated[Count, About("The tenant's own minimum of colluders that the job must withstand.")] = 0


@dataclass(frozen=True, slots=True)
class Frozen:
    """What the job fixed at its start; afterwards only revocation acts."""

    time: Annotated[Timestamp, About("When the job started.")]
    spec_hash: Annotated[Word, About("SHA-256 of job.json, hexadecimal.")]
    worker_image: Annotated[str, About("Image of clients, evaluator and initialize.", max_length=512)] = ""
    operator_image: Annotated[str, About("Image of the aggregator.", max_length=512)] = ""
    datasets: Annotated[
        tuple[FrozenDataset, ...], About("The roster: the data sets that take part, sorted.", max_items=1000, keys=("namespace", "name"))
    ] = ()


@dataclass(frozen=True, slots=True)
class FederatedJobStatus:
    """What the operator tells about the job."""

    observed_generation: Annotated[Count, About("Generation of the spec that this status is about.")] = 0
    state: Annotated[JobState, About("One word for people: Pending, Suspended, Assembling, Running, Succeeded or Failed.")] = (
        JobState.PENDING
    )
    message: Annotated[Sentence, About("One sentence for people on the present state.")] = ""
    start_time: Annotated[Timestamp | None, About("When the job first started its pods.")] = None
    active_since: Annotated[Timestamp | None, About("Since when activeDeadlineSeconds counts: the start, or the last resume.")] = None
    assembly_time: Annotated[Timestamp | None, About("When the present assembly of clients began.")] = None
    completion_time: Annotated[Timestamp | None, About("When the job ended.")] = None
    conditions: Annotated[tuple[Condition, ...], About("The contract for machines.", max_items=16, keys=("type",))] = ()
    round: Annotated[Count, About("Rounds done.")] = 0
    rounds: Annotated[Count, About("Rounds asked for.")] = 0
    cohort: Annotated[Count, About("Clients asked in the last round.")] = 0
    survivors: Annotated[Count, About("Clients in the sum of the last round.")] = 0
    accuracy: Annotated[Measure | None, About("Accuracy of the newest evaluated model, from 0 to 1.")] = None
    loss: Annotated[Measure | None, About("Loss of the newest evaluated model.")] = None
    best_round: Annotated[Count | None, About("Rounds done when the best model by evaluation.selectBy was made.")] = None
    epsilon_spent: Annotated[Measure | None, About("Privacy loss so far, at the job's delta; absent if nothing bounds it.", minimum=0)] = (
        None
    )
    slots: Annotated[Count, About("Openings of a sum so far, repeated rounds included.")] = 0
    clamped: Annotated[Count, About("Coordinates clamped to the ring in the last sum.")] = 0
    update_norm: Annotated[Measure | None, About("Euclidean norm of the last mean update, which is released.", minimum=0)] = None
    round_seconds: Annotated[Measure | None, About("Time of the last round.", minimum=0)] = None
    bytes_sent: Annotated[Count, About("Bytes of frames to clients, by the aggregator's last process; written when something else is.")] = 0
    bytes_received: Annotated[Count, About("Bytes of frames from clients, likewise.")] = 0
    drops: Annotated[tuple[DropStatus, ...], About("Clients that are missing from the last sum; at most 32 are listed.", max_items=32)] = ()
    tenants: Annotated[tuple[TenantStatus, ...], About("Each tenant's part in the job.", max_items=1000, keys=("namespace", "name"))] = ()
    secure_aggregation: Annotated[SecureAggregationStatus | None, About("The parameters in force.")] = None
    privacy: Annotated[PrivacyStatus | None, About("What holds for this job, in words.")] = None
    attempts: Annotated[Attempts, About("Counters of attempts.")] = Attempts()
    frozen: Annotated[Frozen | None, About("What the job fixed at its start.")] = None
