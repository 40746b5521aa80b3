"""What an aggregator keeps of clients' own words about their failures: the last ones of each, for the slot that they are about."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from coterie_api.progress import Drop, DropReason
from coterie_worker.aggregator.tally import Tally
from coterie_worker.rounds.commands import Absence
from coterie_worker.transport import Dropped
from coterie_worker.transport.server import Traffic

ABSENT = Absence(7, 0, DropReason.LATE)


@pytest.fixture
def tally() -> Tally:
    job: Any = SimpleNamespace(roster=[SimpleNamespace(client="tenant-a/visits"), SimpleNamespace(client="tenant-b/visits")])
    return Tally(job, Traffic())


def raised(slot: int, name: str = "ValueError") -> Dropped:
    return Dropped(slot, DropReason.TASK_RAISED, name, "task.py:12", "a1b2c3")


def test_a_clients_own_words_tell_more_than_that_it_is_absent(tally: Tally) -> None:
    tally.failed(0, raised(7))

    assert tally.drops([ABSENT]) == (Drop("tenant-a/visits", DropReason.TASK_RAISED, "ValueError", "task.py:12", "a1b2c3"),)


@pytest.mark.parametrize("slot", [0, 6, 8])
def test_words_about_another_slot_tell_nothing_of_this_one(tally: Tally, slot: int) -> None:
    tally.failed(0, raised(slot))

    assert tally.drops([ABSENT]) == (Drop("tenant-a/visits", DropReason.LATE),)


def test_anothers_words_are_not_its_own(tally: Tally) -> None:
    tally.failed(1, raised(7))

    assert tally.drops([ABSENT]) == (Drop("tenant-a/visits", DropReason.LATE),)


def test_one_who_speaks_of_slots_without_end_is_kept_once(tally: Tally) -> None:
    for slot in range(1000):
        tally.failed(0, raised(slot))

    assert len(tally.said) == 1
