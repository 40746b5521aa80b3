"""The laws of the `Cluster` port. Each implementation subclasses `ClusterContract` and provides the fixture `cluster`.

Effects that a real cluster's controllers bring about a moment later are awaited with `eventually`.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
from tests.contracts.contract_of_deletion import DeletionContract
from tests.contracts.contract_of_kinds import KindsContract
from tests.contracts.contract_of_objects import ObjectsContract
from tests.contracts.contract_of_watches import WatchContract

from coterie_operator.cluster import NAMESPACE, Cluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class ClusterContract(WatchContract, DeletionContract, KindsContract, ObjectsContract):
    """All of them, each in a new namespace."""

    @pytest.fixture
    async def namespace(self, cluster: Cluster) -> AsyncIterator[str]:
        name = f"contract-{uuid.uuid4().hex[:8]}"
        await cluster.create(NAMESPACE, {"metadata": {"name": name}})
        yield name
        await cluster.delete(NAMESPACE, "", name)
