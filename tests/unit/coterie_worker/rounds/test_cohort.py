from __future__ import annotations

import hashlib
import math
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie_worker.rounds import cohort

populations = st.frozensets(st.integers(0, 999), max_size=30)
seeds = st.integers(-(2**63), 2**63 - 1)


def by_hand(seed, round_index, population, size):
    """A second reading: the `size` clients with the least hashes."""
    ranks = {}
    for client in population:
        message = b"coterie/v1/cohort" + seed.to_bytes(8, "big", signed=True) + round_index.to_bytes(8, "big") + client.to_bytes(8, "big")
        ranks[hashlib.sha256(message).hexdigest()] = client
    return {ranks[rank] for rank in sorted(ranks)[:size]}


def test_the_whole_population_is_asked_by_default():
    assert frozenset({3, 1, 4}) == cohort(7, 0, [3, 1, 4])


def test_a_size_above_the_population_asks_all():
    assert frozenset({3, 1}) == cohort(7, 0, [3, 1], 5)


def test_nobody_is_asked_of_nobody():
    assert frozenset() == cohort(7, 0, [], 5)


@given(seeds, st.integers(0, 10**6), populations, st.integers(1, 30))
def test_a_cohort_is_what_the_definition_says(seed, round_index, population, size):
    assert by_hand(seed, round_index, population, size) == cohort(seed, round_index, population, size)


@given(seeds, populations, st.integers(1, 30), st.randoms(use_true_random=False))
def test_the_order_of_the_population_does_not_matter(seed, population, size, shuffler):
    shuffled = list(population)
    shuffler.shuffle(shuffled)

    assert cohort(seed, 3, population, size) == cohort(seed, 3, shuffled, size)


@given(seeds, populations, st.integers(1, 30))
def test_who_is_not_in_the_cohort_can_go_without_changing_it(seed, population, size):
    chosen = cohort(seed, 3, population, size)

    assert all(chosen == cohort(seed, 3, population - {client}, size) for client in population - chosen)


@given(seeds, populations.filter(bool), st.integers(1, 30))
def test_who_leaves_the_cohort_frees_one_place_only(seed, population, size):
    chosen = cohort(seed, 3, population, size)
    leaver = min(chosen)

    assert chosen - {leaver} <= cohort(seed, 3, population - {leaver}, size)


def test_another_process_gives_the_same_cohort():
    code = "from coterie_worker.rounds.cohort import cohort; print(sorted(cohort(7, 5, range(50), 8)))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "99"})

    assert str(sorted(cohort(7, 5, range(50), 8))) == other.stdout.strip()


def unevenness(counts, trials, population, size):
    """Chi-square of how often each client was asked; about population - 1 degrees of freedom."""
    expected = trials * size / population
    # A fixed-size draw has variance p(1 - p) per client and round, and they sum to a constant.
    variance = expected * (1 - size / population) * population / (population - 1)
    return sum((counts[client] - expected) ** 2 for client in range(population)) / variance


def limit(degrees):
    """Chi-square is beyond mean + 7 standard deviations with probability below 1e-6 for 9 degrees (Laurent and Massart 2000, Lemma 1)."""
    return degrees + 2 * math.sqrt(degrees * 14) + 2 * 14  # P < exp(-14) < 1e-6


def test_cohorts_are_uniform_over_rounds():
    # The false-alarm probability is below 1e-6, and the draw is fixed: seed 7, rounds 0 to 1999.
    counts = Counter(client for round_index in range(2000) for client in cohort(7, round_index, range(10), 3))

    assert unevenness(counts, 2000, 10, 3) < limit(9)


def test_the_uniformity_test_sees_a_client_that_is_asked_a_third_less():
    counts = Counter(client for round_index in range(2000) for client in cohort(7, round_index, range(10), 3))
    counts[4] -= counts[4] // 3

    assert unevenness(counts, 2000, 10, 3) > limit(9)


def test_rounds_and_seeds_give_different_cohorts():
    assert len({cohort(7, round_index, range(30), 10) for round_index in range(50)}) == 50
    assert len({cohort(seed, 0, range(30), 10) for seed in range(50)}) == 50


@pytest.mark.parametrize(
    ("seed", "round_index", "size"),
    [(7, -1, None), (7, 0, 0), (7, 0, -2), (2**63, 0, 1), (-(2**63) - 1, 0, 1)],
    ids=["negative round", "size zero", "negative size", "seed too large", "seed too small"],
)
def test_nonsense_is_refused(seed, round_index, size):
    with pytest.raises(ValueError, match="cohort: "):
        cohort(seed, round_index, [1, 2, 3], size)
