"""A thousand real clients in one process: a Harary graph, drops, one exact sum."""

from __future__ import annotations

import os
from functools import lru_cache

import numpy as np
import pytest
from tests.unit.coterie_worker.secagg.simulation import World, parameters_for, plain_sum

from coterie_worker.secagg import adverts, consistency, keys, server
from coterie_worker.secagg.graph import Degree, degree_for

CLIENTS = 1000
COLLUDERS = 100


@pytest.mark.slow
@pytest.mark.skipif("COTERIE_SLOW" not in os.environ, reason="takes minutes; `make test-slow` runs it")
@pytest.mark.timeout(1200)
def test_a_thousand_clients_open_an_exact_sum_although_fifty_drop(monkeypatch: pytest.MonkeyPatch) -> None:
    # All clients verify the same signatures. Verification is a function, so in one process each is computed once.
    once = lru_cache(maxsize=None)(keys.verify)
    for module in (adverts, consistency, server):
        monkeypatch.setattr(module, "verify", once)
    world = World(parameters_for(CLIENTS, colluders=COLLUDERS, slots=1)).set_up().open()
    assert degree_for(CLIENTS, COLLUDERS) == Degree(96, 67)
    assert len(world.clients[0]._held[0]) == 97
    world.lose(range(0, CLIENTS, 20))
    total = world.upload().finish()

    assert len(total.survivors) == CLIENTS - CLIENTS // 20
    assert np.array_equal(total.sum, plain_sum(total.survivors))
