"""What the round machine leaves unheard, and what it refuses: late events, impossible ones, rules that can't be kept."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from tests.unit.coterie_worker.rounds.story import ALL, RULES, Story

from coterie_worker.rounds import UnexpectedEvent
from coterie_worker.rounds import advance as machine
from coterie_worker.rounds import events as on


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
