"""How the round machine finds a quorum and lets it share keys, told as stories with three to four clients."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.coterie_worker.rounds.story import ALL, RULES, Story, kinds, only

from coterie_api.progress import DropReason
from coterie_worker.rounds import Phase, Resume
from coterie_worker.rounds import commands as do
from coterie_worker.rounds import events as on

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
