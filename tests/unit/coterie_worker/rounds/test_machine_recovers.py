"""What the round machine does after a loss: of the slot log, or of a sum that clients had opened."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.coterie_worker.rounds.story import ALL, RULES, Story, only

from coterie_api.progress import DropReason
from coterie_worker.rounds import Phase, Resume, UnexpectedEvent
from coterie_worker.rounds import commands as do
from coterie_worker.rounds import events as on
from coterie_worker.rounds.state import MAX_SLOT_JUMP

FOUR = replace(RULES, roster=4, assembly_seconds=600)
LOST = Resume(rounds_done=1, next_slot=5, next_epoch=3, opened=frozenset({0, 1, 2}))


class TestSlots:
    def test_an_epoch_begins_above_every_slot_that_a_client_has_used(self) -> None:
        story = Story()

        commands = story.tell(on.ClientJoined(0, 4), on.ClientJoined(1, 7), on.ClientJoined(2))

        assert only(commands, do.StartEpoch).first_slot == 8
        assert only(story.keyed(0, 1, 2), do.OpenSlot).slot == 8

    def test_what_clients_say_never_takes_slots_back(self) -> None:
        story = Story(resume=Resume(next_slot=20))

        commands = story.tell(on.ClientJoined(0, 4), on.ClientJoined(1, 7), on.ClientJoined(2))

        assert only(commands, do.StartEpoch).first_slot == 20

    def test_the_slots_of_a_running_epoch_stay_where_they_are(self) -> None:
        """An epoch has keys for its own slots alone, so what a joiner says acts on the next one."""
        story = Story(replace(RULES, roster=4)).training(0, 1, 2)
        story.tell(on.ClientJoined(3, 40))

        commands = story.finished_round(0, 1, 2)

        assert only(commands, do.StartEpoch).first_slot == 41

    def test_one_client_can_not_push_slots_to_their_end(self) -> None:
        story = Story()

        assert story.state.believes(MAX_SLOT_JUMP)
        assert not story.state.believes(MAX_SLOT_JUMP + 1)
        with pytest.raises(UnexpectedEvent, match="last_slot"):
            story.tell(on.ClientJoined(0, MAX_SLOT_JUMP + 1))

    def test_a_client_that_pushes_in_every_epoch_needs_ages(self) -> None:
        epochs = (2**63 - 1) // MAX_SLOT_JUMP

        assert epochs * 0.01 > 1000 * 365 * 86400, "seconds, at a hundredth of a second for an epoch"

    def test_the_longest_job_fits_below_the_bound(self) -> None:
        assert 100_000 * RULES.attempts < MAX_SLOT_JUMP


class TestLostSums:
    def test_the_round_is_repeated_with_the_same_clients_only(self) -> None:
        story = Story(FOUR, LOST)
        story.join(0, 1, 2, 3)

        assert only(story.keyed(0, 1, 2, 3), do.OpenSlot).cohort == {0, 1, 2}

    def test_the_round_after_it_asks_everyone_again(self) -> None:
        story = Story(FOUR, LOST).training(0, 1, 2, 3)

        assert only(story.finished_round(0, 1, 2), do.OpenSlot).cohort == {0, 1, 2, 3}

    def test_it_waits_for_the_missing_one_as_long_as_for_a_quorum(self) -> None:
        story = Story(FOUR, LOST)

        commands = story.join(0, 1, 3)

        assert do.Await(story.state.step, 600) in commands
        assert story.state.phase is Phase.GATHERING
        assert only(story.join(2), do.StartEpoch).members == {0, 1, 2, 3}

    def test_it_tries_without_the_missing_one_when_the_wait_is_over(self) -> None:
        """Clients may not have opened it before the crash; they alone know."""
        story = Story(FOUR, LOST)
        story.join(0, 1, 3)

        assert only(story.deadline(), do.StartEpoch).members == {0, 1, 3}

    def test_it_does_not_wait_for_one_that_can_not_come(self) -> None:
        story = Story(FOUR, LOST)
        story.tell(on.ClientWithdrew(2, DropReason.NO_DATA))

        assert only(story.join(0, 1, 3), do.StartEpoch).members == {0, 1, 3}

    def test_a_sum_that_failed_while_it_was_opened_is_tried_again_with_the_same_clients(self) -> None:
        story = Story(FOUR).training(0, 1, 2, 3)
        story.heard(3)
        story.deadline()
        story.opened(0, 1, 2)
        story.heard()
        story.tell(on.TooFew(story.state.step, 1, 2, asked=frozenset({0, 1, 2})))

        assert only(story.keyed(0, 1, 2, 3), do.OpenSlot).cohort == {0, 1, 2}

    def test_a_slot_that_failed_before_anybody_was_asked_binds_nobody(self) -> None:
        story = Story(FOUR).training(0, 1, 2, 3)
        story.deadline()
        story.too_few()

        assert only(story.keyed(0, 1, 2, 3), do.OpenSlot).cohort == {0, 1, 2, 3}

    def test_nobody_waits_for_a_client_that_refuses_a_sum(self) -> None:
        story = Story().training(0, 1, 2)
        story.heard()
        story.opened(0, 1, 2)
        slot = story.state.slot

        assert story.tell(on.ClientFailed(0, slot, DropReason.SUM_REFUSED)) == []
        assert story.heard(0, 2) == [], "2 is still to answer, and 0 never will"
        assert only(story.heard(0), do.CloseStage)

    def test_refusals_that_end_a_job_are_told_with_those_who_had_to_be_there(self) -> None:
        rules = replace(FOUR, attempts=1)
        story = Story(rules, LOST)
        story.join(0, 1, 3)
        story.deadline()
        story.keyed(0, 1, 3)
        story.opened(0, 1, 3)
        story.heard()
        story.opened(0, 1, 3)
        for client in (0, 1):
            story.tell(on.ClientFailed(client, story.state.slot, DropReason.SUM_REFUSED))
        story.heard(0, 1)

        finish = only(story.too_few(1, 2), do.Finish)

        assert (finish.outcome, finish.opened) == (do.Outcome.TOO_FEW_SURVIVORS, frozenset({0, 1, 2}))
        assert [absence.reason for absence in story.state.absences] == [DropReason.SUM_REFUSED] * 2

    @pytest.mark.parametrize("reason", [reason for reason in DropReason if reason is not DropReason.SUM_REFUSED])
    def test_no_other_failure_counts_once_uploads_are_closed(self, reason: DropReason) -> None:
        story = Story().training(0, 1, 2)
        story.heard()
        story.opened(0, 1, 2)
        before = story.state

        assert story.tell(on.ClientFailed(0, story.state.slot, reason)) == []
        assert story.state == before

    def test_a_refusal_in_another_slot_changes_nothing(self) -> None:
        story = Story().training(0, 1, 2)
        story.heard()
        story.opened(*ALL)
        before = story.state

        assert story.tell(on.ClientFailed(0, story.state.slot + 1, DropReason.SUM_REFUSED)) == []
        assert story.state == before


class TestCheaters:
    """The others have revealed their shares for a sum that a dealer spoiled, and have the proof that it did."""

    def spoiled(self, *cheaters: int, rules=FOUR, members=(0, 1, 2, 3)):
        story = Story(rules).training(*members)
        return story, self.spoil(story, members, cheaters)

    def spoil(self, story: Story, members, cheaters):
        story.heard()
        story.opened(*members)
        story.heard()
        rest = len(set(members) - set(cheaters))
        return story.tell(on.TooFew(story.state.step, rest, 2, frozenset(members), frozenset(cheaters)))

    def test_new_keys_are_made_at_once_without_them_and_the_rest_are_asked_again(self) -> None:
        story, commands = self.spoiled(2)

        assert only(commands, do.StartEpoch).members == {0, 1, 3}
        assert only(story.keyed(0, 1, 3), do.OpenSlot).cohort == {0, 1, 3}

    def late(self) -> Story:
        """Client 3 was asked and late, and the sum of the other three is spoiled by client 2."""
        story = Story(FOUR).training(0, 1, 2, 3)
        story.heard(3)
        story.deadline()
        story.opened(0, 1, 2, 3)
        story.heard()
        story.tell(on.TooFew(story.state.step, 2, 2, frozenset({0, 1, 2}), frozenset({2})))
        return story

    def test_the_rest_is_asked_again_and_nobody_else(self) -> None:
        assert only(self.late().keyed(0, 1, 3), do.OpenSlot).cohort == {0, 1}

    def test_an_honest_one_that_is_missing_then_is_still_waited_for(self) -> None:
        story = self.late()
        story.tell(on.ClientLeft(1))
        story.opened(0, 3)
        story.heard()
        commands = story.tell(on.TooFew(story.state.step, 1, 2))

        assert do.Await(story.state.step, 600) in commands
        assert story.state.phase is Phase.GATHERING
        assert only(story.join(1), do.StartEpoch).members == {0, 1, 3}

    def test_all_that_cheated_in_one_slot_cost_one_try(self) -> None:
        story, commands = self.spoiled(1, 2)

        assert only(commands, do.StartEpoch).members == {0, 3}
        assert only(story.keyed(0, 3), do.OpenSlot).cohort == {0, 3}
        story.opened(0, 3)
        assert only(story.finished_round(0, 3), do.Record).attempts == 2

    def test_cheaters_one_after_the_other_do_not_use_up_the_tries(self) -> None:
        rules = replace(FOUR, roster=6, attempts=2)
        story, _ = self.spoiled(5, rules=rules, members=range(6))
        for cheater in (4, 3, 2):
            members = range(cheater + 1)
            story.keyed(*members)
            story.opened(*members)
            commands = self.spoil(story, members, [cheater])

        assert only(commands, do.StartEpoch).members == {0, 1}
        story.keyed(0, 1)
        story.opened(0, 1)
        assert only(story.finished_round(0, 1), do.Record).attempts == 5

    def test_no_other_failed_try_is_excused(self) -> None:
        story, _ = self.spoiled(2, rules=replace(FOUR, attempts=1))
        story.keyed(0, 1, 3)
        story.opened(0, 1, 3)
        story.deadline()

        assert only(story.too_few(), do.Finish).outcome is do.Outcome.TOO_FEW_SURVIVORS

    def test_what_is_excused_in_one_round_excuses_nothing_in_the_next(self) -> None:
        story, _ = self.spoiled(2, rules=replace(FOUR, attempts=1))
        story.keyed(0, 1, 3)
        story.opened(0, 1, 3)
        story.finished_round(0, 1, 3)
        story.opened(0, 1, 3)
        story.deadline()

        assert only(story.too_few(), do.Finish)

    def test_a_cheat_that_is_told_twice_excuses_once(self) -> None:
        story, _ = self.spoiled(2, rules=replace(FOUR, attempts=1))
        story.keyed(0, 1, 3)
        story.opened(0, 1, 3)

        assert only(self.spoil(story, (0, 1, 3), [2]), do.Finish)

    def test_too_few_honest_ones_end_the_job(self) -> None:
        _, commands = self.spoiled(0, 1, 2)
        finish = only(commands, do.Finish)

        assert finish == do.Finish(do.Outcome.TOO_FEW_SURVIVORS, None, came=1, needed=2), "it is for want of clients, not of those again"

    def test_their_streams_that_end_change_nothing(self) -> None:
        story, _ = self.spoiled(2)
        before = story.state

        assert story.tell(on.ClientLeft(2, DropReason.PROTOCOL_VIOLATION)) == []
        assert story.state == before

    def test_rounds_after_it_are_of_the_rest(self) -> None:
        story, _ = self.spoiled(2)
        story.keyed(0, 1, 3)
        story.opened(0, 1, 3)

        assert only(story.finished_round(0, 1, 3), do.OpenSlot).cohort == {0, 1, 3}

    def test_after_a_restart_nobody_waits_for_them(self) -> None:
        resume = replace(LOST, opened=frozenset({0, 1}), withdrawn=frozenset({2}))
        story = Story(FOUR, resume)

        assert only(story.join(0, 1, 3), do.StartEpoch).members == {0, 1, 3}
        assert only(story.keyed(0, 1, 3), do.OpenSlot).cohort == {0, 1}

    def test_after_a_restart_without_the_proof_on_disk_the_lost_sum_is_of_all_of_them_again(self) -> None:
        """Clients may not have got it, and open the sum with the cheat alone; it may deal well, or be caught once more."""
        story = Story(FOUR, LOST)

        assert only(story.join(0, 1, 2, 3), do.StartEpoch)
        assert only(story.keyed(0, 1, 2, 3), do.OpenSlot).cohort == {0, 1, 2}

    def test_a_roster_without_enough_honest_ones_ends_at_once(self) -> None:
        story = Story(FOUR, replace(LOST, withdrawn=frozenset({1, 2, 3})))

        assert only(story.log, do.Finish).outcome is do.Outcome.TOO_FEW_SURVIVORS
