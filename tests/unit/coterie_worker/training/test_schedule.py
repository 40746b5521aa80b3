"""The learning rate as a function of where the job stands."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie_api.v1alpha1.types import Schedule, ScheduleName
from coterie_worker.training.schedule import factor, in_round

schedules = st.builds(
    Schedule,
    name=st.sampled_from(ScheduleName),
    warmup_rounds=st.integers(0, 12),
    final_factor=st.floats(0, 1),
    step_rounds=st.integers(1, 5),
    step_factor=st.floats(0.1, 1),
)


@pytest.mark.parametrize(
    ("schedule", "position", "expected"),
    [
        (Schedule(ScheduleName.CONSTANT), 0, 1),
        (Schedule(ScheduleName.CONSTANT), 9.9, 1),
        (Schedule(ScheduleName.COSINE), 0, 1),
        (Schedule(ScheduleName.COSINE), 5, 0.5),
        (Schedule(ScheduleName.COSINE, final_factor=0.2), 10, 0.2),
        (Schedule(ScheduleName.LINEAR), 2.5, 0.75),
        (Schedule(ScheduleName.LINEAR, final_factor=0.5), 5, 0.75),
        (Schedule(ScheduleName.STEP, step_rounds=3, step_factor=0.5), 2.99, 1),
        (Schedule(ScheduleName.STEP, step_rounds=3, step_factor=0.5), 3, 0.5),
        (Schedule(ScheduleName.STEP, step_rounds=3, step_factor=0.5), 9, 0.125),
        (Schedule(ScheduleName.COSINE, warmup_rounds=4), 1, 0.25),
        (Schedule(ScheduleName.COSINE, warmup_rounds=4), 7, 0.5),
        (Schedule(ScheduleName.STEP, warmup_rounds=2, step_rounds=3, step_factor=0.1), 4.9, 1),
        (Schedule(ScheduleName.LINEAR, warmup_rounds=20), 10, 0.5),
    ],
)
def test_the_factor_of_a_job_of_ten_rounds(schedule, position, expected):
    assert factor(schedule, position, 10) == pytest.approx(expected)


def test_a_job_that_is_all_warm_up_ends_at_the_peak():
    rate = in_round(Schedule(ScheduleName.COSINE, warmup_rounds=1, final_factor=0.0), 0, 1, 2)

    assert [rate(0), rate(1)] == [0.5, 1]


@given(schedules, st.integers(1, 10), st.integers(1, 7), st.data())
def test_every_step_of_a_job_has_a_rate_above_zero_and_none_above_the_peak(schedule, rounds, steps, data):
    rate = in_round(schedule, data.draw(st.integers(0, rounds - 1)), rounds, steps)
    if rate is None:
        return

    for step in range(steps):
        assert 0 < rate(step) <= 1 + 1e-12


@given(schedules, st.integers(0, 9), st.integers(1, 7), st.integers(2, 5))
def test_the_rate_at_the_start_of_a_round_after_warm_up_does_not_hang_on_how_many_steps_a_client_does(schedule, index, steps, more):
    one, other = in_round(schedule, index, 10, steps), in_round(schedule, index, 10, steps * more)
    if one is None or other is None:
        assert one is other
    elif index >= schedule.warmup_rounds:
        assert one(0) == other(0)


def test_a_constant_rate_costs_the_loop_nothing():
    assert in_round(Schedule(), 0, 10, 5) is None
    assert in_round(Schedule(warmup_rounds=2), 2, 10, 5) is None
    assert in_round(Schedule(warmup_rounds=2), 1, 10, 5) is not None
