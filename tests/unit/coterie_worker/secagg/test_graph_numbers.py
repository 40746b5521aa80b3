"""Degree and threshold of the Harary graph, by the published bounds and by another calculation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.stats import hypergeom

from coterie_worker.secagg import default_colluders, graph
from coterie_worker.secagg.graph import Degree, degree_for, isolation_bits
from coterie_worker.secagg.messages import (
    MAX_ROSTER,
)

if TYPE_CHECKING:
    from collections.abc import Callable

TABLE = [
    (500, 50, True, 82, 57),
    (1000, 100, True, 96, 67),
    (500, 50, False, 42, 24),
    (1000, 100, False, 48, 27),
    (500, 100, True, 116, 86),
    (1000, 200, True, 140, 104),
    (500, 165, True, 168, 132),
    (1000, 330, True, 218, 171),
]


@pytest.mark.parametrize(("n", "c", "malicious", "k", "t"), TABLE)
def test_degree_and_threshold_are_those_of_the_published_bounds(n: int, c: int, malicious: bool, k: int, t: int) -> None:
    assert degree_for(n, c, is_malicious=malicious) == Degree(k, t)


def thresholds(n: int, c: int, k: int) -> list[int]:
    """The thresholds that the bounds of Bell et al. allow, once more, in floating point with scipy."""
    dropped, t = n // 10, np.arange(k // 2, k + 1)
    pairs = n * (n - k - 1) / 2
    if pairs * hypergeom.pmf(k, n, c + dropped, k) >= 2**-41:
        return []
    corrupt = n * hypergeom.sf(2 * t - k - 1, n, c, k)
    lost = n * hypergeom.cdf(t - 1, n, n - dropped, k)
    return [int(each) for each in t[(corrupt <= 2**-41) & (lost < 2**-20)]]


@pytest.mark.parametrize(
    ("n", "c"), [(201, 20), (201, 66), (300, 30), (400, 133), (40, 13), (500, 50), (750, 10), (1000, 100), (1000, 333), (1024, 0)]
)
def test_the_bounds_hold_by_another_calculation_and_no_smaller_degree_satisfies_them(n: int, c: int) -> None:
    degree = degree_for(n, c)
    if degree is None:
        assert not any(thresholds(n, c, k) for k in range(2, n - 1, 2))
        return

    assert min(thresholds(n, c, degree.neighbors)) == degree.threshold
    assert not any(thresholds(n, c, k) for k in range(2, degree.neighbors, 2))


@pytest.mark.parametrize(("n", "c"), [(row[0], row[1]) for row in TABLE if row[2]])
def test_drops_chosen_after_the_graph_is_known_divide_the_honest_with_probability_below_two_to_the_minus_35(n: int, c: int) -> None:
    degree = degree_for(n, c)
    assert degree is not None

    assert 35 < isolation_bits(n, c, degree) < 40


def bits_once_more(n: int, c: int, degree: Degree) -> float:
    """`isolation_bits` in floating point: the second run is drawn from what the first one leaves."""
    half, least = degree.neighbors // 2, degree.threshold - degree.neighbors // 2
    first = np.arange(least, min(half, c) + 1)
    second = np.array([hypergeom.sf(least - 1, n - half, c - corrupt, half) for corrupt in first])
    both = float(np.sum(hypergeom.pmf(first, n, c, half) * second))
    return float(-np.log2(n * (n - 2 * half - 1) / 2 * both)) if both > 0 else float("inf")


SIZES = range(134, MAX_ROSTER + 1)  # from the fewest that an epoch of a sparse job can have


@pytest.mark.parametrize(
    ("sizes", "colluders"),
    [
        (SIZES, lambda n: n // 10),
        (SIZES[::12], lambda n: n // 5),
        (SIZES[5::12], default_colluders),
        (SIZES[::5], lambda n: 1 + n * 377 % (n // 3)),
    ],
    ids=["a tenth", "a fifth", "the default", "any"],
)
def test_chosen_drops_divide_the_honest_below_two_to_the_minus_34_at_every_size(sizes: range, colluders: Callable[[int], int]) -> None:
    chosen = {(n, c): degree for n in sizes if (degree := degree_for(n, c := colluders(n)))}

    assert len(chosen) > len(sizes) // 2
    assert all(isolation_bits(n, c, degree) > 34 for (n, c), degree in chosen.items())


def test_a_degree_that_would_let_chosen_drops_divide_the_honest_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isolation_bits(898, 89, Degree(92, 64)) < 35
    monkeypatch.setattr(graph, "ISOLATION_BITS", 36)
    degree = degree_for.__wrapped__(898, 89)  # past the cache

    assert degree.neighbors > 92
    assert isolation_bits(898, 89, degree) > 36
    assert min(thresholds(898, 89, degree.neighbors)) == degree.threshold
    assert degree_for.__wrapped__(898, 89, is_malicious=False) == degree_for(898, 89, is_malicious=False)


@pytest.mark.parametrize("c", [0, 1, 20, 86, 89, 100, 200, 299, 340])
@pytest.mark.parametrize("n", [898, 861, 1000, MAX_ROSTER])
def test_the_bound_on_chosen_drops_holds_by_another_calculation(n: int, c: int) -> None:
    degree = degree_for(n, c)
    assert degree is not None
    bits = bits_once_more(n, c, degree)

    assert bits > 34
    assert isolation_bits(n, c, degree) == pytest.approx(bits, abs=1e-6)


def test_without_colluders_nothing_divides_the_honest() -> None:
    assert isolation_bits(1000, 0, Degree(96, 67)) == float("inf")
