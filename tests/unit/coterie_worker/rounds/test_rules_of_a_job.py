from __future__ import annotations

from dataclasses import replace

import pytest

from coterie_api.podconfig import Aggregation, JobConfig, RosterEntry
from coterie_api.v1alpha1.job import Evaluation, SelectBy
from coterie_api.v1alpha1.training import Strategy, Task, Training
from coterie_worker.rounds import Criterion, rules_of

JOB = JobConfig(
    job_uid="uid",
    job_namespace="research",
    job_name="digits",
    rounds=20,
    seed=7,
    task=Task("digits:Digits"),
    training=Training(),
    strategy=Strategy(cohort_size=4),
    aggregation=Aggregation("SecAggPlus", threshold=3, colluders=0, min_survivors=3, slots_per_epoch=6),
    roster=tuple(RosterEntry(f"tenant-{index}", "digits", "") for index in range(5)),
    min_clients=2,
    round_deadline_seconds=90,
    assembly_deadline_seconds=300,
    evaluation=Evaluation(select_by=SelectBy.LOSS, patience=4),
)


def test_the_rules_are_the_jobs():
    rules = rules_of(JOB, has_evaluator=True)

    assert (rules.rounds, rules.roster, rules.seed, rules.cohort_size, rules.slots_per_epoch) == (20, 5, 7, 4, 6)
    assert (rules.assembly_seconds, rules.round_seconds) == (300, 90)
    assert Criterion(SelectBy.LOSS, 4) == rules.criterion
    assert rules.evaluation_seconds > 0


@pytest.mark.parametrize(("min_clients", "min_survivors", "threshold", "quorum"), [(4, 3, 3, 4), (2, 4, 3, 4), (2, 3, 4, 4), (0, 0, 0, 1)])
def test_the_quorum_is_the_strictest_of_all(min_clients, min_survivors, threshold, quorum):
    aggregation = replace(JOB.aggregation, min_survivors=min_survivors, threshold=threshold)

    assert quorum == rules_of(replace(JOB, min_clients=min_clients, aggregation=aggregation), has_evaluator=False).quorum


def test_without_an_evaluator_nothing_is_waited_for_or_selected():
    rules = rules_of(JOB, has_evaluator=False)

    assert (rules.criterion, rules.evaluation_seconds) == (None, 0)


def test_no_answer_takes_longer_than_a_round():
    rules = rules_of(replace(JOB, round_deadline_seconds=5, assembly_deadline_seconds=7), has_evaluator=False)

    assert rules.reply_seconds == 5
    assert rules.gathering_seconds == 7


@pytest.mark.parametrize(
    "job",
    [replace(JOB, min_clients=6), replace(JOB, strategy=Strategy(cohort_size=2)), replace(JOB, roster=()), replace(JOB, rounds=0)],
    ids=["a quorum above the roster", "a cohort below the quorum", "no roster", "no rounds"],
)
def test_a_job_that_no_round_can_satisfy_is_refused(job):
    with pytest.raises(ValueError, match="rules of the rounds"):
        rules_of(job, has_evaluator=False)
