"""What the aggregator receives looks uniform, and the same test sees the update when a mask is left out.

Pearson's chi-squared over 256 bins of each of the four bytes of d = 65,536 words. Entropy is seeded, so a run either always
passes or always fails; over the choice of the seed the false-alarm probability of each test is below 1e-9 (the 1 - 1e-9
quantile of chi-squared with 255 degrees of freedom is 402.6 by the Wilson-Hilferty approximation, 405 is used).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from tests.unit.coterie_worker.secagg.simulation import World, model_of, parameters_for

from coterie_worker.secagg import client
from coterie_worker.secagg.masks import Masks, take_masks

if TYPE_CHECKING:
    import pytest

D = 65_536
QUANTILE = 405.0


def chi_squared(words: np.ndarray[Any, np.dtype[np.uint32]]) -> float:
    counts = [np.bincount(part, minlength=256) for part in words.view(np.uint8).reshape(-1, 4).T]
    expected = len(words) / 256
    return max(float(((count - expected) ** 2).sum() / expected) for count in counts)


def masked_vectors(n: int = 4) -> list[np.ndarray[Any, np.dtype[np.uint32]]]:
    world = World(parameters_for(n, slots=1)).set_up().open(length=D)
    vectors = []
    for i in range(n):
        world.clients[i].check_model(model_of(0))
        vectors.append(world.clients[i].mask(np.full(D, 1000 + i, np.uint32))[0])
    return vectors


def test_masked_vectors_look_uniform() -> None:
    vectors = masked_vectors()
    for i, vector in enumerate(vectors):
        assert chi_squared(vector) < QUANTILE
        for other in vectors[:i]:
            assert chi_squared(vector - other) < QUANTILE
    partial = vectors[0] + vectors[1] + vectors[2]

    assert chi_squared(partial) < QUANTILE


def test_the_test_fails_where_masks_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "take_masks", lambda *_: Masks([], [], 32))

    assert all(chi_squared(vector) > QUANTILE for vector in masked_vectors())


def test_the_test_fails_where_only_pairwise_masks_are_left_and_all_vectors_are_added(monkeypatch: pytest.MonkeyPatch) -> None:
    """Self masks keep even the sum of all closed until it is unmasked; without them it is open as soon as it is complete."""
    whole = sum(masked_vectors(), np.zeros(D, np.uint32))
    monkeypatch.setattr(client, "take_masks", lambda plus, minus, bits: take_masks(plus[1:], minus, bits))
    without = sum(masked_vectors(), np.zeros(D, np.uint32))

    assert chi_squared(whole) < QUANTILE
    assert chi_squared(without) > QUANTILE
    assert (without == 4006).all()
