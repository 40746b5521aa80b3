"""What the aggregator makes of its evaluator: nothing is lost in a restart, and a failure is told and decides nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from coterie_api.history import RoundLine
from coterie_api.podconfig import Aggregation, AggregatorRole, JobConfig, RosterEntry
from coterie_api.progress import Drop, DropReason
from coterie_api.v1alpha1.conditions import Reason
from coterie_api.v1alpha1.job import SelectBy
from coterie_api.v1alpha1.types import Evaluation as EvaluationSpec
from coterie_api.v1alpha1.types import Strategy, Task, Training
from coterie_worker.aggregator.evaluations import Evaluation
from coterie_worker.aggregator.history import History
from coterie_worker.aggregator.publish import Models
from coterie_worker.aggregator.shell import Aggregator, Ending, Stop
from coterie_worker.aggregator.tally import Tally
from coterie_worker.aggregator.watch import Watch
from coterie_worker.rounds import Resume, Selection, State, rules_of
from coterie_worker.rounds import commands as do
from coterie_worker.rounds import events as on
from coterie_worker.transport.server import Traffic

if TYPE_CHECKING:
    from pathlib import Path

FAILURE = Drop("", DropReason.TASK_RAISED, "ValueError", "task.py:12", "a1b2c3")
TOLD = (
    "3 rounds done; model 3 released; the newest evaluation failed: the task's code raised an exception (ValueError at task.py:12), "
    "incident a1b2c3 in the evaluator's log"
)
JOB = JobConfig(
    job_uid="uid",
    job_namespace="research",
    job_name="job",
    rounds=9,
    seed=3,
    task=Task("a:B"),
    training=Training(),
    strategy=Strategy(),
    aggregation=Aggregation("None", 1, 0, 1),
    roster=(RosterEntry("tenant-a", "visits", ""),),
    min_clients=1,
    round_deadline_seconds=60,
    assembly_deadline_seconds=60,
    evaluation=EvaluationSpec(select_by=SelectBy.LOSS, patience=2),
)


class Quiet:
    """A transport that nobody calls: the first wait is the last one."""

    async def event(self) -> None:
        raise Stop

    async def finish(self, _: object) -> None:
        return None


class Shell(Aggregator):
    """The aggregator of a job with these rounds behind it, on no network; what it was asked to perform is not done."""

    def __init__(self, folder: Path, rounds_done: int, selection: Selection = Selection()) -> None:  # noqa: B008 - a frozen value
        self._job = JOB
        self._role = AggregatorRole(has_evaluator=True, has_output=False, output_path="")
        self._resume = Resume(rounds_done, 50, 50, selection)
        self._files = SimpleNamespace(
            history=History(folder, rounds_done), models=Models(folder), checkpoint=SimpleNamespace(settle=lambda: None)
        )
        self._server = Quiet()
        self._tally = Tally(JOB, Traffic())
        self._watch = Watch(self._tally.metrics)
        self._state = self._shown = replace(State(rules_of(JOB, has_evaluator=True)), rounds_done=rounds_done)
        self._phase = ""

    async def _perform(self, command: do.Command) -> None:
        return None

    def has_done(self, rounds: int, models: tuple[int, ...] = ()) -> Shell:
        for number in range(1, rounds + 1):
            self._files.history.append(RoundLine(number, number, 1, 1, 1))
        for version in models:
            self._files.models.publish(version, np.zeros(2, np.float32))
        return self

    def resumed(self) -> Selection:
        with pytest.raises(Stop):
            asyncio.run(self._drive())
        return self._state.selection


def test_evaluations_since_the_last_checkpoint_are_not_lost_in_a_restart(tmp_path: Path) -> None:
    shell = Shell(tmp_path, 5, Selection(1, 0.9, 2)).has_done(5, (1, 3, 4, 5))
    for version, loss in ((2, 0.95), (3, 0.5), (4, 0.7)):
        shell._files.history.evaluated(version, 0.1, loss)

    assert shell.resumed() == Selection(3, 0.5, 4)


def test_a_model_that_is_deleted_does_not_become_the_result_in_a_restart(tmp_path: Path) -> None:
    shell = Shell(tmp_path, 5, Selection(1, 0.9, 2)).has_done(5, (1, 4, 5))
    for version, loss in ((3, 0.5), (4, 0.7)):
        shell._files.history.evaluated(version, 0.1, loss)

    assert shell.resumed() == Selection(4, 0.7, 4)


def test_patience_that_had_run_out_ends_a_restarted_job(tmp_path: Path) -> None:
    shell = Shell(tmp_path, 3, Selection(1, 0.1, 2)).has_done(3, (1, 2, 3))
    shell._files.history.evaluated(3, None, 0.5)

    ending = asyncio.run(shell._drive())

    assert ending.word.reason == Reason.STOPPED_EARLY


def test_without_evaluations_a_restart_tells_none(tmp_path: Path) -> None:
    assert Shell(tmp_path, 3).has_done(3, (3,)).resumed() == Selection()


def test_a_failed_evaluation_is_told_as_none_and_leaves_the_history_alone(tmp_path: Path) -> None:
    shell = Shell(tmp_path, 3).has_done(3, (2, 3))
    before = shell._files.history.lines()

    assert shell._evaluated(Evaluation(2, None, None, {}, FAILURE)) == on.Evaluated(2, None)
    assert shell._files.history.lines() == before
    assert shell.progress().evaluation_failure == FAILURE
    assert shell._evaluated(Evaluation(3, None, 0.5)) == on.Evaluated(3, 0.5)
    assert shell.progress().evaluation_failure is None


def test_an_evaluator_that_fails_is_behind_for_whoever_watches_it(tmp_path: Path) -> None:
    shell = Shell(tmp_path, 3).has_done(3, (2, 3))
    shell._evaluated(Evaluation(2, None, 0.5))
    shell._evaluated(Evaluation(3, None, None, {}, FAILURE))

    assert b"coterie_evaluated_rounds 2.0" in shell._tally.metrics.exposition(shell.progress())


def test_an_evaluator_that_could_not_begin_is_told_and_evaluates_no_model(tmp_path: Path) -> None:
    shell = Shell(tmp_path, 3).has_done(3, (3,))

    assert shell._evaluated(Evaluation(0, None, None, {}, FAILURE)) is None
    assert shell.progress().evaluation_failure == FAILURE


def test_metrics_of_a_tasks_own_are_in_the_history(tmp_path: Path) -> None:
    shell = Shell(tmp_path, 3).has_done(3, (3,))
    shell._evaluated(Evaluation(3, None, 0.5, {"loss": 0.5, "absolute_error": 0.25, "broken": None}))

    assert shell._files.history.lines()[2].metrics == {"absolute_error": 0.25}


@pytest.mark.parametrize(
    ("failure", "expected"),
    [(None, "3 rounds done; model 3 released"), (FAILURE, TOLD)],
)
def test_a_job_that_ends_without_accuracy_says_why(tmp_path: Path, failure: Drop | None, expected: str) -> None:
    shell = Shell(tmp_path, 3).has_done(3, (3,))
    shell._evaluated(Evaluation(0, None, None, {}, failure))

    ending = asyncio.run(shell._finish(do.Finish(do.Outcome.COMPLETED, 3)))

    assert isinstance(ending, Ending)
    assert (ending.word.reason, ending.word.message) == (Reason.ROUNDS_COMPLETED, expected)
