"""Where files come from: volumes that a pod of the same namespace can mount."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from coterie_api.shape import About, Rule
from coterie_api.v1alpha1.meta import ImageReference, RelativePath, Subdomain


@dataclass(frozen=True, slots=True)
class PersistentVolumeClaimSource:
    """A claim in the same namespace."""

    claim_name: Annotated[Subdomain, About("Name of the PersistentVolumeClaim.")]


@dataclass(frozen=True, slots=True)
class ImageSource:
    """An OCI image or artifact, mounted as a volume."""

    reference: Annotated[ImageReference, About("Reference of the image, best pinned by digest.")]


@dataclass(frozen=True, slots=True)
class ConfigMapSource:
    """A ConfigMap in the same namespace; for small data sets only (at most 1 MiB)."""

    name: Annotated[Subdomain, About("Name of the ConfigMap.")]


@dataclass(frozen=True, slots=True)
class Source:
    """Files to mount read-only: exactly one of the fields is given."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="",
            cel="[has(self.persistentVolumeClaim), has(self.image), has(self.configMap)].filter(x, x).size() == 1",
            message="exactly one of persistentVolumeClaim, image and configMap",
            holds=lambda self: [self.persistent_volume_claim, self.image, self.config_map].count(None) == 2,
        ),
    )

    persistent_volume_claim: Annotated[PersistentVolumeClaimSource | None, About("A PersistentVolumeClaim of the same namespace.")] = None
    image: Annotated[ImageSource | None, About("An OCI image, mounted as a read-only volume.")] = None
    config_map: Annotated[ConfigMapSource | None, About("A ConfigMap of the same namespace.")] = None


@dataclass(frozen=True, slots=True)
class InitialModel:
    """Parameters to start from: a safetensors file, or the model of a finished job of the same namespace."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="",
            cel="has(self.source) != has(self.job)",
            message="exactly one of source and job",
            holds=lambda self: (self.source is None) != (self.job is None),
        ),
    )

    source: Annotated[Source | None, About("Volume that holds the file.")] = None
    path: Annotated[RelativePath, About("Path of the safetensors file in the volume.")] = "model.safetensors"
    job: Annotated[Subdomain | None, About("Name of a finished FederatedJob of the same namespace.")] = None


@dataclass(frozen=True, slots=True)
class Output:
    """Where the trained model goes; without it the model stays in the aggregator's checkpoint volume."""

    persistent_volume_claim: Annotated[PersistentVolumeClaimSource, About("A PersistentVolumeClaim of the job's namespace.")]
    path: Annotated[RelativePath | None, About("Folder in the volume; the job's name if unset.")] = None
