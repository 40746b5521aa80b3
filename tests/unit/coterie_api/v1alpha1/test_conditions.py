from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie_api.errors import Fault, InvalidObject
from coterie_api.fields import parse
from coterie_api.progress import DropReason
from coterie_api.v1alpha1.conditions import SENTENCES, Condition, ConditionStatus, ConditionType, Reason, find_condition, set_condition

REPOSITORY = Path(__file__).parents[4]
EARLY, LATE = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
TRUE, FALSE = ConditionStatus.TRUE, ConditionStatus.FALSE


def condition(status: ConditionStatus = TRUE, at: str = EARLY, kind: str = ConditionType.RUNNING, message: str = "") -> Condition:
    return Condition(kind, status, Reason.TRAINING, at, message)


def test_a_new_condition_is_added_at_the_end() -> None:
    admitted = condition(kind=ConditionType.ADMITTED)

    assert set_condition((admitted,), condition()) == (admitted, condition())


def test_the_time_moves_when_the_status_changes() -> None:
    assert set_condition((condition(),), condition(FALSE, LATE)) == (condition(FALSE, LATE),)


def test_the_time_stays_when_only_the_words_change() -> None:
    assert set_condition((condition(),), condition(TRUE, LATE, message="new")) == (condition(TRUE, EARLY, message="new"),)


def test_setting_a_condition_again_changes_nothing() -> None:
    before = (condition(), condition(kind=ConditionType.ADMITTED))

    assert set_condition(before, condition(TRUE, LATE)) == before


def test_no_other_condition_is_touched() -> None:
    others = (condition(kind=ConditionType.SUSPENDED), condition(kind=ConditionType.FAILED))

    after = set_condition((others[0], condition(), others[1]), condition(FALSE, LATE))

    assert (after[0], after[2]) == others


def test_a_condition_that_was_never_set_is_not_found() -> None:
    assert find_condition((condition(),), ConditionType.FAILED) is None
    assert find_condition((condition(),), ConditionType.RUNNING) == condition()


def test_unknown_is_not_true() -> None:
    assert not condition(ConditionStatus.UNKNOWN).is_true
    assert not condition(FALSE).is_true


@given(
    st.lists(
        st.builds(condition, st.sampled_from(ConditionStatus), st.sampled_from([EARLY, LATE]), st.sampled_from(ConditionType)), max_size=12
    )
)
def test_no_type_ever_stands_twice(changes: list[Condition]) -> None:
    conditions: tuple[Condition, ...] = ()
    for change in changes:
        conditions = set_condition(conditions, change)

    assert len({found.type for found in conditions}) == len(conditions)


def test_every_reason_has_one_sentence_without_a_period() -> None:
    assert set(SENTENCES) == set(Reason)
    assert [reason for reason, text in SENTENCES.items() if text.endswith(".") or not text or "\n" in text] == []


def test_every_reason_is_one_camel_case_word() -> None:
    assert [reason for reason in Reason if not re.fullmatch(r"([A-Z][a-z]*)+", reason)] == []


def test_every_reason_is_given_by_somebody() -> None:
    sources = [path.read_text() for room in ("operator", "worker") for path in (REPOSITORY / room).rglob("*.py")]

    assert [reason for reason in Reason if not any(f"Reason.{reason.name}" in source for source in sources)] == []


def test_the_faults_of_fields_are_reasons() -> None:
    assert {str(fault) for fault in Fault} <= {str(reason) for reason in Reason}


def test_what_the_tasks_code_does_has_one_name_in_drops_and_in_conditions() -> None:
    assert {DropReason.TASK_IMPORT_FAILED.value, DropReason.TASK_RAISED.value, DropReason.OUT_OF_MEMORY.value} <= {
        str(reason) for reason in Reason
    }


@pytest.mark.parametrize(
    "change",
    [
        {"status": "Maybe"},
        {"reason": ""},
        {"reason": "two words"},
        {"lastTransitionTime": "yesterday"},
        {"type": ""},
        {"message": "x" * 1025},
    ],
    ids=str,
)
def test_a_condition_that_kubernetes_would_refuse_is_refused(change: dict[str, str]) -> None:
    valid = {"type": "Running", "status": "True", "reason": "Training", "lastTransitionTime": EARLY}
    parse(Condition, valid)

    with pytest.raises(InvalidObject):
        parse(Condition, valid | change)
