"""The operator's own ServiceAccount, by its token: it owns what the operator makes beside itself, which so goes with the release."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from coterie_operator.cluster import Object

TOKEN: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


def owner_references(token: Path = TOKEN) -> list[Object]:
    """Return an `ownerReferences` that names the account of a mounted token; empty outside of a cluster, where none is mounted.

    The token is read, not verified: whoever could forge it runs the operator already.

    Raises:
        ValueError: the file holds no token of a ServiceAccount.
    """
    try:
        text = token.read_text(encoding="ascii")
    except FileNotFoundError:
        return []
    try:
        payload = text.split(".")[1]
        account = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["kubernetes.io"]["serviceaccount"]
        return [{"apiVersion": "v1", "kind": "ServiceAccount", "name": account["name"], "uid": account["uid"]}]
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{token}: not the token of a ServiceAccount ({type(error).__name__})") from error
