"""What pods say last, and what of it may be told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie_api.fields import dump
from coterie_api.progress import Drop, DropReason, Progress, Termination
from coterie_operator.observe.words import ERROR_CLASS, INCIDENT, WHERE, from_aggregator, from_client, hold

CLIENT = "hospital-a/visits"


def ended(said: Any, reason: str = "Error") -> dict[str, Any]:
    return {"exitCode": 64, "reason": reason, "message": said if isinstance(said, str) else json.dumps(said)}


def test_a_reason_of_the_catalog_comes_through() -> None:
    found = from_client(ended({"reason": "NoData", "message": ""}), CLIENT)

    assert found is not None
    assert found.drop == Drop(CLIENT, DropReason.NO_DATA)


def test_the_kernels_word_counts_more_than_the_pods() -> None:
    found = from_client(ended({"reason": "NoData", "message": ""}, reason="OOMKilled"), CLIENT)

    assert found is not None
    assert found.drop == Drop(CLIENT, DropReason.OUT_OF_MEMORY)


@pytest.mark.parametrize(
    "said",
    [
        "",
        "Traceback: could not convert 'Smith, John'",
        "[]",
        "3",
        '{"reason": 3}',
        '{"message": "x"}',
        {"reason": "Smith, John", "message": ""},
    ],
)
def test_anything_else_that_a_client_says_is_dropped(said: Any) -> None:
    assert from_client(ended(said), CLIENT) is None


@given(st.text(max_size=200), st.text(max_size=200), st.text(max_size=200), st.text(max_size=200))
def test_a_held_drop_has_only_what_looks_like_a_name(client: str, error: str, where: str, incident: str) -> None:
    held = hold(Drop(client, DropReason.TASK_RAISED, error, where, incident))

    for text, pattern in ((held.error_class, ERROR_CLASS), (held.where, WHERE), (held.incident, INCIDENT)):
        assert text == "" or pattern.fullmatch(text)


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_free_text_of_a_client_survives(message: str, client: str) -> None:
    drop = dump(Drop(client, DropReason.TASK_RAISED, message, message, message))
    found = from_client(ended({"reason": "TaskRaised", "message": message, "drop": drop}), CLIENT)

    assert found is not None
    assert found.message == ""
    assert found.progress is None
    assert found.drop is not None
    assert found.drop.client == CLIENT


@pytest.mark.parametrize("where", ["task.py:31", "pkg/models/task.py:1"])
def test_places_in_code_come_through(where: str) -> None:
    assert hold(Drop(CLIENT, DropReason.TASK_RAISED, "ValueError", where)).where == where


@pytest.mark.parametrize(
    "where", ["task.py", "task.py:31 John", "Smith, John:3", "a" * 129 + ":1", "task.py:12345678", "\ntask.py:1", "task.py:1\n"]
)
def test_what_is_no_place_in_code_does_not(where: str) -> None:
    assert hold(Drop(CLIENT, DropReason.TASK_RAISED, "ValueError", where)).where == ""


def test_an_aggregators_message_comes_through_with_its_drops_held() -> None:
    drops = [{"client": CLIENT, "reason": "TaskRaised", "where": "Smith, John"}]
    found = from_aggregator(ended({"reason": "TooFewSurvivors", "message": "2 of 4", "progress": {"drops": drops}}))

    assert found is not None
    assert found.progress is not None
    assert (found.message, found.progress.drops[0].where) == ("2 of 4", "")


def test_words_longer_than_allowed_are_no_words() -> None:
    assert from_aggregator(ended({"reason": "X", "message": "m" * 5000})) is None


def test_what_an_evaluator_says_of_its_failure_is_held_to_names() -> None:
    failure = Drop("", DropReason.TASK_RAISED, "Smith, John", "task.py:12", "Smith")
    found = from_aggregator(ended(dump(Termination("RoundsCompleted", "", progress=Progress(evaluation_failure=failure)))))

    assert found is not None
    assert found.progress == Progress(evaluation_failure=Drop("", DropReason.TASK_RAISED, "", "task.py:12", ""))
