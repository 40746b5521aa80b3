"""How the round machine ends a job, and goes on with one that was interrupted."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.coterie_worker.rounds.story import ALL, RULES, Story, only

from coterie_api.progress import DropReason
from coterie_api.v1alpha1.job import SelectBy
from coterie_worker.rounds import Criterion, Phase, Resume, Selection, UnexpectedEvent, begin
from coterie_worker.rounds import advance as machine
from coterie_worker.rounds import commands as do
from coterie_worker.rounds import events as on

# The end.


def run_to_the_end(rules=RULES, evaluations=()):
    story = Story(rules).training(*range(rules.roster))
    members = range(rules.roster)
    while story.state.phase is not Phase.DONE and story.state.phase is not Phase.EVALUATING:
        if story.state.phase is Phase.KEYING:
            story.keyed(*members)
        if story.state.waiting is None:
            story.opened(*members)
        story.finished_round(*members)
        for version, value in evaluations:
            if version == story.state.rounds_done:
                story.tell(on.Evaluated(version, value))
    return story


def test_after_all_rounds_the_newest_model_is_released():
    assert do.Finish(do.Outcome.COMPLETED, 3) == run_to_the_end().log[-1]


def test_the_last_models_numbers_are_waited_for():
    story = run_to_the_end(replace(RULES, evaluation_seconds=9))

    assert story.log[-1] == do.Await(story.state.step, 9)
    assert story.tell(on.Evaluated(2, 0.5)) == []
    assert [do.Finish(do.Outcome.COMPLETED, 3)] == story.tell(on.Evaluated(3, 0.5))


def test_an_evaluator_that_never_answers_does_not_fail_the_job():
    story = run_to_the_end(replace(RULES, evaluation_seconds=9, criterion=Criterion()))

    assert [do.Finish(do.Outcome.COMPLETED, 3)] == story.deadline()


def test_the_best_model_is_released_not_the_newest():
    story = run_to_the_end(replace(RULES, criterion=Criterion()), [(1, 0.5), (2, 0.9)])

    assert do.Finish(do.Outcome.COMPLETED, 2) == story.log[-1]


def test_without_select_by_the_newest_is_released():
    assert run_to_the_end(RULES, [(1, 0.9), (2, 0.1)]).log[-1] == do.Finish(do.Outcome.COMPLETED, 3)


def test_a_model_that_is_no_better_is_not_the_best():
    story = Story(replace(RULES, criterion=Criterion(SelectBy.LOSS))).training(0, 1, 2)
    story.finished_round(0, 1, 2)
    story.tell(on.Evaluated(1, 0.3))
    story.opened(0, 1, 2)
    story.finished_round(0, 1, 2)

    story.tell(on.Evaluated(2, 0.4))

    assert Selection(1, 0.3, 2) == story.state.selection


def test_patience_stops_at_the_boundary_of_a_slot():
    story = Story(replace(RULES, rounds=9, criterion=Criterion(patience=1), slots_per_epoch=9)).training(0, 1, 2)
    story.finished_round(0, 1, 2)
    story.tell(on.Evaluated(1, 0.9))
    story.opened(0, 1, 2)
    story.finished_round(0, 1, 2)
    story.opened(0, 1, 2)

    assert story.tell(on.Evaluated(2, 0.8)) == []
    assert do.Finish(do.Outcome.STOPPED_EARLY, 1) == story.finished_round(0, 1, 2)[-1]


def test_patience_that_runs_out_while_clients_are_missing_stops_the_job():
    story = Story(replace(RULES, rounds=9, criterion=Criterion(patience=1)), Resume(3, 9, 4, Selection(2, 0.9, 2)))

    assert [do.Finish(do.Outcome.STOPPED_EARLY, 2)] == story.tell(on.Evaluated(3, 0.1))


def test_an_evaluator_that_fails_stops_no_job_and_is_not_waited_for():
    rules = replace(RULES, evaluation_seconds=9, criterion=Criterion(patience=1))
    story = run_to_the_end(rules, [(1, None), (2, None)])

    assert story.state.rounds_done == rules.rounds
    assert [do.Finish(do.Outcome.COMPLETED, 3)] == story.tell(on.Evaluated(3, None))


def test_a_finished_machine_emits_nothing():
    story = run_to_the_end()
    events = [
        on.ClientJoined(0),
        on.ClientLeft(1),
        on.ClientWithdrew(2, DropReason.NO_DATA),
        on.ClientFailed(0, 3, DropReason.TASK_RAISED),
        on.StageOpened(story.state.step, ALL),
        on.SumOpened(story.state.step, ALL),
        on.TooFew(story.state.step, 0, 2),
        on.DeadlinePassed(story.state.step),
        on.Evaluated(3, 0.5),
    ]

    assert all(machine(story.state, event) == (story.state, ()) for event in events)


# Resuming.


def test_a_resumed_job_publishes_again_and_goes_on_with_a_new_slot_and_epoch():
    story = Story(resume=Resume(rounds_done=2, next_slot=8, next_epoch=4))

    assert [do.Publish(2, Selection()), do.Await(1, 600)] == story.log
    epoch = only(story.join(0, 1, 2), do.StartEpoch)
    slot = only(story.keyed(0, 1, 2), do.OpenSlot)
    assert (epoch.epoch, epoch.first_slot) == (4, 8)
    assert (slot.slot, slot.round_index) == (8, 2)


def test_a_job_that_was_done_is_released_again():
    assert [do.Publish(3, Selection()), do.Finish(do.Outcome.COMPLETED, 3)] == Story(resume=Resume(rounds_done=3, next_slot=4)).log


@pytest.mark.parametrize("rounds_done", [-1, 4])
def test_a_checkpoint_beyond_the_job_is_refused(rounds_done):
    with pytest.raises(UnexpectedEvent, match=f"rounds_done is {rounds_done}, must be from 0 to 3"):
        begin(RULES, Resume(rounds_done=rounds_done))
