from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie_api.v1alpha1.job import SelectBy
from coterie_worker.rounds import Criterion, Selection, retained

BY_ACCURACY = Criterion(SelectBy.ACCURACY, patience=3)
BY_LOSS = Criterion(SelectBy.LOSS, patience=3)
values = st.lists(st.tuples(st.integers(0, 40), st.floats(allow_nan=True)), max_size=30)


def after(criterion, evaluations):
    selection = Selection()
    for version, value in evaluations:
        selection = selection.observe(criterion, version, value)
    return selection


def test_the_highest_accuracy_is_the_best():
    assert Selection(2, 0.9, 3) == after(BY_ACCURACY, [(1, 0.5), (2, 0.9), (3, 0.7)])


def test_the_lowest_loss_is_the_best():
    assert Selection(1, 0.5, 3) == after(BY_LOSS, [(1, 0.5), (2, 0.9), (3, 0.7)])


def test_of_two_equal_models_the_first_is_the_best():
    assert after(BY_ACCURACY, [(1, 0.5), (2, 0.5)]).best_version == 1


def test_nan_is_never_the_best():
    assert after(BY_LOSS, [(1, math.nan), (2, 9.0), (3, math.nan)]) == Selection(2, 9.0, 3)


@pytest.mark.parametrize("late", [(2, 0.99), (1, 0.99), (0, 0.99)], ids=["repeated", "late", "very late"])
def test_a_late_or_repeated_evaluation_changes_nothing(late):
    selection = after(BY_ACCURACY, [(1, 0.5), (2, 0.6)])

    assert selection == selection.observe(BY_ACCURACY, *late)


@given(values)
def test_the_best_is_the_best_of_those_seen_in_order(evaluations):
    in_order = [(v, x) for i, (v, x) in enumerate(evaluations) if all(v > w for w, _ in evaluations[:i])]
    numbers = [(v, x) for v, x in in_order if not math.isnan(x)]
    best = max(numbers, key=lambda pair: (pair[1], -pair[0]), default=None)

    selection = after(BY_ACCURACY, evaluations)

    assert (selection.best_version, selection.best_value) == (best or (None, None))


def test_patience_counts_rounds_not_evaluations():
    selection = after(BY_ACCURACY, [(2, 0.9), (5, 0.8)])

    assert selection.is_exhausted(BY_ACCURACY)


def test_one_round_less_than_patience_is_not_enough_to_stop():
    assert not after(BY_ACCURACY, [(2, 0.9), (4, 0.8)]).is_exhausted(BY_ACCURACY)


def test_a_better_model_starts_patience_anew():
    assert not after(BY_ACCURACY, [(2, 0.9), (4, 0.8), (5, 0.95), (6, 0.1), (7, 0.1)]).is_exhausted(BY_ACCURACY)


def test_without_patience_nothing_stops():
    endless = Criterion(SelectBy.ACCURACY, None)

    assert not after(endless, [(1, 0.9), (10**6, 0.1)]).is_exhausted(endless)


def test_without_evaluations_nothing_stops():
    assert not Selection().is_exhausted(Criterion(SelectBy.ACCURACY, 1))


def test_models_that_are_never_a_number_exhaust_patience_too():
    assert after(BY_LOSS, [(3, math.nan)]).is_exhausted(BY_LOSS)


def test_an_evaluator_that_always_fails_never_exhausts_patience():
    selection = after(BY_ACCURACY, [(version, None) for version in range(1, 40)])

    assert (selection.best_version, selection.last_version) == (None, 39)
    assert not selection.is_exhausted(BY_ACCURACY)


@pytest.mark.parametrize(
    ("evaluations", "is_exhausted"),
    [
        ([(2, 0.9), (3, None), (4, None), (9, None)], False),
        ([(2, 0.9), (3, 0.1), (4, 0.1), (5, None)], False),
        ([(2, 0.9), (3, None), (4, None), (5, 0.1)], False),
        ([(2, 0.9), (3, 0.1), (4, None), (5, 0.1), (6, 0.1)], True),
        ([(2, None), (4, 0.1), (5, 0.0), (6, 0.0), (7, 0.0)], True),
    ],
    ids=["failures alone", "a failure last", "failures first", "three worse beside a failure", "failures before the best"],
)
def test_rounds_whose_evaluation_failed_do_not_count_for_patience(evaluations, is_exhausted):
    assert after(BY_ACCURACY, evaluations).is_exhausted(BY_ACCURACY) is is_exhausted


def test_a_failed_evaluation_changes_nothing_about_the_best():
    assert after(BY_LOSS, [(1, 0.5), (2, None), (3, 0.4)]) == Selection(3, 0.4, 3)
    assert after(BY_LOSS, [(1, 0.5), (2, None)]) == Selection(1, 0.5, 2, excused_rounds=1)


def test_a_patience_below_one_is_refused():
    with pytest.raises(ValueError, match="patience is 0, must be at least 1"):
        Criterion(SelectBy.LOSS, 0)


def test_without_an_evaluator_only_the_newest_stays():
    assert frozenset({9}) == retained(frozenset(range(1, 10)), 9, Selection(), 0)


def test_the_best_model_stays():
    assert frozenset({2, 9}) == retained(frozenset(range(1, 10)), 9, Selection(2, 0.9, 8), 4)


def test_models_the_evaluator_may_be_reading_stay_the_oldest_first():
    assert frozenset({2, 5, 6, 9}) == retained(frozenset(range(1, 10)), 9, Selection(2, 0.9, 4), 2)


@given(st.frozensets(st.integers(1, 20)), st.integers(1, 20), st.integers(-1, 20), st.integers(0, 5))
def test_no_more_than_capacity_newest_and_best_stay(present, newest, last, capacity):
    kept = retained(present, newest, Selection(last if last >= 1 else None, 0.5, last), capacity)

    assert kept <= present
    assert len(kept) <= capacity + 2
    assert newest in kept or newest not in present
