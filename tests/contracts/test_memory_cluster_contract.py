from __future__ import annotations

import pytest
from tests.contracts.cluster_contract import ClusterContract

from coterie_operator.local.memory import MemoryCluster


class TestMemoryCluster(ClusterContract):
    @pytest.fixture
    def cluster(self) -> MemoryCluster:
        return MemoryCluster()
