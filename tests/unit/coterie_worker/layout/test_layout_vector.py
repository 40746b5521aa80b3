"""The layout of the vector: its order, its JSON, and the contradictions that it refuses."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie_worker.layout import Entry, InvalidLayout, Kind, Layout

WEIGHT = Entry("w", (2, 3), "float32", Kind.PARAMETER)
TIED = Entry("tied", (2, 3), "float32", Kind.PARAMETER, alias_of="w")
MEAN = Entry("mean", (4,), "bfloat16", Kind.BUFFER)
VAR = Entry("var", (4,), "float32", Kind.BUFFER, minimum=0.0)
COUNT = Entry("count", (), "int64", Kind.FIXED)
FROZEN = Entry("frozen", (5,), "float16", Kind.FIXED)
BIAS = Entry("b", (), "float64", Kind.PARAMETER)
ENTRIES = (COUNT, MEAN, WEIGHT, TIED, FROZEN, VAR, BIAS)


def document(**changes: object) -> bytes:
    entry = {"name": "w", "shape": [2], "dtype": "float32", "kind": "Parameter"} | changes
    return json.dumps({"format": "coterie/v1/layout", "entries": [entry]}).encode()


def test_parameters_come_first_then_buffers_then_what_is_fixed():
    layout = Layout.of(ENTRIES)

    assert [entry.kind for entry in layout.entries] == [*[Kind.PARAMETER] * 3, *[Kind.BUFFER] * 2, *[Kind.FIXED] * 2]
    assert [(entry.name, entry.offset, entry.end) for entry in layout.in_vector] == [
        ("w", 0, 6),
        ("b", 6, 7),
        ("mean", 7, 11),
        ("var", 11, 15),
    ]
    assert (layout.trainable, layout.size) == (7, 15)
    assert [entry.name for entry in layout.fixed] == ["count", "frozen"]


def test_an_alias_has_the_place_of_what_it_names_and_no_length():
    layout = Layout.of([WEIGHT, TIED])

    assert {entry.name: entry.offset for entry in layout.entries} == {"w": 0, "tied": 0}
    assert layout.size == 6


def test_a_layout_comes_back_from_its_json_with_the_same_hash():
    layout = Layout.of(ENTRIES)
    back = Layout.from_json(layout.to_json())

    assert back == layout
    assert back.hash == layout.hash
    assert len(layout.hash) == 32


names = st.text(min_size=1, max_size=8)
kinds = st.sampled_from([(Kind.PARAMETER, "float32"), (Kind.BUFFER, "bfloat16"), (Kind.FIXED, "int64"), (Kind.FIXED, "float16")])


@given(st.dictionaries(names, st.tuples(kinds, st.lists(st.integers(0, 5), max_size=3)), max_size=6))
def test_any_layout_tiles_its_vector_without_gap_or_overlap(drawn):
    layout = Layout.of(Entry(name, tuple(shape), dtype, kind) for name, ((kind, dtype), shape) in drawn.items())
    ends = [0, *(entry.end for entry in layout.in_vector)]

    assert [entry.offset for entry in layout.in_vector] == ends[:-1]
    assert layout.size == ends[-1]
    assert Layout.from_json(layout.to_json()) == layout


@pytest.mark.parametrize(
    "other",
    [
        Entry("w", (3, 2), "float32", Kind.PARAMETER),
        Entry("w", (2, 3), "bfloat16", Kind.PARAMETER),
        Entry("w", (2, 3), "float32", Kind.BUFFER),
        Entry("v", (2, 3), "float32", Kind.PARAMETER),
        Entry("w", (2, 3), "float32", Kind.FIXED),
    ],
)
def test_the_hash_tells_any_two_layouts_apart(other):
    assert Layout.of([other]).hash != Layout.of([WEIGHT]).hash


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([WEIGHT, WEIGHT], "'w' is listed twice"),
        ([Entry("", (1,), "float32", Kind.PARAMETER)], "without a name"),
        ([Entry("w", (-1,), "float32", Kind.PARAMETER)], "negative dimension"),
        ([Entry("w", (1,), "int64", Kind.PARAMETER)], "Parameter of dtype 'int64'"),
        ([Entry("w", (1,), "bool", Kind.BUFFER)], "Buffer of dtype 'bool'"),
        ([Entry("w", (1,), "quint8", Kind.FIXED)], "Fixed of dtype 'quint8'"),
        ([Entry("w", (1,), "float32", Kind.PARAMETER, minimum=0.0)], "only buffers may"),
        ([Entry("w", (1,), "float32", Kind.FIXED, minimum=0.0)], "only buffers may"),
        ([Entry("w\udc80", (1,), "float32", Kind.PARAMETER)], "half a surrogate pair"),
        ([Entry("w", (2**32, 2**31), "float32", Kind.PARAMETER)], "more than 9223372036854775807 elements"),
        ([Entry("w", (0, 2**63), "float32", Kind.FIXED)], "or such a dimension"),
        ([Entry("w", (1,), "float32", Kind.BUFFER, minimum=float("nan"))], "its minimum is nan"),
        ([Entry("w", (1,), "float32", Kind.BUFFER, minimum=float("inf"))], "its minimum is inf"),
        ([TIED], "has no place of its own"),
        ([WEIGHT, TIED, Entry("x", (2, 3), "float32", Kind.PARAMETER, alias_of="tied")], "has no place of its own"),
        ([Entry("w", (1,), "float32", Kind.PARAMETER, alias_of="w")], "has no place of its own"),
        ([WEIGHT, Entry("x", (3, 2), "float32", Kind.PARAMETER, alias_of="w")], "differs from 'w'"),
        ([WEIGHT, Entry("x", (2, 3), "float32", Kind.BUFFER, alias_of="w")], "differs from 'w'"),
    ],
)
def test_a_layout_that_contradicts_itself_is_refused(entries, message):
    with pytest.raises(InvalidLayout, match=message):
        Layout.of(entries)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"format":"coterie/v2/layout","entries":[]}',
        b'{"format":"coterie/v1/layout"}',
        b'{"format":"coterie/v1/layout","entries":[3]}',
        b"[" * 100_000,
        b"9" * 5_000,
        document().replace(b"[2]", b"[" + b"9" * 5_000 + b"]"),
        document(shape=[10**4_000] * 2),
        document(kind="Parametre"),
        document(kind=None),
        document(name=None),
        document(shape=[2.0]),
        document(shape=[True]),
        document(shape=2),
        document(aliasOf=3),
        document(minimum="0"),
        document(dtype="float31"),
    ],
)
def test_what_is_no_layout_is_refused(text):
    with pytest.raises(InvalidLayout):
        Layout.from_json(text)
