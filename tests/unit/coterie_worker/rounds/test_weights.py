from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie_api.v1alpha1.training import Strategy, Weighting
from coterie_worker.rounds import norm, to_mean, update_weight
from coterie_worker.rounds.chunks import CHUNK, chunks

BY_EXAMPLES = Strategy(weighting=Weighting.EXAMPLES, weight_cap=8192)


@given(st.integers(1, 10**9))
def test_uniform_weights_do_not_tell_examples(examples):
    assert update_weight(Strategy(), examples) == 1.0


@pytest.mark.parametrize(("examples", "expected"), [(8192, 1.0), (10**9, 1.0), (4096, 0.5), (1, 8 / 65536), (3, 24 / 65536)])
def test_examples_count_up_to_the_cap(examples, expected):
    assert expected == update_weight(BY_EXAMPLES, examples)


@given(st.integers(1, 2**31 - 1), st.integers(1, 2**31 - 1))
def test_a_weight_is_a_multiple_of_the_coordinates_unit_in_zero_to_one(examples, cap):
    weight = update_weight(Strategy(weighting=Weighting.EXAMPLES, weight_cap=cap), examples)

    assert 0 < weight <= 1
    assert (weight * 65536).is_integer()


def test_one_example_under_a_huge_cap_still_counts():
    assert update_weight(Strategy(weighting=Weighting.EXAMPLES, weight_cap=2**31 - 1), 1) == 1 / 65536


@pytest.mark.parametrize("examples", [0, -1])
@pytest.mark.parametrize("strategy", [Strategy(), BY_EXAMPLES], ids=["uniform", "by examples"])
def test_no_examples_have_no_weight(strategy, examples):
    with pytest.raises(ValueError, match=f"examples is {examples}, must be at least 1"):
        update_weight(strategy, examples)


@given(st.lists(st.tuples(st.integers(1, 20000), st.floats(-100, 100, width=32)), min_size=1, max_size=8))
def test_the_mean_is_the_weighted_mean(clients):
    weights = [update_weight(BY_EXAMPLES, examples) for examples, _ in clients]
    total = np.array([sum(w * x for w, (_, x) in zip(weights, clients, strict=True))], dtype=np.float32)

    mean = to_mean(total, sum(weights))

    assert mean is total
    assert np.average([x for _, x in clients], weights=weights) == pytest.approx(float(mean[0]), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("weight", [0.0, -1.0, math.nan, math.inf])
def test_there_is_no_mean_of_nothing(weight):
    total = np.ones(3, dtype=np.float32)

    with pytest.raises(ValueError, match="must be finite and above 0"):
        to_mean(total, weight)

    assert total.tolist() == [1, 1, 1]


def test_mean_and_norm_need_no_second_vector():
    total = np.full(40 * CHUNK + 1, 3.0, dtype=np.float32)
    tracemalloc.start()

    assert norm(to_mean(total, 3)) == pytest.approx(math.sqrt(total.size))

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < total.nbytes / 8


def test_a_norm_does_not_lose_small_parts_beside_a_large_one():
    vector = np.full(10**6, 1e-3, dtype=np.float32)
    vector[0] = 1e3

    assert math.sqrt(1e6 + (10**6 - 1) * float(np.float32(1e-3)) ** 2) == pytest.approx(norm(vector), rel=1e-12)


@given(st.integers(0, 50), st.integers(1, 20))
def test_chunks_cover_a_vector_once(length, size):
    assert [i for part in chunks(length, size) for i in range(part.start, part.stop)] == list(range(length))
