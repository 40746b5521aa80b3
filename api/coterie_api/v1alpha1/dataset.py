"""FederatedDataset: a data owner's pointer to data, consent and limits, and the anchor of client pods in the namespace."""

# ruff: noqa: RUF009  (the defaults are frozen values)

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, ClassVar

from coterie_api.shape import About, Rule
from coterie_api.v1alpha1.conditions import Condition
from coterie_api.v1alpha1.job import DAY, MAX_DATASETS, PrivacyMode
from coterie_api.v1alpha1.meta import Label, Subdomain, Timestamp
from coterie_api.v1alpha1.pods import Resources
from coterie_api.v1alpha1.ring import MOST_CLIP, NARROW, WIDE
from coterie_api.v1alpha1.sources import PersistentVolumeClaimSource, Source

ANY_IMAGE = "*"
Epsilon = Annotated[float, About(above=0, maximum=1000, format="double")]
ImagePattern = Annotated[
    str,
    About(
        pattern=r"^(\*|[a-z0-9][A-Za-z0-9._:/@-]*\*?)$",
        pattern_says="an image reference, its beginning followed by *, or * for any",
        min_length=1,
        max_length=512,
    ),
]


@dataclass(frozen=True, slots=True)
class State:
    """A writable volume for the client's own record of used slots, the tenant's witness against a rolled-back job."""

    persistent_volume_claim: Annotated[PersistentVolumeClaimSource, About("A ReadWriteOncePod claim of the same namespace.")]


class PrivacyUnit(StrEnum):
    """What one neighbor differs by."""

    RECORD = "Record"
    CLIENT = "Client"


@dataclass(frozen=True, slots=True)
class Budget:
    """The privacy domain's limit over all jobs, ever."""

    unit: Annotated[PrivacyUnit, About("Record or Client: what one neighbor differs by.")]
    epsilon: Annotated[Epsilon, About("The most privacy loss over all jobs.")]
    delta: Annotated[float, About("Probability with which the bound may fail.", above=0, below=1, format="double")]


class Metrics(StrEnum):
    """How numbers computed on private data may leave the client."""

    NEVER = "Never"
    NOISY_SUM = "NoisySum"
    EXACT_SUM = "ExactSum"


@dataclass(frozen=True, slots=True)
class Requirements:
    """The least that the owner asks of a job; the client refuses to take part in anything weaker."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="ringBits",
            cel=f"!has(self.ringBits) || self.ringBits in [{NARROW}, {WIDE}]",
            message=f"{NARROW} or {WIDE}",
            holds=lambda self: self.ring_bits in (None, NARROW, WIDE),
        ),
    )

    secure_aggregation: Annotated[bool, About("Whether the aggregator may see sums only.")] = True
    min_clients: Annotated[int, About("Fewest updates in a sum.", minimum=0, maximum=MAX_DATASETS)] = 0
    threshold: Annotated[int, About("Fewest clients that must help to open a sum.", minimum=0, maximum=MAX_DATASETS)] = 0
    colluders: Annotated[
        int,
        About(
            "Fewest tenants that may collude with the aggregator without learning this one's update.", minimum=0, maximum=MAX_DATASETS - 2
        ),
    ] = 0
    ring_bits: Annotated[
        int | None, About("Narrowest ring, 16 or 32 bits for a value in a sum; unset allows both.", minimum=NARROW, maximum=WIDE)
    ] = None
    scale: Annotated[
        int | None,
        About("Finest rounding of an update: at most so many steps per 1.0; unset allows any.", minimum=1, maximum=2**31 - 1),
    ] = None
    clip: Annotated[
        float | None,
        About(
            "Largest magnitude of one of this client's coordinates in a sum; unset allows any.", above=0, maximum=MOST_CLIP, format="double"
        ),
    ] = None
    modes: Annotated[
        tuple[PrivacyMode, ...], About("Privacy modes that are allowed; none listed allows every mode.", max_items=4, unique=True)
    ] = ()
    metrics: Annotated[Metrics, About("Never, NoisySum or ExactSum: how numbers computed on this data may leave.")] = Metrics.NEVER


@dataclass(frozen=True, slots=True)
class GrantedJobs:
    """Which jobs a grant is for."""

    namespaces: Annotated[tuple[Label, ...], About("Namespaces whose jobs may use the data.", min_items=1, max_items=64, unique=True)]


@dataclass(frozen=True, slots=True)
class Grant:
    """A consent: which jobs may run which images on the data."""

    jobs: Annotated[GrantedJobs, About("Which jobs may use the data.")]
    images: Annotated[
        tuple[ImagePattern, ...],
        About(
            "Images that may run on the data: exact references, prefixes that end in *, or * for any.",
            min_items=1,
            max_items=64,
            unique=True,
        ),
    ]
    max_epsilon_per_job: Annotated[Epsilon | None, About("The most privacy loss of one job, at the domain's delta.")] = None
    expires: Annotated[Timestamp | None, About("When the grant ends.")] = None

    def covers(self, job_namespace: str, image: str) -> bool:
        """Return whether a job of that namespace may run that image; an expiry is not looked at."""
        return job_namespace in self.jobs.namespaces and any(_matches(pattern, image) for pattern in self.images)


@dataclass(frozen=True, slots=True)
class Identity:
    """The tenant's Ed25519 key pair, made by `coterie keygen`; the private half never leaves the namespace."""

    public_key: Annotated[
        str,
        About(
            "The public half: 32 bytes, base64. Without it the data set takes part in no job.",
            pattern=r"^([A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=)?$",
            pattern_says="32 bytes in base64",
            max_length=44,
        ),
    ] = ""
    secret_name: Annotated[Subdomain, About("Secret of this namespace that holds the private half as private.pem.")] = "coterie-identity"  # noqa: S105  (a name, not a secret)


@dataclass(frozen=True, slots=True)
class Toleration:
    """As in Kubernetes."""

    key: Annotated[str, About("Taint key; empty matches all keys with operator Exists.", max_length=316)] = ""
    operator: Annotated[str, About("Exists or Equal.", pattern=r"^(Exists|Equal)$", pattern_says="Exists or Equal", max_length=8)] = "Equal"
    value: Annotated[str, About("Taint value.", max_length=63)] = ""
    effect: Annotated[
        str,
        About(
            "Taint effect; empty matches all.",
            pattern=r"^(|NoSchedule|PreferNoSchedule|NoExecute)$",
            pattern_says="NoSchedule, PreferNoSchedule or NoExecute",
            max_length=16,
        ),
    ] = ""
    toleration_seconds: Annotated[
        int | None, About("How long a NoExecute taint is tolerated.", minimum=0, maximum=10 * 365 * DAY, format="int64")
    ] = None


@dataclass(frozen=True, slots=True)
class LocalObjectReference:
    """The name of an object of the same namespace."""

    name: Annotated[Subdomain, About("Name of the object.")]


@dataclass(frozen=True, slots=True)
class PodSettings:
    """The owner's last word over the client pods on this data."""

    service_account_name: Annotated[Subdomain | None, About("ServiceAccount of the client pods; its token is never mounted.")] = None
    queue_name: Annotated[Label | None, About("Kueue LocalQueue that admits the client Jobs.")] = None
    node_selector: Annotated[
        Mapping[str, Annotated[str, About(max_length=63)]], About("Labels of the nodes that may run client pods.", max_properties=16)
    ] = field(default_factory=dict)
    tolerations: Annotated[tuple[Toleration, ...], About("Taints that client pods tolerate.", max_items=16)] = ()
    priority_class_name: Annotated[Subdomain | None, About("PriorityClass of the client pods.")] = None
    image_pull_secrets: Annotated[
        tuple[LocalObjectReference, ...], About("Secrets of this namespace for pulling images.", max_items=8, keys=("name",))
    ] = ()
    resources: Annotated[Resources, About("Compute resources; each entry takes the place of the job's.")] = Resources()


@dataclass(frozen=True, slots=True)
class FederatedDatasetSpec:
    """What the data's owner says."""

    source: Annotated[Source, About("The data, mounted read-only at /data.")]
    identity: Annotated[Identity, About("The tenant's key pair, made by `coterie keygen`.")] = Identity()
    state: Annotated[State | None, About("Volume for the client's own record of used slots; required with a budget.")] = None
    declared_records: Annotated[
        int | None, About("Number of records that the owner makes public, rounded.", minimum=1, maximum=2**53 - 1, format="int64")
    ] = None
    privacy_domain: Annotated[
        Label | None, About("With the namespace, the key of the privacy ledger; outlives the object, and several data sets may share it.")
    ] = None
    budget: Annotated[Budget | None, About("The domain's limit over all jobs.")] = None
    requirements: Annotated[Requirements, About("The least that the owner asks of a job.")] = Requirements()
    grants: Annotated[tuple[Grant, ...], About("Which jobs may use the data; none by default.", max_items=64)] = ()
    pod: Annotated[PodSettings, About("The owner's last word over the client pods.")] = PodSettings()
    max_concurrent_jobs: Annotated[
        int | None, About("Jobs that may use the data at one time; unset means any number.", minimum=1, maximum=1000)
    ] = None

    def grants_to(self, job_namespace: str, image: str) -> bool:
        """Return whether any grant lets a job of that namespace run that image on the data."""
        return any(grant.covers(job_namespace, image) for grant in self.grants)


@dataclass(frozen=True, slots=True)
class FederatedDatasetStatus:
    """What the operator tells about the data set."""

    observed_generation: Annotated[int, About("Generation of the spec that this status is about.", minimum=0, format="int64")] = 0
    conditions: Annotated[tuple[Condition, ...], About("The contract for machines: Accepted.", max_items=8, keys=("type",))] = ()
    active_jobs: Annotated[int, About("Jobs that use the data now.", minimum=0)] = 0


def _matches(pattern: str, image: str) -> bool:
    return image.startswith(pattern[:-1]) if pattern.endswith("*") else image == pattern
