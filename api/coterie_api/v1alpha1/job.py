"""FederatedJob: what its author asks for (`spec`)."""

# ruff: noqa: RUF009  (the defaults are frozen values)

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, ClassVar

from coterie_api.shape import About, Rule
from coterie_api.v1alpha1.meta import Label
from coterie_api.v1alpha1.pods import Aggregator, Clients, Evaluator
from coterie_api.v1alpha1.ring import LEAST_CLIP, LEAST_WIDE_CLIP, MOST_CLIP, MOST_NARROW, NARROW, WIDE
from coterie_api.v1alpha1.sources import InitialModel, Output, Source
from coterie_api.v1alpha1.training import Strategy, Task, Training, Weighting

MAX_DATASETS = 1000
DAY = 86_400
# `==` on a list-map with the key `namespace`, a reserved word of CEL, takes data sets of one name for the same (seen in 1.37):
# no update would pass, not even of the status.
ONE_DATASET = "d.__namespace__ + '/' + d.name + (d.required ? '!' : '')"
Seconds = Annotated[int, About(minimum=1, maximum=365 * DAY, format="int64")]


@dataclass(frozen=True, slots=True)
class DatasetRef:
    """A data set that may take part."""

    namespace: Annotated[Label, About("Namespace of the FederatedDataset: the tenant.")]
    name: Annotated[Label, About("Name of the FederatedDataset.")]
    required: Annotated[
        bool,
        About(
            "Whether the job needs this data set: it doesn't begin before it can take part, and fails if its consent is withdrawn. "
            "A round goes on without it, as without any other, and so does the job if its client fails."
        ),
    ] = False


@dataclass(frozen=True, slots=True)
class Participants:
    """Who may take part, and how many must."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="minClients",
            cel="!has(self.minClients) || self.minClients <= size(self.datasets)",
            message="at most the number of datasets",
            holds=lambda self: self.min_clients is None or self.min_clients <= len(self.datasets),
        ),
    )

    datasets: Annotated[
        tuple[DatasetRef, ...],
        About(
            "The data sets to train on, one for each tenant.",
            min_items=1,
            max_items=MAX_DATASETS,
            keys=("namespace", "name"),
            immutable=True,
            unchanged=f"self.map(d, {ONE_DATASET}) == oldSelf.map(d, {ONE_DATASET})",
        ),
    ]
    min_clients: Annotated[
        int | None,
        About(
            "Tenants needed to begin and to close a round; unset means what secure aggregation needs, or a majority.",
            minimum=1,
            maximum=MAX_DATASETS,
            immutable=True,
        ),
    ] = None
    assembly_deadline_seconds: Annotated[
        Seconds, About("Without a quorum after so long, all clients are let go and tried again later.", immutable=True)
    ] = 600
    assembly_backoff_limit: Annotated[
        int, About("Assemblies in a row without a quorum that are tried again; after one more the job fails.", minimum=0, maximum=1_000_000)
    ] = 6


class Protocol(StrEnum):
    """How updates are added up."""

    SEC_AGG_PLUS = "SecAggPlus"
    HOMOMORPHIC_ENCRYPTION = "HomomorphicEncryption"
    NONE = "None"


@dataclass(frozen=True, slots=True)
class SecureAggregation:
    """What the aggregator can open: only sums, unless the protocol is None; and how finely updates are told in them."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="ringBits",
            # The API server tries these on the default of the whole, which has no members yet.
            cel=f"!has(self.ringBits) || self.ringBits in [{NARROW}, {WIDE}]",
            message=f"{NARROW} or {WIDE}",
            holds=lambda self: self.ring_bits in (NARROW, WIDE),
        ),
        Rule(
            field="clip",
            cel=f"!has(self.ringBits) || self.ringBits != {NARROW} || has(self.clip)",
            message=f"a number with ringBits {NARROW}: its few bits must be spent where the updates are",
            holds=lambda self: self.ring_bits != NARROW or self.clip is not None,
        ),
        Rule(
            field="clip",
            cel=f"!has(self.clip) || self.clip >= {LEAST_WIDE_CLIP} || (has(self.ringBits) && self.ringBits == {NARROW})",
            message=f"at least {LEAST_WIDE_CLIP:g} with ringBits {WIDE}",
            holds=lambda self: self.ring_bits == NARROW or self.clip is None or self.clip >= LEAST_WIDE_CLIP,
        ),
    )

    protocol: Annotated[Protocol, About("SecAggPlus, HomomorphicEncryption, or None: the aggregator then sees every update.")] = (
        Protocol.SEC_AGG_PLUS
    )
    colluders: Annotated[
        int | None,
        About(
            "Tenants that may collude with the aggregator without learning another's update; unset means fewer than a third.",
            minimum=0,
            maximum=MAX_DATASETS,
        ),
    ] = None
    ring_bits: Annotated[
        int,
        About(
            "Bits of a value in a sum: 32, or 16 for half the upload and coarser updates (only with weighting Uniform).",
            minimum=NARROW,
            maximum=WIDE,
        ),
    ] = WIDE
    clip: Annotated[
        float | None,
        About(
            "Largest magnitude of one coordinate of an update; larger ones are clamped and counted. The rounding step follows from it; "
            "unset, with 32 bits, means steps of 1/65536.",
            minimum=LEAST_CLIP,
            maximum=MOST_CLIP,
            format="double",
        ),
    ] = None


class PrivacyMode(StrEnum):
    """What bounds the information that the trained model gives away."""

    NONE = "None"
    RECORD_LOCAL = "RecordLocal"
    RECORD_DISTRIBUTED = "RecordDistributed"
    CLIENT = "Client"


@dataclass(frozen=True, slots=True)
class Privacy:
    """Differential privacy. The mode has no default: None is a choice that one writes down."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="mode",
            cel="self.mode != 'None' || !(has(self.epsilon) || has(self.delta) || has(self.clippingNorm))",
            message="another mode than None, or no epsilon, delta and clippingNorm: nothing would hold to them",
            holds=lambda self: self.mode is not PrivacyMode.NONE or (self.epsilon, self.delta, self.clipping_norm) == (None, None, None),
        ),
        Rule(
            field="mode",
            cel="self.mode == 'None' || (has(self.epsilon) && has(self.delta) && has(self.clippingNorm))",
            message="None, or epsilon, delta and clippingNorm given",
            holds=lambda self: self.mode is PrivacyMode.NONE or None not in (self.epsilon, self.delta, self.clipping_norm),
        ),
    )

    mode: Annotated[PrivacyMode, About("None, RecordLocal, RecordDistributed or Client: who adds noise and what one neighbor differs by.")]
    epsilon: Annotated[
        float | None, About("Bound on the privacy loss of one privacy unit over the whole job.", above=0, maximum=1000, format="double")
    ] = None
    delta: Annotated[float | None, About("Probability with which the bound may fail.", above=0, below=1, format="double")] = None
    clipping_norm: Annotated[float | None, About("L2 bound on each clipped gradient or update.", above=0, maximum=1e6, format="double")] = (
        None
    )


@dataclass(frozen=True, slots=True)
class PublicEvaluation:
    """Evaluation on data that is not private, beside the aggregator."""

    source: Annotated[Source, About("The test data, in the job's own namespace.")]


@dataclass(frozen=True, slots=True)
class FederatedEvaluation:
    """Evaluation by the clients on held-out data; only sums leave them."""

    every_rounds: Annotated[int, About("Rounds between two evaluations.", minimum=1, maximum=100_000)] = 1


class SelectBy(StrEnum):
    """The number that tells the better of two models."""

    ACCURACY = "accuracy"
    LOSS = "loss"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How models are judged. Its failure never fails the job."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="selectBy",
            cel="!has(self.selectBy) || has(self.public) || has(self.federated)",
            message="only with public or federated evaluation",
            holds=lambda self: self.select_by is None or self.public is not None or self.federated is not None,
        ),
        Rule(
            field="patience",
            cel="!has(self.patience) || has(self.selectBy)",
            message="only with selectBy",
            holds=lambda self: self.patience is None or self.select_by is not None,
        ),
    )

    public: Annotated[PublicEvaluation | None, About("Evaluation on data that is not private.")] = None
    federated: Annotated[FederatedEvaluation | None, About("Evaluation by the clients on held-out data.")] = None
    select_by: Annotated[SelectBy | None, About("Publish the best model by this number (accuracy or loss); unset publishes the last.")] = (
        None
    )
    patience: Annotated[int | None, About("Stop after so many rounds without a better model.", minimum=1, maximum=100_000)] = None


@dataclass(frozen=True, slots=True)
class FederatedJobSpec:
    """What the job's author asks for."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="strategy.weighting",
            cel="self.strategy.weighting != 'Examples' || self.privacy.mode == 'None'",
            message="Uniform, unless privacy.mode is None: an exact sum of counts would tell of single records",
            holds=lambda self: self.strategy.weighting is not Weighting.EXAMPLES or self.privacy.mode is PrivacyMode.NONE,
        ),
        Rule(
            field="strategy.cohortSize",
            cel="!has(self.strategy.cohortSize) || self.strategy.cohortSize <= size(self.participants.datasets)",
            message="at most the number of participants.datasets",
            holds=lambda self: self.strategy.cohort_size is None or self.strategy.cohort_size <= len(self.participants.datasets),
        ),
        Rule(
            field="secureAggregation.ringBits",
            cel=f"self.secureAggregation.ringBits != {NARROW} || self.strategy.weighting == 'Uniform'",
            message=f"{WIDE}, unless strategy.weighting is Uniform: sums of weights don't fit {NARROW} bits",
            holds=lambda self: self.secure_aggregation.ring_bits != NARROW or self.strategy.weighting is Weighting.UNIFORM,
        ),
        Rule(
            field="secureAggregation.ringBits",
            cel=f"self.secureAggregation.ringBits != {NARROW} || size(self.participants.datasets) <= {MOST_NARROW}",
            message=f"{WIDE} with more than {MOST_NARROW} data sets: each value would have fewer than 8 of the {NARROW} bits",
            holds=lambda self: self.secure_aggregation.ring_bits != NARROW or len(self.participants.datasets) <= MOST_NARROW,
        ),
    )

    rounds: Annotated[int, About("Rounds of training.", minimum=1, maximum=100_000, format="int64", immutable=True)]
    task: Annotated[Task, About("The code to train.", immutable=True)]
    participants: Annotated[Participants, About("Whose data is used.")]
    privacy: Annotated[Privacy, About("What bounds the information that the trained model gives away.", immutable=True)]
    seed: Annotated[
        int,
        About(
            "Seed of initialization, cohorts and shuffling; never of anything private.",
            minimum=0,
            maximum=2**53 - 1,
            format="int64",
            immutable=True,
        ),
    ] = 0
    training: Annotated[Training, About("The client's loop.", immutable=True)] = Training()
    strategy: Annotated[Strategy, About("How updates become the next parameters.", immutable=True)] = Strategy()
    secure_aggregation: Annotated[SecureAggregation, About("What the aggregator can open.", immutable=True)] = SecureAggregation()
    evaluation: Annotated[Evaluation, About("How models are judged.", immutable=True)] = Evaluation()
    initial_model: Annotated[InitialModel | None, About("Parameters to start from; unset makes them from seed.", immutable=True)] = None
    output: Annotated[Output | None, About("Where the trained model goes; unset leaves it in the checkpoint volume.", immutable=True)] = (
        None
    )
    clients: Annotated[Clients, About("Template of the client pods.", immutable=True)] = Clients()
    aggregator: Annotated[Aggregator, About("Template of the aggregator's pod.", immutable=True)] = Aggregator()
    evaluator: Annotated[
        Evaluator, About("Template of the evaluator and of the container that makes the initial model.", immutable=True)
    ] = Evaluator()
    suspend: Annotated[bool, About("Let the job's pods go and keep its checkpoint, until false again.")] = False
    backoff_limit: Annotated[int, About("Failures of the aggregator before the job fails.", minimum=0, maximum=1000)] = 3
    round_deadline_seconds: Annotated[Seconds, About("Time for one round; who is late is dropped from it.", immutable=True)] = 600
    active_deadline_seconds: Annotated[Seconds | None, About("Time for the whole job while it is not suspended; unset means no limit.")] = (
        None
    )
    ttl_seconds_after_finished: Annotated[
        int | None, About("Delete the job so long after its end; unset keeps it.", minimum=0, maximum=10 * 365 * DAY, format="int64")
    ] = None
