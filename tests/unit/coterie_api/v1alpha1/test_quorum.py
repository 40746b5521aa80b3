from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie_api.v1alpha1.job import Protocol
from coterie_api.v1alpha1.quorum import Minimums, default_colluders, quorum

SECURE = Protocol.SEC_AGG_PLUS


@pytest.mark.parametrize(("members", "colluders", "threshold"), [(3, 0, 2), (4, 1, 3), (5, 1, 4), (10, 3, 7), (50, 16, 34), (100, 33, 67)])
def test_the_defaults_are_those_of_the_protocol_description(members: int, colluders: int, threshold: int) -> None:
    needs = quorum(members, SECURE)

    assert (needs.colluders, needs.threshold) == (colluders, threshold)


def test_three_tenants_with_one_colluder_tolerate_no_drop() -> None:
    assert quorum(3, SECURE, 1).tolerated_drops == 0


@pytest.mark.parametrize("members", [0, 1, 2])
def test_fewer_than_three_tenants_can_never_open_a_sum_in_secret(members: int) -> None:
    assert not quorum(members, SECURE).is_possible


def test_too_many_colluders_make_a_sum_impossible() -> None:
    assert not quorum(5, SECURE, 4).is_possible


def test_a_tenants_own_minimum_raises_the_number_of_survivors() -> None:
    assert quorum(10, SECURE, None, Minimums(tenants_min_clients=9)).min_survivors == 9


def test_a_tenants_own_minimum_beyond_the_roster_makes_a_sum_impossible() -> None:
    assert not quorum(10, SECURE, None, Minimums(tenants_min_clients=11)).is_possible


def test_a_tenants_own_threshold_raises_the_threshold() -> None:
    assert quorum(10, SECURE, None, Minimums(tenants_threshold=8)).threshold == 8


def test_a_tenant_that_fears_more_colluders_raises_them_and_the_threshold() -> None:
    needs = quorum(10, SECURE, 0, Minimums(tenants_colluders=4))

    assert (needs.colluders, needs.threshold, needs.min_survivors) == (4, 8, 8)
    assert quorum(10, SECURE, 5, Minimums(tenants_colluders=4)).colluders == 5
    assert quorum(10, Protocol.NONE, None, Minimums(tenants_colluders=4)).colluders == 0


@pytest.mark.parametrize(("members", "drops"), [(200, 66), (201, 20), (500, 50), (1000, 100)])
def test_above_two_hundred_tenants_a_tenth_may_drop(members: int, drops: int) -> None:
    needs = quorum(members, SECURE)

    assert needs.tolerated_drops == drops
    assert needs.is_sparse is (members > 200)
    assert not quorum(members, Protocol.NONE).is_sparse


def test_no_wish_lowers_what_the_protocol_needs() -> None:
    assert quorum(10, SECURE, None, Minimums(1, 1, 1)) == quorum(10, SECURE)


def test_without_secure_aggregation_a_majority_is_enough() -> None:
    assert [quorum(members, Protocol.NONE).min_survivors for members in (1, 2, 3, 4, 10)] == [1, 2, 2, 3, 6]


def test_without_secure_aggregation_one_client_is_enough_if_asked_for() -> None:
    assert quorum(5, Protocol.NONE, None, Minimums(1)).min_survivors == 1


WISHES = st.builds(Minimums, st.none() | st.integers(1, 40), st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))


@given(st.integers(1, 1000), st.none() | st.integers(0, 1000), WISHES)
def test_two_quorums_meet_in_an_honest_client_and_every_sum_hides_two(members: int, colluders: int | None, wishes: Minimums) -> None:
    needs = quorum(members, SECURE, colluders, wishes)

    assert 2 * needs.threshold - members > needs.colluders
    assert needs.min_survivors >= max(needs.threshold, needs.colluders + 2, wishes.min_clients or 0, wishes.tenants_min_clients, 3)


@given(st.integers(1, 1000))
def test_the_default_number_of_colluders_is_less_than_a_third(members: int) -> None:
    assert 3 * default_colluders(members) < members
    assert 3 * (default_colluders(members) + 1) >= members


@given(st.integers(3, 1000))
def test_the_defaults_can_always_open_a_sum(members: int) -> None:
    assert quorum(members, SECURE).is_possible
