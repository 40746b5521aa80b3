from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.contracts.cluster_contract import ClusterContract

if TYPE_CHECKING:
    from coterie_operator.kube import KubeCluster


class TestKubeCluster(ClusterContract):
    @pytest.fixture
    def cluster(self, admin: KubeCluster) -> KubeCluster:
        return admin
