"""Laws of the codec on classes of its own, and on every file that pods exchange."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie_api import podconfig, progress
from coterie_api.errors import FieldError, InvalidObject
from coterie_api.fields import canonical, dump, parse
from coterie_api.shape import About, Rule, entries, node_of
from coterie_api.v1alpha1 import types


class Color(StrEnum):
    RED = "Red"
    BLUE = "Blue"


@dataclass(frozen=True, slots=True)
class Point:
    left: int
    right_hand: float = 0.5


@dataclass(frozen=True, slots=True)
class Everything:
    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule("tags", "self.tags.size() != 2", "any number of tags but two", lambda self: len(self.tags) != 2),
    )

    name: Annotated[str, About("A name.", pattern="^[a-z]+$", max_length=5)]
    point: Point
    color: Color = Color.RED
    ratio: Annotated[float, About(above=0, below=1)] = 0.25
    count: Annotated[int | None, About(minimum=1, maximum=9)] = None
    flag: bool = False
    tags: Annotated[tuple[str, ...], About(unique=True, max_items=3)] = ()
    points: Annotated[tuple[Point, ...], About(keys=("left",))] = ()
    free: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    size: Annotated[str, About(int_or_string=True)] = ""
    maybe: Point | None = None


MINIMAL: dict[str, Any] = {"name": "abc", "point": {"left": 1}}


def errors_of(changes: dict[str, Any], *, strict: bool = True) -> tuple[FieldError, ...]:
    with pytest.raises(InvalidObject) as caught:
        parse(Everything, MINIMAL | changes, "spec", strict=strict)
    return caught.value.errors


def test_what_is_not_given_takes_its_default() -> None:
    assert parse(Everything, MINIMAL) == Everything("abc", Point(1, 0.5))


def test_null_reads_like_absence() -> None:
    assert parse(Everything, MINIMAL | {"count": None, "color": None, "tags": None, "maybe": None}) == parse(Everything, MINIMAL)


def test_a_dump_leaves_out_what_is_empty_and_keeps_the_other_defaults() -> None:
    expected = {"name": "abc", "point": {"left": 1, "rightHand": 0.5}, "color": "Red", "ratio": 0.25, "flag": False}

    assert dump(parse(Everything, MINIMAL)) == expected


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"name": None}, "spec.name"),
        ({"name": "ABC"}, "spec.name"),
        ({"name": "abc\n"}, "spec.name"),
        ({"name": "abcdef"}, "spec.name"),
        ({"name": 3}, "spec.name"),
        ({"point": None}, "spec.point"),
        ({"point": []}, "spec.point"),
        ({"point": {}}, "spec.point.left"),
        ({"point": {"left": True}}, "spec.point.left"),
        ({"point": {"left": 1.0}}, "spec.point.left"),
        ({"point": {"left": "1"}}, "spec.point.left"),
        ({"point": {"left": 1, "rightHand": "0.5"}}, "spec.point.rightHand"),
        ({"point": {"left": 1, "rightHand": False}}, "spec.point.rightHand"),
        ({"point": {"left": 1, "rightHand": float("nan")}}, "spec.point.rightHand"),
        ({"point": {"left": 1, "rightHand": float("inf")}}, "spec.point.rightHand"),
        ({"point": {"left": 1, "rightHand": 10**400}}, "spec.point.rightHand"),
        ({"point": {"left": 1, "right_hand": 0.5}}, "spec.point.right_hand"),
        ({"color": "red"}, "spec.color"),
        ({"color": 1}, "spec.color"),
        ({"ratio": 0}, "spec.ratio"),
        ({"ratio": 1}, "spec.ratio"),
        ({"count": 0}, "spec.count"),
        ({"count": 10}, "spec.count"),
        ({"flag": 1}, "spec.flag"),
        ({"flag": "true"}, "spec.flag"),
        ({"tags": "abc"}, "spec.tags"),
        ({"tags": ["a", "b", "c", "d"]}, "spec.tags"),
        ({"tags": ["a", 1, "c"]}, "spec.tags[1]"),
        ({"tags": ["a", "b", "a"]}, "spec.tags[2]"),
        ({"tags": ["a", "b"]}, "spec.tags"),
        ({"points": [{"left": 1}, {"left": 1, "rightHand": 2}]}, "spec.points[1]"),
        ({"points": {"left": 1}}, "spec.points"),
        ({"free": [1]}, "spec.free"),
        ({"free": {1: 1}}, "spec.free"),
        ({"free": {"a": {1: 1}}}, "spec.free"),
        ({"free": {"a": float("nan")}}, "spec.free"),
        ({"free": {"a": 10**400}}, "spec.free"),
        ({"free": {"a": {1, 2}}}, "spec.free"),
        ({"labels": {"a": 1}}, "spec.labels.a"),
        ({"labels": {1: "a"}}, "spec.labels"),
        ({"size": True}, "spec.size"),
        ({"maybe": {}}, "spec.maybe.left"),
        ({"colour": "Red"}, "spec.colour"),
        ({1: "Red"}, "spec.1"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused_by_the_name_of_its_field(changes: dict[str, Any], path: str) -> None:
    assert [error.field for error in errors_of(changes)] == [path]


@pytest.mark.parametrize("obj", [None, [], "name", 3, True])
def test_what_is_no_object_is_refused(obj: Any) -> None:
    with pytest.raises(InvalidObject):
        parse(Everything, obj)


def test_free_json_that_is_too_deep_is_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(20):
        deep = {"a": deep}

    assert [error.field for error in errors_of({"free": deep})] == ["spec.free"]


def test_all_errors_come_at_once() -> None:
    assert [error.field for error in errors_of({"name": 1, "ratio": 2, "points": [{}], "hue": 1})] == [
        "spec.name",
        "spec.ratio",
        "spec.points[0].left",
        "spec.hue",
    ]


def test_a_misspelt_field_is_told_what_was_probably_meant() -> None:
    assert errors_of({"colour": "Red"})[0].allowed == "did you mean color?"
    assert errors_of({"point": {"left": 1, "right_hand": 1}})[0].allowed == "did you mean rightHand?"


def test_an_unknown_field_is_passed_over_only_when_asked() -> None:
    assert parse(Everything, MINIMAL | {"later": 1}, strict=False) == parse(Everything, MINIMAL)


def test_leniency_towards_unknown_fields_is_no_leniency_towards_known_ones() -> None:
    assert [error.field for error in errors_of({"ratio": 2, "later": 1}, strict=False)] == ["spec.ratio"]


def test_a_long_value_is_not_repeated_in_whole() -> None:
    error = errors_of({"name": "x" * 10_000})[0]

    assert len(error.found) == 80


def test_a_message_has_no_line_break_whatever_was_found() -> None:
    assert "\n" not in str(errors_of({"name": "a\nb"})[0])


def test_a_quantity_may_be_a_number() -> None:
    assert parse(Everything, MINIMAL | {"size": 2}).size == "2"
    assert parse(Everything, MINIMAL | {"size": 0.5}).size == "0.5"


def test_free_json_is_kept_as_the_api_server_keeps_it() -> None:
    free = {"one": 1.0, "none": None, "deep": {"none": None, "list": [2.0, 1e-7, True]}, "big": 2**64}

    kept = parse(Everything, MINIMAL | {"free": free}).free

    assert json.dumps(kept) == '{"one": 1, "deep": {"none": null, "list": [2, 1e-07, true]}, "big": 1.8446744073709552e+19}'


def test_canonical_bytes_are_the_same_whatever_the_order_and_the_spelling_of_numbers() -> None:
    one = parse(Everything, {"name": "a", "point": {"left": 1, "rightHand": 1.0}, "free": {"x": 1.0, "ä": 2}})
    other = parse(Everything, {"free": {"ä": 2, "x": 1}, "point": {"rightHand": 1, "left": 1}, "name": "a"})

    assert canonical(one) == canonical(other)
    assert canonical(one).startswith(b'{"color":"Red","flag":false,"free":{"x":1,"\xc3\xa4":2},')


def test_canonical_bytes_differ_when_a_value_does() -> None:
    assert canonical(Point(1, 0.1)) != canonical(Point(1, 0.1 + 2**-50))


@pytest.mark.parametrize("annotation", [list[int], int | str, bytes, object, set[str]], ids=str)
def test_a_type_without_a_json_form_is_refused(annotation: Any) -> None:
    with pytest.raises(TypeError):
        node_of(annotation)


def test_a_fields_own_words_win_over_those_of_its_type() -> None:
    short = Annotated[str, About("Short.", max_length=5, pattern="^a")]

    node = node_of(Annotated[short | None, About("Shorter.", max_length=3)])

    assert (node.about.text, node.about.max_length, node.about.pattern) == ("Shorter.", 3, "^a")


ROUNDTRIP = [
    podconfig.JobConfig,
    podconfig.ClientRole,
    podconfig.AggregatorRole,
    progress.Progress,
    progress.Termination,
    types.FederatedJobStatus,
    types.FederatedDatasetStatus,
]


@pytest.mark.parametrize("cls", ROUNDTRIP)
def test_every_file_of_a_pod_has_a_json_form(cls: type) -> None:
    assert entries(cls)


FINITE = st.floats(allow_nan=False, allow_infinity=False, width=32)
DROPS = st.builds(progress.Drop, st.text(max_size=9), st.sampled_from(progress.DropReason), st.text(max_size=9))
PROGRESS = st.builds(
    progress.Progress,
    rounds_done=st.integers(0, 2**40),
    accuracy=st.none() | FINITE,
    loss=st.none() | FINITE,
    best_round=st.none() | st.integers(0, 99),
    round_seconds=FINITE,
    drops=st.lists(DROPS, max_size=3).map(tuple),
)


@given(PROGRESS)
def test_progress_comes_back_from_json(value: progress.Progress) -> None:
    assert parse(progress.Progress, json.loads(json.dumps(dump(value)))) == value
    assert parse(progress.Progress, json.loads(canonical(value))) == value


@given(st.builds(progress.Termination, st.text(max_size=9), st.text(max_size=99), st.none() | DROPS, st.none() | PROGRESS))
def test_a_last_word_comes_back_from_json(value: progress.Termination) -> None:
    assert parse(progress.Termination, json.loads(canonical(value))) == value
