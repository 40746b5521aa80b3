from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie_operator.local.merge import merge

# RFC 7386, appendix A: target, patch, result.
VECTORS = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]

TREES = st.recursive(
    st.none() | st.integers() | st.text(max_size=3), lambda inner: st.dictionaries(st.text("abc", max_size=1), inner), max_leaves=8
)


@pytest.mark.parametrize(("target", "patch", "result"), VECTORS)
def test_a_patch_does_what_the_rfc_says(target, patch, result) -> None:
    assert merge(target, patch) == result


@given(TREES, TREES)
def test_a_patch_changes_neither_of_its_arguments_and_applies_once(target, patch) -> None:
    before = copy.deepcopy((target, patch))
    once = merge(target, patch)

    assert (target, patch) == before
    assert merge(once, patch) == once
