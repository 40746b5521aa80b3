"""The part of a pod that a job's author may choose; a data set's owner has the last word over client pods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, ClassVar

from coterie_api.shape import About, Rule
from coterie_api.v1alpha1.meta import ImageReference, Subdomain

Quantity = Annotated[
    str,
    About(
        pattern=r"^[0-9]+(\.[0-9]{1,9})?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|e[0-9]{1,2})?$",
        pattern_says="a quantity such as 500m, 2 or 4Gi",
        max_length=32,
        int_or_string=True,
    ),
]
RESERVED_PREFIX = "COTERIE_"
MAX_ENV = 64


@dataclass(frozen=True, slots=True)
class Resources:
    """Compute resources of one container, as in Kubernetes."""

    requests: Annotated[Mapping[str, Quantity], About("What the scheduler sets aside, by resource name.", max_properties=16)] = field(
        default_factory=dict
    )
    limits: Annotated[Mapping[str, Quantity], About("What the container may use at most, by resource name.", max_properties=16)] = field(
        default_factory=dict
    )


@dataclass(frozen=True, slots=True)
class EnvVar:
    """One environment variable; values only, never references to Secrets."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="name",
            cel="!self.name.startsWith('COTERIE_')",
            message="a name that does not begin with COTERIE_, which is reserved",
            holds=lambda self: not self.name.startswith(RESERVED_PREFIX),
        ),
    )

    name: Annotated[
        str,
        About(
            "Name of the variable.",
            pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
            pattern_says="letters, digits and '_'",
            min_length=1,
            max_length=128,
        ),
    ]
    value: Annotated[str, About("Value of the variable.", max_length=4096)] = ""


Environment = Annotated[tuple[EnvVar, ...], About("Environment variables of the task's code.", max_items=MAX_ENV, keys=("name",))]


@dataclass(frozen=True, slots=True)
class Clients:
    """Template of the client pods, in the tenants' namespaces."""

    image: Annotated[ImageReference | None, About("Worker image with the task's code; the operator's default worker image if unset.")] = (
        None
    )
    resources: Annotated[Resources, About("Compute resources of the container.")] = Resources()
    env: Environment = ()


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Template of the evaluator and of the container that makes the initial model, in the job's namespace."""

    image: Annotated[ImageReference | None, About("Worker image with the task's code; the clients' image if unset.")] = None
    resources: Annotated[Resources, About("Compute resources of the container.")] = Resources()
    env: Environment = ()


class ExposureType(StrEnum):
    """How clients reach the aggregator."""

    CLUSTER_IP = "ClusterIP"
    LOAD_BALANCER = "LoadBalancer"


@dataclass(frozen=True, slots=True)
class Exposure:
    """The Service in front of the aggregator."""

    type: Annotated[ExposureType, About("ClusterIP for tenants of this cluster, LoadBalancer for those of others.")] = (
        ExposureType.CLUSTER_IP
    )


@dataclass(frozen=True, slots=True)
class Storage:
    """The aggregator's checkpoint volume."""

    size: Annotated[Quantity, About("Size of the volume: about ten times the model.")] = "1Gi"
    storage_class_name: Annotated[Subdomain | None, About("StorageClass of the volume; the cluster's default if unset.")] = None


@dataclass(frozen=True, slots=True)
class Aggregator:
    """Template of the aggregator's pod, in the job's namespace."""

    image: Annotated[ImageReference | None, About("Operator image; that of the running operator if unset.")] = None
    storage: Annotated[Storage, About("The checkpoint volume.")] = Storage()
    resources: Annotated[Resources, About("Compute resources of the container.")] = Resources()
    exposure: Annotated[Exposure, About("The Service that clients dial.")] = Exposure()
