"""What an aggregator's numbers do when rounds go well and when they don't."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from coterie_api.history import RoundLine
from coterie_api.progress import Drop, DropReason, Progress
from coterie_worker.aggregator.watch import Watch, dropped
from coterie_worker.metrics import AggregatorMetrics
from coterie_worker.rounds import State
from coterie_worker.rounds import commands as do
from coterie_worker.rounds import events as on
from coterie_worker.rounds.state import Phase

ALL = frozenset(range(5))
LINE = RoundLine(round=1, slot=1, attempts=1, cohort=5, survivors=5, update_norm=0.25, seconds=3.0)
TRAINING = State(None, phase=Phase.TRAINING, live=ALL, cohort=ALL, slot=7)  # type: ignore[arg-type]  # rules aren't looked at


@pytest.fixture
def metrics() -> AggregatorMetrics:
    return AggregatorMetrics()


def value(metrics: AggregatorMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"coterie_{name}", labels)


def drops(metrics: AggregatorMetrics) -> dict[tuple[str, str], float]:
    samples = next(iter(metrics.drops.collect())).samples
    return {(each.labels["phase"], each.labels["reason"]): each.value for each in samples if each.name.endswith("_total") and each.value}


def test_a_round_is_counted_timed_and_dated(metrics: AggregatorMetrics) -> None:
    before = value(metrics, "last_round_timestamp_seconds")
    metrics.round_done(LINE)

    assert value(metrics, "round_attempts_total", outcome="Done") == 1
    assert value(metrics, "openings_total") == 1
    assert value(metrics, "round_duration_seconds_bucket", le="2.5") == 0
    assert value(metrics, "round_duration_seconds_bucket", le="5.0") == 1
    assert value(metrics, "update_norm") == 0.25
    assert before is not None
    assert value(metrics, "last_round_timestamp_seconds") >= before  # type: ignore[operator]


def test_nothing_has_happened_yet_reads_as_zero_or_as_no_number(metrics: AggregatorMetrics) -> None:
    assert value(metrics, "round_attempts_total", outcome="TooFewSurvivors") == 0
    assert value(metrics, "transferred_bytes_total", direction="sent") == 0
    assert math.isnan(value(metrics, "update_norm"))  # type: ignore[arg-type]
    assert math.isnan(value(metrics, "evaluated_rounds"))  # type: ignore[arg-type]


def test_bytes_are_counted_once_however_often_they_are_asked_for(metrics: AggregatorMetrics) -> None:
    for sent in (100, 100, 250):
        metrics.exposition(Progress(bytes_sent=sent, bytes_received=7))

    assert value(metrics, "transferred_bytes_total", direction="sent") == 250
    assert value(metrics, "transferred_bytes_total", direction="received") == 7


PROGRESS = {
    "rounds_done": ("rounds_done", 3), "rounds": ("rounds", 10), "slot": ("slot", 4), "clients_connected": ("connected", 5),
    "cohort_clients": ("cohort", 5), "survivors": ("survivors", 4), "accuracy_ratio": ("accuracy", 0.9), "loss": ("loss", 0.3),
    "clamped_coordinates": ("clamped", 6), "epsilon_spent": ("epsilon_spent", 1.5), "epsilon_left": ("epsilon_left", 6.5),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRESS)
def test_each_number_of_the_progress_has_its_metric_at_the_moment_of_the_scrape(metrics: AggregatorMetrics, name: str) -> None:
    field, expected = PROGRESS[name]
    assert b"coterie_" + name.encode() in metrics.exposition(Progress())
    metrics.exposition(replace(Progress(), **{field: expected}))

    assert value(metrics, name) == expected
    others = [each for each in PROGRESS if each != name]
    assert all(not value(metrics, each) or math.isnan(value(metrics, each)) for each in others)  # type: ignore[arg-type]


def test_an_expected_evaluation_is_told_apart_from_none_that_is(metrics: AggregatorMetrics) -> None:
    metrics.expects_evaluations()
    assert value(metrics, "evaluated_rounds") == 0

    metrics.evaluated_model(4)

    assert value(metrics, "evaluated_rounds") == 4
    assert value(metrics, "last_evaluation_timestamp_seconds") > 0  # type: ignore[operator]


def test_no_client_is_named(metrics: AggregatorMetrics) -> None:
    told = Progress(drops=(Drop("hospital-a/visits", DropReason.TASK_RAISED, "ValueError", "task.py:3", "abc123"),))
    watch = Watch(metrics)
    watch.moved(TRAINING, on.ClientFailed(2, 7, DropReason.TASK_RAISED), TRAINING, ())

    text = metrics.exposition(told).decode()

    assert 'reason="TaskRaised"' in text
    assert not [word for word in ("hospital", "visits", "ValueError", "task.py", "abc123", 'client="') if word in text]


def test_phases_are_timed_from_one_change_to_the_next(metrics: AggregatorMetrics) -> None:
    clock = [0.0]
    watch = Watch(metrics, lambda: clock[0])
    clock[0] = 4.0
    watch.moved(TRAINING, on.Heard(1, ALL), TRAINING, ())
    clock[0] = 9.0
    watch.moved(TRAINING, on.Heard(1, frozenset()), replace(TRAINING, phase=Phase.UNMASKING), ())

    assert value(metrics, "phase_duration_seconds_count", phase="Training") == 1
    assert value(metrics, "phase_duration_seconds_sum", phase="Training") == 9
    assert value(metrics, "phase_duration_seconds_count", phase="Unmasking") is None


def test_a_try_that_fails_is_an_outcome(metrics: AggregatorMetrics) -> None:
    Watch(metrics).moved(TRAINING, on.TooFew(1, 2, 3), replace(TRAINING, attempt=1), ())

    assert value(metrics, "round_attempts_total", outcome="TooFewSurvivors") == 1
    assert value(metrics, "round_attempts_total", outcome="Done") == 0


def test_dealers_that_cheated_drop_once(metrics: AggregatorMetrics) -> None:
    cheated = on.TooFew(1, 2, 3, ALL, frozenset({1, 2}))
    Watch(metrics).moved(TRAINING, cheated, replace(TRAINING, attempt=1), ())
    Watch(metrics).moved(replace(TRAINING, live=frozenset({0})), cheated, replace(TRAINING, attempt=1), ())

    assert value(metrics, "drops_total", phase="Training", reason="ProtocolViolation") == 2


def test_a_first_drop_in_a_round_is_seen_by_rates_since_its_counter_begins_at_zero(metrics: AggregatorMetrics) -> None:
    assert value(metrics, "drops_total", phase="Training", reason="Late") is None

    watch = Watch(metrics)
    assert {value(metrics, "drops_total", phase="Training", reason=reason.value) for reason in DropReason} == {0}
    watch.moved(TRAINING, on.ClientLeft(1), TRAINING, ())

    assert value(metrics, "drops_total", phase="Training", reason="Disconnected") == 1


def test_who_sent_nothing_was_late_in_training_and_former_tries_are_not_counted_again(metrics: AggregatorMetrics) -> None:
    late, former = do.Absence(7, 4, DropReason.LATE), do.Absence(6, 3, DropReason.LATE)
    failed = do.Absence(7, 2, DropReason.TASK_RAISED)  # counted when it happened
    record = do.Record(0, 7, 2, ALL, frozenset({0, 1, 3}), (former, failed, late))

    unmasking = replace(TRAINING, phase=Phase.UNMASKING)
    Watch(metrics).moved(unmasking, on.SumOpened(1, frozenset({0, 1, 3})), unmasking, (record,))

    assert drops(metrics) == {("Training", "Late"): 1}


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (on.ClientLeft(1), DropReason.DISCONNECTED),
        (on.ClientLeft(9), None),
        (on.ClientWithdrew(1, DropReason.NO_DATA), DropReason.NO_DATA),
        (on.ClientFailed(1, 7, DropReason.NOT_FINITE), DropReason.NOT_FINITE),
        (on.ClientFailed(1, 6, DropReason.NOT_FINITE), None),
        (on.ClientFailed(9, 7, DropReason.NOT_FINITE), None),
        (on.ClientJoined(1), None),
        (on.Heard(1, ALL), None),
    ],
)
def test_only_who_takes_part_can_drop(event: Any, reason: DropReason | None) -> None:
    assert dropped(TRAINING, event) == reason


def test_a_client_fails_once_in_a_slot() -> None:
    failed = replace(TRAINING, failed=(do.Absence(7, 1, DropReason.TASK_RAISED),))

    assert dropped(failed, on.ClientFailed(1, 7, DropReason.TASK_RAISED)) is None
