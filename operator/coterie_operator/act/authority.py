"""The operator's certificate authority, kept in a Secret of the operator's own namespace: the only Secret that it ever reads."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from coterie_api.names import SECRET_TYPE_TLS
from coterie_operator.cluster import SECRET, AlreadyExists, Cluster, NotFound, Object
from coterie_operator.manifests.naming import LABEL_NAME, LABEL_PART_OF
from coterie_operator.pki import Authority

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from coterie_operator.settings import Settings


async def ensure_authority(cluster: Cluster, settings: Settings, now: datetime, owners: Sequence[Object] = ()) -> Authority:
    """Return the authority, made at the first start, its Secret owned by `owners`. Of several replicas that make one, the first wins.

    Raises:
        ValueError: the Secret is there and does not hold an authority.
    """
    try:
        return _load(await cluster.get(SECRET, settings.namespace, settings.authority_secret))
    except NotFound:
        made = Authority.create(now)
    try:
        await cluster.create(SECRET, _secret(settings, made, owners))
    except AlreadyExists:
        return _load(await cluster.get(SECRET, settings.namespace, settings.authority_secret))
    return made


def secret_data(entries: dict[str, bytes]) -> dict[str, str]:
    """Return the `data` of a Secret."""
    return {key: base64.b64encode(value).decode() for key, value in entries.items()}


def _secret(settings: Settings, authority: Authority, owners: Sequence[Object]) -> Object:
    labels = {LABEL_NAME: "coterie", LABEL_PART_OF: "coterie"}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": settings.authority_secret,
            "namespace": settings.namespace,
            "labels": labels,
            "ownerReferences": list(owners),
        },
        "type": SECRET_TYPE_TLS,
        "immutable": True,
        "data": secret_data({"tls.crt": authority.certificate, "tls.key": authority.key}),
    }


def _load(raw: Object) -> Authority:
    data = raw.get("data") or {}
    missing = [key for key in ("tls.crt", "tls.key") if key not in data]
    if missing:
        meta = raw["metadata"]
        raise ValueError(
            f"Secret {meta['namespace']}/{meta['name']}: data: {', '.join(missing)} missing; delete it to have a new authority made"
        )
    return Authority.load(base64.b64decode(data["tls.crt"]), base64.b64decode(data["tls.key"]))
