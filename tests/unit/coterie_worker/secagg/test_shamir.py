"""Shares: any threshold of them rebuild the secret, fewer say nothing, and another implementation agrees."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from Crypto.Util.number import inverse, isPrime
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.coterie_worker.secagg.simulation import seeded

from coterie_worker.secagg import field
from coterie_worker.secagg.recovery import recover
from coterie_worker.secagg.shamir import combine, lagrange_at_zero, split, split_many

SECRET = bytes(range(200, 232))


def test_the_modulus_is_prime_and_wider_than_any_secret() -> None:
    assert isPrime(field.PRIME)
    assert 2**256 < field.PRIME < 2**257
    assert len(field.to_bytes(field.PRIME - 1)) == field.ELEMENT_BYTES


@settings(deadline=None)
@given(st.binary(min_size=32, max_size=32), st.integers(1, 12), st.integers(0, 6), st.randoms())
def test_any_threshold_of_shares_rebuilds_the_secret(secret: bytes, threshold: int, spare: int, pick: object) -> None:
    holders = sorted(pick.sample(range(200), threshold + spare))  # type: ignore[attr-defined]
    shares = dict(zip(holders, split(secret, threshold, holders, seeded(secret)), strict=True))
    chosen = pick.sample(holders, threshold)  # type: ignore[attr-defined]

    assert combine({holder: shares[holder] for holder in chosen}) == secret


@pytest.mark.parametrize("secret", [bytes(32), b"\xff" * 32, bytes(31) + b"\1"])
def test_extreme_secrets_survive(secret: bytes) -> None:
    shares = dict(enumerate(split(secret, 3, range(5), seeded())))

    assert combine({i: shares[i] for i in (4, 0, 2)}) == secret


def neville(points: list[tuple[int, int]]) -> int:
    """Interpolate at 0 by Neville's scheme with pycryptodome's inverse: another algorithm on another library."""
    values = [y for _, y in points]
    for width in range(1, len(points)):
        for i in range(len(points) - width):
            xi, xj = points[i][0], points[i + width][0]
            top = (xi * values[i + 1] - xj * values[i]) % field.PRIME
            values[i] = top * inverse((xi - xj) % field.PRIME, field.PRIME) % field.PRIME
    return values[0]


def test_another_algorithm_rebuilds_the_same_secret() -> None:
    holders = [0, 3, 5, 11, 40, 99, 199]
    shares = split(SECRET, 7, holders, seeded("neville"))
    points = [(holder + 1, share) for holder, share in zip(holders, shares, strict=True)]

    assert neville(points) == int.from_bytes(SECRET)
    assert neville(points[:6]) != int.from_bytes(SECRET)


def test_a_known_polynomial_gives_known_shares() -> None:
    coefficients = iter([5, 7])  # 5 x^2 + 7 x + secret, by hand

    def draw(size: int) -> bytes:
        return b"".join(next(coefficients).to_bytes(33) for _ in range(size // 33))

    assert split(bytes(31) + b"\x0b", 3, [0, 1, 9], draw) == [23, 45, 581]
    assert lagrange_at_zero((0, 1, 2)) == (3, field.PRIME - 3, 1)


def test_fewer_shares_than_the_threshold_fit_every_secret() -> None:
    shares = split(SECRET, 3, [0, 1, 2], seeded("hiding"))
    for other in (0, 1, 2**256 - 1):
        # A polynomial of the right degree through the two known shares exists for any secret: solve for the third share.
        weights = lagrange_at_zero((0, 1, 2))
        third = (other - weights[0] * shares[0] - weights[1] * shares[1]) * inverse(weights[2], field.PRIME) % field.PRIME

        assert combine({0: shares[0], 1: shares[1], 2: third}) == other.to_bytes(32)


def test_every_share_of_every_secret_uses_fresh_coefficients() -> None:
    draw = seeded("fresh")
    shares = [tuple(split(SECRET, 2, [0, 1], draw)) for _ in range(50)]

    assert max(Counter(itertools.chain.from_iterable(shares)).values()) == 1


def test_a_wrong_share_gives_another_secret_or_none() -> None:
    shares = split(SECRET, 2, [0, 1], seeded())
    wrong = combine({0: shares[0], 1: (shares[1] + 1) % field.PRIME})

    assert wrong != SECRET
    assert combine({0: field.PRIME - 1, 1: field.PRIME - 1}) is None


@pytest.mark.parametrize("data", [b"", bytes(32), bytes(34), field.PRIME.to_bytes(33), b"\xff" * 33])
def test_only_canonical_encodings_are_elements(data: bytes) -> None:
    with pytest.raises(ValueError, match="canonical"):
        field.from_bytes(data)


def test_elements_outside_the_field_are_drawn_again() -> None:
    draws = iter([b"\xff" * 33 + (3).to_bytes(33), b"\xff" * 33, (4).to_bytes(33)])

    assert field.random_elements(2, lambda _: next(draws)) == [3, 4]


@pytest.mark.parametrize("bad", list(itertools.combinations(range(6), 2)))
def test_two_bad_shares_among_six_do_not_hide_the_secret(bad: tuple[int, ...]) -> None:
    shares = dict(enumerate(split(SECRET, 3, range(6), seeded())))
    shares |= {i: shares[i] ^ 1 for i in bad}

    assert recover(shares, 3, lambda secret: secret == SECRET) == SECRET


def test_a_secret_that_no_subset_rebuilds_is_given_up_in_bounded_time() -> None:
    tried: list[bytes] = []
    shares = dict(enumerate(split(SECRET, 10, range(40), seeded())))

    assert recover(shares, 10, lambda secret: bool(tried.append(secret))) is None
    assert len(tried) <= 256


@settings(deadline=None)
@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=20), st.integers(1, 12), st.randoms())
def test_many_secrets_at_once_have_the_shares_that_each_has_alone(secrets: list[bytes], threshold: int, pick: object) -> None:
    holders = sorted(pick.sample(range(1024), threshold + 2))  # type: ignore[attr-defined]
    together = split_many(secrets, threshold, holders, seeded("many"))
    draw = seeded("many")

    assert together == [split(secret, threshold, holders, draw) for secret in secrets]


@pytest.mark.parametrize("threshold", [1, 2, 67, 171, 1024])
def test_no_lane_overflows_into_the_next_at_the_extremes(threshold: int) -> None:
    highest = (field.PRIME - 1).to_bytes(33)
    holders = [0, 1022, 1023]
    rows = split_many([b"\xff" * 32, bytes(32), b"\xff" * 32], threshold, holders, lambda size: highest * (size // 33))
    for row, secret in zip(rows, (2**256 - 1, 0, 2**256 - 1), strict=True):
        for holder, share in zip(holders, row, strict=True):
            powers = sum(pow(holder + 1, power, field.PRIME) for power in range(1, threshold))
            assert share == (secret - powers) % field.PRIME
