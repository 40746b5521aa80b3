"""What the operator writes into a pod's files, and the pod reads: `job.json` and `role.json`.

`job.json` is the same, byte for byte, in every pod of a job (canonical JSON by `fields.canonical`); its SHA-256 is the
`spec_hash` that every signature of the secure-aggregation session covers. What differs between pods is in `role.json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

from coterie_api.shape import About
from coterie_api.v1alpha1.job import MAX_DATASETS
from coterie_api.v1alpha1.types import Evaluation, Strategy, Task, Training

Limit = Annotated[int, About(minimum=0)]


class Role(StrEnum):
    """What a pod does; the subcommand of `python -m coterie_worker`."""

    INITIALIZE = "initialize"
    AGGREGATOR = "aggregator"
    CLIENT = "client"
    EVALUATOR = "evaluator"


@dataclass(frozen=True, slots=True)
class RosterEntry:
    """One tenant of the job; its position in the roster is its index in the protocol."""

    namespace: str
    dataset: str
    public_key: str  # Ed25519, 32 bytes, base64

    @property
    def client(self) -> str:
        """`namespace/dataset`, the name of this client for people."""
        return f"{self.namespace}/{self.dataset}"


@dataclass(frozen=True, slots=True)
class Aggregation:
    """Parameters of secure aggregation, derived by the operator and checked by each client against its own policy."""

    protocol: str  # SecAggPlus | None
    threshold: int  # Shamir t
    colluders: int  # c
    min_survivors: int  # n_eff
    ring_bits: int = 32
    scale: int = 65536
    slots_per_epoch: int = 8


@dataclass(frozen=True, slots=True)
class JobConfig:
    """The job, frozen at its start, as every pod of it sees it."""

    job_uid: str
    job_namespace: str
    job_name: str
    rounds: int
    seed: int
    task: Task
    training: Training
    strategy: Strategy
    aggregation: Aggregation
    roster: tuple[RosterEntry, ...]  # sorted by (namespace, dataset)
    min_clients: int
    round_deadline_seconds: int
    assembly_deadline_seconds: int
    evaluation: Evaluation
    privacy_mode: str = "None"
    initial_model: str = ""  # empty, or the mount path of a safetensors file that `initialize` checks against the layout


@dataclass(frozen=True, slots=True)
class TenantPolicy:
    """The least that a tenant asks of a job; the client refuses to take part in anything weaker. A limit of 0 allows everything.

    There may be two of them. The operator writes one into `role.json`, from the data set's requirements; the tenant may pin
    another one in the file of its private key (`pinned`), which no operator can take away. Both must allow the job.
    """

    secure_aggregation: bool = True
    min_clients: Limit = 0
    threshold: Limit = 0
    colluders: Limit = 0  # fewest clients that may side with the aggregator without harm
    ring_bits: Limit = 0  # narrowest ring
    scale: Limit = 0  # most ring units per 1.0, i.e. how finely an update is told
    clip: Annotated[float, About(minimum=0)] = 0  # largest magnitude of one of this client's coordinates in a sum
    # Namespace -> public key (base64) of the only tenants that may be in the roster; none listed allows any.
    members: Annotated[Mapping[str, str], About(max_properties=MAX_DATASETS)] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ClientRole:
    """`role.json` of a client."""

    index: int  # in the roster
    aggregator: str  # DNS name of the aggregator's Service
    policy: TenantPolicy
    has_state: bool  # whether PATH_STATE is a volume that outlives the pod


@dataclass(frozen=True, slots=True)
class AggregatorRole:
    """`role.json` of the aggregator, of `initialize` and of the evaluator."""

    output_path: str  # below PATH_OUTPUT
    has_output: bool
    has_evaluator: bool
