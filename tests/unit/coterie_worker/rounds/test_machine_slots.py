"""How the round machine goes through slots: who is asked, who is missing, and when an attempt is repeated."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.coterie_worker.rounds.story import ALL, RULES, Story, kinds, only

from coterie_api.progress import DropReason
from coterie_worker.rounds import Selection
from coterie_worker.rounds import commands as do
from coterie_worker.rounds import events as on


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
