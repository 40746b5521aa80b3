"""Laws of merge patches between statuses."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from coterie_operator.act.patches import merge_patch
from coterie_operator.local.merge import merge

LEAVES = st.one_of(st.integers(), st.text(max_size=3), st.booleans(), st.lists(st.integers(), max_size=2))
VALUES = st.recursive(LEAVES, lambda inner: st.dictionaries(st.sampled_from("abcd"), inner, max_size=3), max_leaves=12)
OBJECTS = st.dictionaries(st.sampled_from("abcd"), VALUES, max_size=4)


@given(OBJECTS, OBJECTS)
def test_a_patch_turns_the_old_into_the_new(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert merge(copy.deepcopy(old), merge_patch(old, new)) == new


@given(OBJECTS)
def test_no_change_is_an_empty_patch(obj: dict[str, Any]) -> None:
    assert merge_patch(obj, copy.deepcopy(obj)) == {}


def test_a_member_that_goes_is_null_and_one_that_stays_is_not_repeated() -> None:
    assert merge_patch({"a": 1, "b": {"c": 1, "d": 2}}, {"b": {"c": 1, "d": 3}}) == {"a": None, "b": {"d": 3}}
