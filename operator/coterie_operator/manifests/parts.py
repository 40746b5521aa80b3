"""What all builders of a job's children are given, and the files that its pods read."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

from coterie_api.fields import canonical
from coterie_api.names import ANNOTATION_SPEC_HASH, FILE_JOB, FILE_ROLE
from coterie_api.podconfig import Aggregation, AggregatorRole, ClientRole, JobConfig, Role, RosterEntry
from coterie_api.v1alpha1.types import FederatedJobSpec, Frozen, Strategy
from coterie_operator.manifests.naming import JobKey, child_name, service_dns
from coterie_operator.settings import Settings

Json = dict[str, Any]

FILE_AUTHORITY = "ca.crt"
PATH_INITIAL_MODEL = "/initial-model"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a job runs."""

    settings: Settings
    authority: str  # certificate of the operator's authority, PEM


@dataclass(frozen=True, slots=True)
class Parts:
    """A started job: who it is, what it asks for, what it froze, and where it runs."""

    key: JobKey
    spec: FederatedJobSpec
    frozen: Frozen
    job_json: bytes  # the same in every pod; made once, since it names every tenant
    settings: Settings
    authority: str  # certificate of the operator's authority, PEM

    @property
    def service(self) -> str:
        """Name of the aggregator's Service."""
        return child_name(self.key, Role.AGGREGATOR)

    @property
    def aggregator_dns(self) -> str:
        """The name that clients dial and verify."""
        return service_dns(self.service, self.key.namespace)

    @property
    def worker_image(self) -> str:
        """Image of `initialize` and of the evaluator."""
        return self.spec.evaluator.image or self.frozen.worker_image


def job_config(job: JobKey, spec: FederatedJobSpec, frozen: Frozen, aggregation: Aggregation) -> JobConfig:
    """Return `job.json` as a value: the job as every pod of it sees it."""
    roster = tuple(RosterEntry(entry.namespace, entry.name, entry.public_key) for entry in frozen.datasets)
    model = spec.initial_model
    return JobConfig(
        job_uid=job.uid,
        job_namespace=job.namespace,
        job_name=job.name,
        rounds=spec.rounds,
        seed=spec.seed,
        task=spec.task,
        training=spec.training,
        strategy=_strategy(spec, len(roster)),
        aggregation=aggregation,
        roster=roster,
        min_clients=spec.participants.min_clients or aggregation.min_survivors,
        round_deadline_seconds=spec.round_deadline_seconds,
        assembly_deadline_seconds=spec.participants.assembly_deadline_seconds,
        evaluation=spec.evaluation,
        privacy_mode=spec.privacy.mode.value,
        initial_model=f"{PATH_INITIAL_MODEL}/{model.path}" if model is not None and model.source is not None else "",
    )


def _strategy(spec: FederatedJobSpec, members: int) -> Strategy:
    """Return the strategy for a roster that may lack some of the data sets that the job names: no more can be asked than there are."""
    cohort = spec.strategy.cohort_size
    return spec.strategy if cohort is None else replace(spec.strategy, cohort_size=min(cohort, members))


def spec_hash(config: JobConfig) -> str:
    """Return the SHA-256 of `job.json` in hexadecimal, which every signature of the job's sessions covers."""
    return hashlib.sha256(canonical(config)).hexdigest()


def parts(key: JobKey, spec: FederatedJobSpec, frozen: Frozen, aggregation: Aggregation, place: Place) -> Parts:
    """Return what the builders need."""
    config = job_config(key, spec, frozen, aggregation)
    return Parts(key, spec, frozen, canonical(config), place.settings, place.authority)


def config_map(parts: Parts, meta: Json, role: ClientRole | AggregatorRole) -> Json:
    """Return the immutable ConfigMap with `job.json`, `role.json` and the authority's certificate."""
    data = {FILE_JOB: parts.job_json.decode(), FILE_ROLE: canonical(role).decode(), FILE_AUTHORITY: parts.authority}
    annotated = {**meta, "annotations": {ANNOTATION_SPEC_HASH: hashlib.sha256(parts.job_json).hexdigest()}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": annotated, "immutable": True, "data": data}
