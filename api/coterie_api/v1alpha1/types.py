"""The kinds of `coterie.dev/v1alpha1` as frozen values, and the names of everything they are made of."""

# ruff: noqa: RUF009  (the defaults are frozen values)

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, ClassVar

from coterie_api.names import API_VERSION
from coterie_api.shape import About, Rule
from coterie_api.v1alpha1.conditions import Condition, ConditionStatus, ConditionType, DatasetConditionType, Reason
from coterie_api.v1alpha1.dataset import (
    ANY_IMAGE,
    Budget,
    FederatedDatasetSpec,
    FederatedDatasetStatus,
    Grant,
    GrantedJobs,
    Identity,
    LocalObjectReference,
    Metrics,
    PodSettings,
    PrivacyUnit,
    Requirements,
    State,
    Toleration,
)
from coterie_api.v1alpha1.job import (
    DatasetRef,
    Evaluation,
    FederatedEvaluation,
    FederatedJobSpec,
    Participants,
    Privacy,
    PrivacyMode,
    Protocol,
    PublicEvaluation,
    SecureAggregation,
    SelectBy,
)
from coterie_api.v1alpha1.job_status import (
    Attempts,
    DropStatus,
    FederatedJobStatus,
    Frozen,
    FrozenDataset,
    JobState,
    PrivacyStatus,
    SecureAggregationStatus,
    TenantState,
    TenantStatus,
)
from coterie_api.v1alpha1.meta import DNS_1035_LABEL, DNS_LABEL, MAX_JOB_NAME, ObjectMeta
from coterie_api.v1alpha1.pods import Aggregator, Clients, EnvVar, Evaluator, Exposure, ExposureType, Resources, Storage
from coterie_api.v1alpha1.sources import ConfigMapSource, ImageSource, InitialModel, Output, PersistentVolumeClaimSource, Source
from coterie_api.v1alpha1.training import (
    Optimizer,
    OptimizerName,
    Precision,
    Schedule,
    ScheduleName,
    Strategy,
    StrategyName,
    Task,
    Training,
    Weighting,
)

__all__ = [
    "ANY_IMAGE",
    "Aggregator",
    "Attempts",
    "Budget",
    "Clients",
    "Condition",
    "ConditionStatus",
    "ConditionType",
    "ConfigMapSource",
    "DatasetConditionType",
    "DatasetRef",
    "DropStatus",
    "EnvVar",
    "Evaluation",
    "Evaluator",
    "Exposure",
    "ExposureType",
    "FederatedDataset",
    "FederatedDatasetSpec",
    "FederatedDatasetStatus",
    "FederatedEvaluation",
    "FederatedJob",
    "FederatedJobSpec",
    "FederatedJobStatus",
    "Frozen",
    "FrozenDataset",
    "Grant",
    "GrantedJobs",
    "Identity",
    "ImageSource",
    "InitialModel",
    "JobState",
    "LocalObjectReference",
    "Metrics",
    "ObjectMeta",
    "Optimizer",
    "OptimizerName",
    "Output",
    "Participants",
    "PersistentVolumeClaimSource",
    "PodSettings",
    "Precision",
    "Privacy",
    "PrivacyMode",
    "PrivacyStatus",
    "PrivacyUnit",
    "Protocol",
    "PublicEvaluation",
    "Reason",
    "Requirements",
    "Resources",
    "Schedule",
    "ScheduleName",
    "SecureAggregation",
    "SecureAggregationStatus",
    "SelectBy",
    "Source",
    "State",
    "Storage",
    "Strategy",
    "StrategyName",
    "Task",
    "TenantState",
    "TenantStatus",
    "Toleration",
    "Training",
    "Weighting",
]

ApiVersion = Annotated[str, About("Version of the API.", pattern=f"^{re.escape(API_VERSION)}$", pattern_says=API_VERSION)]


def _name_rules(pattern: str, longest: int, says: str) -> tuple[Rule, ...]:
    """Names become labels and the beginnings of other names: shorter than Kubernetes allows."""
    return (
        Rule(
            field="metadata.name",
            cel=f"size(self.metadata.name) <= {longest} && self.metadata.name.matches('{pattern}')",
            message=f"{says}, at most {longest} characters",
            holds=lambda self: len(self.metadata.name) <= longest and re.fullmatch(pattern, self.metadata.name) is not None,
        ),
    )


@dataclass(frozen=True, slots=True)
class FederatedJob:
    """A model to train over several tenants' data, in rounds, without moving the data."""

    RULES: ClassVar[tuple[Rule, ...]] = _name_rules(
        DNS_1035_LABEL, MAX_JOB_NAME, "a letter, then lower case letters, digits and '-', the last one no '-'"
    )

    metadata: Annotated[ObjectMeta, About("Metadata as in Kubernetes.")]
    spec: Annotated[FederatedJobSpec, About("What the job's author asks for.")]
    status: Annotated[FederatedJobStatus, About("What the operator tells about the job.")] = FederatedJobStatus()
    api_version: ApiVersion = API_VERSION
    kind: Annotated[str, About("FederatedJob.", pattern="^FederatedJob$", pattern_says="FederatedJob")] = "FederatedJob"


@dataclass(frozen=True, slots=True)
class FederatedDataset:
    """A tenant's data set: pointer to the data, consent, limits, and owner of the client pods on it."""

    RULES: ClassVar[tuple[Rule, ...]] = _name_rules(DNS_LABEL, 63, "lower case letters, digits and '-' between them")

    metadata: Annotated[ObjectMeta, About("Metadata as in Kubernetes.")]
    spec: Annotated[FederatedDatasetSpec, About("What the data's owner says.")]
    status: Annotated[FederatedDatasetStatus, About("What the operator tells about the data set.")] = FederatedDatasetStatus()
    api_version: ApiVersion = API_VERSION
    kind: Annotated[str, About("FederatedDataset.", pattern="^FederatedDataset$", pattern_says="FederatedDataset")] = "FederatedDataset"
