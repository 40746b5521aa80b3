"""Laws of the round machine, told as stories with three to five clients."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from coterie_api.progress import DropReason
from coterie_api.v1alpha1.job import SelectBy
from coterie_worker.rounds import Criterion, Phase, Resume, Rules, Selection, UnexpectedEvent, begin
from coterie_worker.rounds import advance as machine
from coterie_worker.rounds import commands as do
from coterie_worker.rounds import events as on

RULES = Rules(rounds=3, roster=3, quorum=2, slots_per_epoch=2)
ALL = frozenset({0, 1, 2})


class Story:
    """A shell with clients that do as they are told; keeps what the machine asked for."""

    def __init__(self, rules=RULES, resume=None):
        self.state, commands = begin(rules, resume)
        self.log = list(commands)

    def tell(self, *events):
        """Tell events one by one; return the commands of all of them."""
        asked = []
        for event in events:
            self.state, commands = machine(self.state, event)
            asked += commands
        self.log += asked
        return asked

    def join(self, *clients):
        return self.tell(*map(on.ClientJoined, clients))

    def opened(self, *waiting):
        return self.tell(on.StageOpened(self.state.step, frozenset(waiting)))

    def heard(self, *missing):
        return self.tell(on.Heard(self.state.step, frozenset(missing)))

    def deadline(self):
        return self.tell(on.DeadlinePassed(self.state.step))

    def too_few(self, came=1, needed=2):
        return self.tell(on.TooFew(self.state.step, came, needed))

    def sum_opened(self, *survivors):
        return self.tell(on.SumOpened(self.state.step, frozenset(survivors)))

    def keyed(self, *members):
        """From StartEpoch to the first OpenSlot of the epoch."""
        self.opened(*members)
        self.heard()
        return self.tell(on.EpochReady(self.state.step, frozenset(members)))

    def training(self, *members):
        """All members join and share keys, and their first slot is open."""
        self.join(*members)
        if self.state.phase is Phase.GATHERING:
            self.deadline()
        self.keyed(*members)
        self.opened(*members)
        return self

    def finished_round(self, *survivors):
        """From an open slot to whatever comes after its sum."""
        self.heard()
        self.opened(*survivors)
        self.heard()
        return self.sum_opened(*survivors)


def only(commands, kind):
    found = [command for command in commands if isinstance(command, kind)]
    assert len(found) == 1, commands
    return found[0]


def kinds(commands):
    return [type(command).__name__ for command in commands]


# Assembling.


def test_the_machine_first_waits_for_clients():
    assert [do.Await(1, 600)] == Story().log


def test_below_the_quorum_nothing_starts():
    assert Story().join(0) == []


def test_a_quorum_gives_the_rest_a_moment():
    story = Story()

    assert [do.Await(2, 20)] == story.join(0, 1)
    assert story.state.phase is Phase.GATHERING


def test_the_whole_roster_starts_at_once():
    assert do.StartEpoch(3, epoch=1, first_slot=1, members=ALL) == only(Story().join(0, 1, 2), do.StartEpoch)


def test_after_the_moment_the_quorum_starts_alone():
    story = Story()
    story.join(0, 2)

    assert frozenset({0, 2}) == only(story.deadline(), do.StartEpoch).members


def test_a_withdrawn_client_is_not_waited_for():
    story = Story()
    story.join(0, 1)

    assert only(story.tell(on.ClientWithdrew(2, DropReason.NO_DATA)), do.StartEpoch).members == {0, 1}


def test_a_quorum_lost_while_gathering_waits_again():
    story = Story()
    story.join(0, 1)

    assert [do.Await(3, 600)] == story.tell(on.ClientLeft(1))
    assert story.state.phase is Phase.ASSEMBLING


def test_no_quorum_before_the_deadline_lets_all_go():
    story = Story()
    story.join(2)

    assert [do.Finish(do.Outcome.NO_QUORUM, None, came=1, needed=2)] == story.deadline()


def test_a_resumed_job_without_a_quorum_lets_all_go_too():
    story = Story(resume=Resume(rounds_done=2, next_slot=9, next_epoch=4))

    assert only(story.deadline(), do.Finish).outcome is do.Outcome.NO_QUORUM


def test_when_too_many_have_withdrawn_the_job_fails_at_once():
    story = Story()
    story.join(0)
    story.tell(on.ClientWithdrew(1, DropReason.TASK_IMPORT_FAILED))

    commands = story.tell(on.ClientWithdrew(2, DropReason.TASK_IMPORT_FAILED))

    assert [do.Finish(do.Outcome.TOO_FEW_SURVIVORS, None, came=1, needed=2)] == commands


def test_a_withdrawn_client_may_change_its_mind():
    story = Story()
    story.tell(on.ClientWithdrew(2, DropReason.NO_DATA))

    assert only(story.join(2, 0, 1), do.StartEpoch).members == ALL


def test_the_same_client_twice_is_no_quorum():
    assert Story().join(0, 0, 0) == []


# Keys.


def test_keys_are_shared_stage_by_stage():
    story = Story()
    story.join(0, 1, 2)

    assert [do.Await(3, 30)] == story.opened(0, 1, 2)
    assert story.heard(1, 2) == []
    assert [do.CloseStage(4)] == story.heard()
    assert [do.Await(4, 30)] == story.opened(0, 1, 2)


def test_a_stage_with_nobody_to_wait_for_closes_at_once():
    story = Story()
    story.join(0, 1, 2)

    assert kinds(story.opened()) == ["Await", "CloseStage"]


def test_a_silent_client_is_waited_for_until_the_deadline():
    story = Story()
    story.join(0, 1, 2)
    story.opened(0, 1, 2)

    assert story.heard(2) == []
    assert [do.CloseStage(4)] == story.deadline()


def test_a_client_that_leaves_is_not_waited_for():
    story = Story()
    story.join(0, 1, 2)
    story.opened(0, 1, 2)
    story.heard(2)

    assert [do.Drop(2), do.CloseStage(4)] == story.tell(on.ClientLeft(2))


def test_a_client_that_is_gone_is_not_waited_for_even_if_the_epoch_names_it():
    story = Story().training(0, 1, 2)
    story.tell(on.ClientLeft(2))

    assert kinds(story.heard(2)) == ["CloseStage"]


def test_only_those_who_hold_keys_are_asked():
    story = Story()
    story.join(0, 1, 2)
    story.opened(0, 1, 2)
    story.deadline()

    assert only(story.tell(on.EpochReady(story.state.step, frozenset({0, 2}))), do.OpenSlot).cohort == {0, 2}


def test_keys_in_too_few_hands_are_a_failed_attempt():
    story = Story()
    story.join(0, 1, 2)
    story.opened(0, 1, 2)
    story.deadline()

    commands = story.tell(on.EpochReady(story.state.step, frozenset({0})))

    assert only(commands, do.StartEpoch).epoch == 2
    assert story.state.attempt == 1


def test_an_epoch_is_used_for_its_slots_and_no_more():
    story = Story().training(0, 1, 2)

    assert kinds(story.finished_round(0, 1, 2)) == ["ApplySum", "Record", "Checkpoint", "Publish", "OpenSlot"]
    story.opened(0, 1, 2)
    last = only(story.finished_round(0, 1, 2), do.StartEpoch)
    assert (last.epoch, last.first_slot) == (2, 3)


def test_a_joiner_gets_keys_at_the_next_boundary_and_not_before():
    story = Story().training(0, 1)

    assert story.join(2) == []
    assert only(story.finished_round(0, 1), do.StartEpoch).members == ALL


def test_a_joiner_during_key_sharing_waits_for_one_slot():
    story = Story()
    story.join(0, 1)
    story.deadline()
    story.join(2)

    assert only(story.keyed(0, 1), do.OpenSlot).cohort == {0, 1}
    story.opened(0, 1)
    assert only(story.finished_round(0, 1), do.StartEpoch).members == ALL


def test_a_joiner_that_left_again_needs_no_keys():
    story = Story().training(0, 1)
    story.join(2)
    story.tell(on.ClientLeft(2))

    assert only(story.finished_round(0, 1), do.OpenSlot).cohort == {0, 1}


def test_a_new_process_of_a_client_has_lost_its_keys():
    story = Story().training(0, 1, 2)

    assert [do.Drop(1)] == story.join(1)
    assert story.state.failed[0].reason is DropReason.DISCONNECTED
    assert only(story.finished_round(0, 2), do.StartEpoch).members == ALL


def test_too_few_key_holders_get_new_keys_for_all_who_are_there():
    story = Story(replace(RULES, roster=4, quorum=3)).training(0, 1, 2)
    story.tell(on.ClientJoined(3), on.ClientLeft(3))  # 3 is known to be away again
    story.heard()
    story.tell(on.ClientLeft(0), on.ClientJoined(0))
    story.opened(1, 2)
    story.heard()

    assert only(story.sum_opened(0, 1, 2), do.StartEpoch).members == {0, 1, 2}


# Slots.


def test_a_slot_waits_for_uploads_as_long_as_a_round_may_take():
    story = Story()
    story.join(0, 1, 2)
    story.keyed(0, 1, 2)

    assert [do.Await(5, 600)] == story.opened(0, 1, 2)


def test_unmasking_waits_only_as_long_as_a_reply_takes():
    story = Story().training(0, 1, 2)
    story.heard()

    assert [do.Await(6, 30)] == story.opened(0, 1, 2)


def test_a_cohort_is_sampled_and_the_same_in_a_second_attempt():
    rules = replace(RULES, roster=5, quorum=2, cohort_size=3, seed=11)
    story = Story(rules).training(0, 1, 2, 3, 4)
    first = only(story.log, do.OpenSlot)
    story.deadline()
    story.too_few()
    second = only(story.keyed(0, 1, 2, 3, 4), do.OpenSlot)

    assert len(first.cohort) == 3
    assert (first.cohort, first.round_index) == (second.cohort, second.round_index)
    assert first.slot < second.slot


def test_what_a_round_does_is_recorded_before_it_is_final():
    story = Story().training(0, 1, 2)

    commands = story.finished_round(0, 1, 2)

    assert do.ApplySum(round_index=0, slot=1) == commands[0]
    assert do.Record(0, slot=1, attempts=1, cohort=ALL, survivors=ALL, absences=()) == commands[1]
    assert do.Checkpoint(rounds_done=1, next_slot=2, next_epoch=2, selection=Selection()) == commands[2]
    assert do.Publish(1, Selection()) == commands[3]


def test_a_failed_task_is_skipped_in_its_slot_and_asked_in_the_next():
    story = Story().training(0, 1, 2)

    assert [do.Skip(1)] == story.tell(on.ClientFailed(1, 1, DropReason.NOT_FINITE))
    commands = story.finished_round(0, 2)
    assert do.Absence(1, 1, DropReason.NOT_FINITE) == only(commands, do.Record).absences[0]
    assert only(commands, do.OpenSlot).cohort == ALL


@pytest.mark.parametrize(
    "event",
    [on.ClientFailed(1, 0, DropReason.TASK_RAISED), on.ClientFailed(1, 2, DropReason.TASK_RAISED)],
    ids=["of an earlier slot", "of a slot to come"],
)
def test_a_failure_in_another_slot_is_not_counted(event):
    story = Story().training(0, 1, 2)
    before = story.state

    assert story.tell(event) == []
    assert story.state == before


def test_a_failure_after_the_upload_changes_nothing():
    story = Story().training(0, 1, 2)
    story.heard(0, 2)

    assert story.tell(on.ClientFailed(1, 1, DropReason.TASK_RAISED)) == []
    assert story.state.failed == ()


def test_a_client_that_leaves_after_its_upload_is_in_the_sum():
    story = Story().training(0, 1, 2)
    story.heard(1, 2)
    story.tell(on.ClientLeft(0))

    record = only(story.finished_round(0, 1, 2), do.Record)

    assert (record.survivors, record.absences) == (ALL, ())


def test_late_clients_are_recorded_as_late_and_the_round_goes_on():
    story = Story().training(0, 1, 2)
    story.heard(2)
    story.deadline()
    story.opened(0, 1)
    story.heard()

    record = only(story.sum_opened(0, 1), do.Record)

    assert (do.Absence(1, 2, DropReason.LATE),) == record.absences


def test_a_slot_that_can_no_longer_succeed_is_closed_early():
    story = Story().training(0, 1, 2)
    story.tell(on.ClientFailed(0, 1, DropReason.TASK_RAISED))

    assert [do.Drop(1), do.CloseStage(6)] == story.tell(on.ClientLeft(1))


def test_an_attempt_that_ends_too_small_is_repeated_in_a_new_slot_with_new_keys():
    story = Story().training(0, 1, 2)
    story.deadline()

    again = only(story.too_few(), do.StartEpoch)
    slot = only(story.keyed(0, 1, 2), do.OpenSlot)

    assert (again.epoch, again.first_slot) == (2, 2)
    assert (slot.slot, slot.round_index) == (2, 0)


def test_a_round_tells_the_absences_of_all_its_attempts():
    story = Story().training(0, 1, 2)
    story.tell(on.ClientFailed(0, 1, DropReason.TASK_RAISED), on.ClientFailed(1, 1, DropReason.OUT_OF_MEMORY))
    story.too_few()
    story.keyed(0, 1, 2)
    story.opened(0, 1, 2)
    story.tell(on.ClientFailed(2, 2, DropReason.NOT_FINITE))

    record = only(story.finished_round(0, 1), do.Record)

    assert record.attempts == 2
    assert [(absence.slot, absence.client) for absence in record.absences] == [(1, 0), (1, 1), (2, 2)]


def test_three_failed_attempts_in_a_row_fail_the_job_with_the_numbers():
    story = Story().training(0, 1, 2)
    for _ in range(2):
        story.deadline()
        story.too_few()
        story.keyed(0, 1, 2)
        story.opened(0, 1, 2)
    story.deadline()

    assert [do.Finish(do.Outcome.TOO_FEW_SURVIVORS, None, came=1, needed=2)] == story.too_few(1, 2)
    assert [command.slot for command in story.log if isinstance(command, do.OpenSlot)] == [1, 2, 3]


def test_three_epochs_without_keys_fail_the_job_too():
    story = Story()
    story.join(0, 1, 2)
    story.too_few()
    story.too_few()

    assert only(story.too_few(), do.Finish).outcome is do.Outcome.TOO_FEW_SURVIVORS


def test_attempts_are_counted_in_a_row_only():
    story = Story(replace(RULES, slots_per_epoch=8)).training(0, 1, 2)
    for slot in (1, 3, 5):
        assert only(story.log[-9:], do.OpenSlot).slot == slot
        story.deadline()
        story.too_few()
        story.keyed(0, 1, 2)
        story.opened(0, 1, 2)
        story.finished_round(0, 1, 2)
        if not story.state.is_done:
            story.opened(0, 1, 2)

    assert do.Finish(do.Outcome.COMPLETED, 3) == story.log[-1]


def test_a_sum_of_too_few_is_never_applied():
    story = Story().training(0, 1, 2)
    story.heard()
    story.opened(0)
    story.heard()

    commands = story.sum_opened(0)

    assert "ApplySum" not in kinds(commands)
    assert only(commands, do.StartEpoch).first_slot == 2


def test_after_the_clients_are_gone_the_job_waits_and_then_fails_with_the_numbers():
    story = Story().training(0, 1, 2)
    story.tell(on.ClientLeft(0), on.ClientLeft(1))

    assert [do.Await(7, 600)] == story.too_few()
    assert [do.Finish(do.Outcome.TOO_FEW_SURVIVORS, None, came=1, needed=2)] == story.deadline()


def test_clients_that_come_back_in_time_save_the_job():
    story = Story().training(0, 1, 2)
    story.tell(on.ClientLeft(0), on.ClientLeft(1))
    story.too_few()

    assert only(story.join(1), do.StartEpoch).members == {1, 2}


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


# Late, repeated and impossible events.


def test_late_events_change_nothing():
    story = Story().training(0, 1, 2)
    old = story.state.step - 1
    late = [
        on.StageOpened(old, ALL),
        on.Heard(old, frozenset()),
        on.DeadlinePassed(old),
        on.EpochReady(old, ALL),
        on.SumOpened(old, ALL),
        on.TooFew(old, 0, 2),
    ]

    assert all(machine(story.state, event) == (story.state, ()) for event in late)


def test_a_deadline_between_question_and_answer_changes_nothing():
    story = Story().training(0, 1, 2)
    story.heard()

    assert machine(story.state, on.DeadlinePassed(story.state.step)) == (story.state, ())


IMPOSSIBLE = {
    "a client outside the roster": lambda s: on.ClientJoined(3),
    "a client below zero": lambda s: on.ClientLeft(-1),
    "a step that was never given out": lambda s: on.Heard(s.step + 1, frozenset()),
    "a deadline of a step to come": lambda s: on.DeadlinePassed(s.step + 1),
    "a model that is not made yet": lambda s: on.Evaluated(1, 0.5),
    "the initial model, which is never shown": lambda s: on.Evaluated(0, 0.5),
    "a stage opened twice": lambda s: on.StageOpened(s.step, ALL),
    "keys that nobody asked for": lambda s: on.EpochReady(s.step, ALL),
    "a sum that nobody asked for": lambda s: on.SumOpened(s.step, ALL),
    "an end that nobody asked for": lambda s: on.TooFew(s.step, 0, 2),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_an_event_that_cannot_be_raises(case):
    story = Story().training(0, 1, 2)
    before = story.state

    with pytest.raises(UnexpectedEvent):
        story.tell(IMPOSSIBLE[case](story.state))

    assert story.state == before


def test_a_sum_can_not_open_before_uploads_are_closed():
    story = Story()
    story.join(0, 1, 2)
    story.keyed(0, 1, 2)

    with pytest.raises(UnexpectedEvent, match="SumOpened is not due in phase Training"):
        story.sum_opened(0, 1, 2)


BAD_RULES = {
    "no rounds": {"rounds": 0},
    "no roster": {"roster": 0},
    "no quorum": {"quorum": 0},
    "a quorum above the roster": {"quorum": 4},
    "a cohort below the quorum": {"cohort_size": 1},
    "a cohort above the roster": {"cohort_size": 4},
    "no slots": {"slots_per_epoch": 0},
    "no attempts": {"attempts": 0},
    "a negative deadline": {"round_seconds": -1.0},
    "a deadline that is no number": {"reply_seconds": math.nan},
}


@pytest.mark.parametrize("case", BAD_RULES)
def test_rules_that_no_round_can_keep_are_refused(case):
    with pytest.raises(ValueError, match=r"rules of the rounds: .* must be"):
        replace(RULES, **BAD_RULES[case])
