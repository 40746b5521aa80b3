"""Volumes of a job's pods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coterie_api.names import FILE_JOB, FILE_ROLE
from coterie_operator.manifests.parts import FILE_AUTHORITY

if TYPE_CHECKING:
    from coterie_api.v1alpha1.types import Source

Json = dict[str, Any]

OWNER_AND_GROUP_READ = 0o440  # the pod's own group reads it: pods run under any uid


def claim_volume(name: str, claim: str, *, read_only: bool = False) -> Json:
    """Return a volume that is a persistent volume claim of the pod's own namespace."""
    source: Json = {"claimName": claim}
    return {"name": name, "persistentVolumeClaim": {**source, "readOnly": True} if read_only else source}


def source_volume(name: str, source: Source) -> Json:
    """Return a read-only volume of a `source` of the API."""
    if source.persistent_volume_claim is not None:
        return claim_volume(name, source.persistent_volume_claim.claim_name, read_only=True)
    if source.image is not None:
        return {"name": name, "image": {"reference": source.image.reference, "pullPolicy": "IfNotPresent"}}
    if source.config_map is not None:
        return {"name": name, "configMap": {"name": source.config_map.name}}
    raise ValueError(f"volume {name}: source names none of persistentVolumeClaim, image and configMap")


def secret_volume(name: str, secret: str, keys: tuple[str, ...]) -> Json:
    """Return a volume with some keys of a Secret of the pod's own namespace."""
    items = [{"key": key, "path": key} for key in keys]
    return {"name": name, "secret": {"secretName": secret, "items": items, "defaultMode": OWNER_AND_GROUP_READ}}


def scratch_volume(name: str) -> Json:
    """Return an empty folder that lives as long as the pod."""
    return {"name": name, "emptyDir": {}}


def config_volume(config_map: str) -> Json:
    """Return the volume of `job.json` and `role.json`."""
    return {"name": "config", "configMap": {"name": config_map, "items": [{"key": key, "path": key} for key in (FILE_JOB, FILE_ROLE)]}}


def authority_volume(config_map: str) -> Json:
    """Return the volume with the authority's certificate alone."""
    return {"name": "tls", "configMap": {"name": config_map, "items": [{"key": FILE_AUTHORITY, "path": FILE_AUTHORITY}]}}
