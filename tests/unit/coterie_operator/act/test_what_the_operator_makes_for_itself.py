"""What the operator makes in its own namespace belongs to its account, so that nothing is left when the release is removed."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.coterie_operator import builders

from coterie_operator.account import owner_references
from coterie_operator.act import ensure_authority
from coterie_operator.cluster import NotFound
from coterie_operator.leader import Candidate, Elector
from coterie_operator.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from coterie_operator.cluster import Kind

OWNER = {"apiVersion": "v1", "kind": "ServiceAccount", "name": "coterie", "uid": "7d9e"}


def token(payload: Any) -> str:
    """Return a token as the API server makes them, unpadded and unsigned."""
    parts = (json.dumps({"alg": "ES256"}), json.dumps(payload), "signature")
    return ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    return tmp_path / "token"


@pytest.mark.parametrize("filler", ["", "a", "ab", "abc"])  # every length of padding
def test_the_account_is_read_from_the_mounted_token(mounted: Path, filler: str) -> None:
    mounted.write_text(token({"sub": filler, "kubernetes.io": {"serviceaccount": {"name": "coterie", "uid": "7d9e"}}}))

    assert owner_references(mounted) == [OWNER]


def test_outside_of_a_cluster_nothing_is_owned(mounted: Path) -> None:
    assert owner_references(mounted) == []


@pytest.mark.parametrize(
    "text",
    ["", "one", "a.b.c", token([]), token({}), token({"kubernetes.io": {}}), token({"kubernetes.io": {"serviceaccount": {"name": "x"}}})],
)
def test_what_is_no_token_of_an_account_is_refused_without_being_shown(mounted: Path, text: str) -> None:
    mounted.write_text(text)

    with pytest.raises(ValueError, match="not the token of a ServiceAccount") as caught:
        owner_references(mounted)
    assert len(text) < 2 or text not in str(caught.value)


class Empty:
    """A cluster in which nothing is found; it notes what is created."""

    def __init__(self) -> None:
        self.created: list[Any] = []

    async def get(self, kind: Kind, namespace: str, name: str) -> Any:
        raise NotFound(f"{kind.plural} {namespace}/{name}")

    async def create(self, kind: Kind, obj: Any) -> Any:
        self.created.append(obj)
        return obj


async def test_the_authority_goes_with_the_account() -> None:
    cluster: Any = Empty()
    await ensure_authority(cluster, Settings(), builders.START, [OWNER])

    assert [each["metadata"]["ownerReferences"] for each in cluster.created] == [[OWNER]]


async def test_the_lease_goes_with_the_account() -> None:
    cluster: Any = Empty()
    has_begun = asyncio.Event()

    async def work() -> None:
        has_begun.set()

    await asyncio.gather(Elector(cluster, Candidate("coterie-system", "coterie-operator", "a", [OWNER])).lead(work), has_begun.wait())

    assert [each["metadata"]["ownerReferences"] for each in cluster.created] == [[OWNER]]
