"""Encoding: exact in expectation, clamped and counted, never wrapped; NaN and infinity are refused."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tests.unit.coterie_worker.secagg.simulation import seeded

from coterie_worker.secagg import Encoding, errors
from coterie_worker.secagg.masks import CHUNK

FINITE = arrays(np.float32, st.integers(0, 40), elements=st.floats(-(2.0**100), 2.0**100, width=32))


def exact(encoding: Encoding, value: float, weight: int) -> Fraction:
    return Fraction(float(value)) * encoding.scale * weight / 2**16


@given(FINITE, st.floats(0, 1), st.integers(1, 200))
def test_every_coordinate_is_the_exact_product_rounded_to_a_neighbor_and_clamped(update: np.ndarray, factor: float, members: int) -> None:
    encoding = Encoding(65536, members, len(update), weighted=True)
    encoded = encoding.encode(update, factor, seeded()).view(np.int32)
    weight = round(2**16 * factor)
    clamped = 0
    for value, ring in zip(update, encoded[:-2], strict=True):
        wanted = exact(encoding, value, weight)
        if abs(int(ring)) == encoding.bound:
            clamped += 1
            assert abs(wanted) > encoding.bound - 1
        else:
            assert abs(wanted - int(ring)) < 1 + Fraction(1, 2**20)

    assert encoded[-2] == weight
    assert 0 <= encoded[-1] <= clamped
    assert np.abs(encoded).max() <= max(encoding.bound, weight)


def test_rounding_is_unbiased() -> None:
    """z-test of the mean of 200,000 roundings for several fractions; false alarm below 1e-8 each, seeds fixed."""
    d = 200_000
    for value in (0.25, 0.5, 1e-3, -0.3, -7.9, 12345.67):
        encoding = Encoding(1, 1, d, weighted=False)
        update = np.full(d, value, np.float32)
        ring = encoding.encode(update, 1, seeded("unbiased", value)).view(np.int32)[:-1]
        fraction = float(update[0]) % 1
        deviation = abs(ring.astype(np.float64).mean() - float(update[0])) / np.sqrt(fraction * (1 - fraction) / d)

        assert deviation < 5.8


def test_rounding_to_nearest_would_fail_the_test_of_bias() -> None:
    d, value = 200_000, np.float32(0.25)
    deviation = abs(float(np.round(np.full(d, value)).mean()) - 0.25) / np.sqrt(0.25 * 0.75 / d)

    assert deviation > 5.8


@pytest.mark.parametrize("members", [1, 3, 10, 200])
def test_sums_of_extreme_updates_never_wrap_around(members: int) -> None:
    encoding = Encoding(65536, members, 4, weighted=True)
    update = np.array([3e38, -3e38, 1e9, -0.0], np.float32)
    total = np.zeros(encoding.size, np.uint32)
    for i in range(members):
        total += encoding.encode(update, 1, seeded(i))
    decoded = encoding.decode(total)

    assert decoded.clamped == 3 * members
    assert decoded.weight == members
    assert decoded.sum[0] == pytest.approx(members * encoding.bound / 65536)
    assert decoded.sum[1] == -decoded.sum[0]
    assert decoded.sum[2] == decoded.sum[0]
    assert decoded.sum[3] == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, CHUNK - 1, CHUNK, 2 * CHUNK + 4])
@pytest.mark.parametrize("factor", [0.0, 0.5])
def test_one_value_that_is_not_finite_is_refused(bad: float, place: int, factor: float) -> None:
    encoding = Encoding(65536, 10, 2 * CHUNK + 5, weighted=True)
    update = np.zeros(encoding.length, np.float32)
    update[place] = bad
    with np.errstate(invalid="ignore"), pytest.raises(errors.NotFinite) as raised:
        encoding.encode(update, factor, seeded())

    assert str(place) not in str(raised.value)


def test_a_count_of_clamps_beyond_the_bound_is_clamped_too() -> None:
    encoding = Encoding(1, 2**30, 10, weighted=False)
    assert encoding.bound == 1
    decoded = encoding.decode(encoding.encode(np.full(10, 5, np.float32), 1, seeded()))

    assert decoded.clamped == 1


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 2**20)), min_size=1, max_size=30))
def test_the_weighted_mean_is_right_to_the_last_rounding(clients: list[tuple[int, int]]) -> None:
    cap, d = 8192, 5
    encoding = Encoding(65536, 30, d, weighted=True)
    total, wanted, weights = np.zeros(encoding.size, np.uint32), np.zeros(d), 0
    for examples, seed in clients:
        update = (np.frombuffer(seeded(seed)(4 * d), np.uint32) % 2**20 / np.float32(2**20) - np.float32(0.5)).astype(np.float32)
        factor = min(1.0, examples / cap)
        total += encoding.encode(update, factor, seeded("round", seed))
        wanted += update.astype(np.float64) * round(2**16 * factor) / 2**16
        weights += round(2**16 * factor)
    decoded = encoding.decode(total)

    assert decoded.weight == weights / 2**16
    assert decoded.clamped == 0
    assert np.abs(decoded.sum - wanted).max() < (len(clients) + 1) / 65536


def test_without_weights_there_is_no_weight() -> None:
    encoding = Encoding(65536, 3, 2, weighted=False)
    decoded = encoding.decode(encoding.encode(np.array([1, -2], np.float32), 1, seeded()))

    assert encoding.size == 3
    assert decoded.weight is None
    assert decoded.sum.tolist() == [1, -2]
    assert decoded.sum.dtype == np.float32


def test_the_same_update_is_rounded_afresh_each_time() -> None:
    encoding = Encoding(1, 1, 1000, weighted=False)
    update, draw = np.full(1000, 0.5, np.float32), seeded()

    assert not np.array_equal(encoding.encode(update, 1, draw), encoding.encode(update, 1, draw))


@pytest.mark.parametrize(
    ("update", "factor"),
    [
        (np.zeros(3, np.float32), 1.0),
        (np.zeros((2, 1), np.float32), 1.0),
        (np.zeros(2, np.float64), 1.0),
        (np.zeros(2, np.float32), 1.5),
        (np.zeros(2, np.float32), -0.1),
        (np.zeros(2, np.float32), float("nan")),
    ],
)
def test_updates_of_another_shape_type_or_weight_are_refused(update: np.ndarray, factor: float) -> None:
    with pytest.raises(errors.BadVector):
        Encoding(65536, 3, 2, weighted=True).encode(update, factor, seeded())


def test_weights_need_a_weighted_encoding() -> None:
    with pytest.raises(errors.BadVector, match="not weighted"):
        Encoding(65536, 3, 2, weighted=False).encode(np.zeros(2, np.float32), 0.5, seeded())


@pytest.mark.parametrize("summed", [np.zeros(3, np.uint32), np.zeros(4, np.int32), np.zeros(5, np.uint32)])
def test_sums_of_another_size_or_type_are_refused(summed: np.ndarray) -> None:
    with pytest.raises(errors.BadVector):
        Encoding(65536, 3, 2, weighted=True).decode(summed)


@pytest.mark.parametrize(
    ("scale", "members", "length", "weighted"), [(0, 3, 1, False), (1, 0, 1, False), (1, 3, -1, False), (1, 2**16, 1, True)]
)
def test_impossible_encodings_are_refused(scale: int, members: int, length: int, weighted: bool) -> None:
    with pytest.raises(errors.InvalidParameters):
        Encoding(scale, members, length, weighted)
