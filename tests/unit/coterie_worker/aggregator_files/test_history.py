from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.coterie_worker.aggregator_files.crash_disk import CrashDisk

from coterie_api.history import FILE, SCHEMA, RoundLine, UnknownSchema, UnreadableLine, decode, fold
from coterie_worker.aggregator.history import DamagedHistory, History


def line(number, **fields):
    return replace(RoundLine(round=number, slot=number + 10, attempts=1, cohort=3, survivors=2, drops={"Late": 1}), **fields)


def rounds(history):
    return [found.round for found in history.lines()]


def opened(folder, rounds_done=0):
    """A history on a disk that syncs nothing for real, which is slow."""
    return History(folder, rounds_done, CrashDisk(folder))


def filled(folder, count=3):
    history = opened(folder)
    for number in range(1, count + 1):
        history.append(line(number))
    return history


def test_each_round_has_one_line(tmp_path):
    assert (line(1), line(2), line(3)) == filled(tmp_path).lines()


def test_a_line_is_json_with_its_schema(tmp_path):
    filled(tmp_path, 1)
    found = json.loads((tmp_path / FILE).read_text())

    assert found["schema"] == SCHEMA
    assert found["drops"] == {"Late": 1}
    assert found["accuracy"] is None


def test_an_evaluation_comes_to_its_round(tmp_path):
    history = filled(tmp_path)
    history.evaluated(2, 0.75, 0.5)

    assert (line(1), line(2, accuracy=0.75, loss=0.5), line(3)) == history.lines()


def test_metrics_of_a_tasks_own_come_to_its_round_and_are_there_after_a_restart(tmp_path):
    filled(tmp_path).evaluated(2, None, 0.5, {"absolute_error": 0.25})
    history = opened(tmp_path, rounds_done=3)

    assert history.lines() == (line(1), line(2, loss=0.5, metrics={"absolute_error": 0.25}), line(3))
    assert json.loads((tmp_path / FILE).read_text().splitlines()[1])["metrics"] == {"absolute_error": 0.25}


def test_a_round_with_metrics_of_a_tasks_own_alone_was_evaluated(tmp_path):
    history = filled(tmp_path)
    history.evaluated(2, None, None, {"absolute_error": 0.25})

    assert [found.round for found in history.evaluated_since(0)] == [2]


@pytest.mark.parametrize("version", [0, 4, -1])
def test_an_evaluation_of_no_round_adds_no_line(tmp_path, version):
    history = filled(tmp_path)
    before = (tmp_path / FILE).read_bytes()

    history.evaluated(version, 0.75, 0.5)

    assert before == (tmp_path / FILE).read_bytes()


def test_a_resumed_run_loses_no_round_and_repeats_none(tmp_path):
    filled(tmp_path).evaluated(2, 0.75, 0.5)
    history = opened(tmp_path, rounds_done=3)
    history.append(line(4))

    assert rounds(history) == [1, 2, 3, 4]
    assert history.lines()[1].accuracy == 0.75


def test_rounds_beyond_the_checkpoint_are_cut(tmp_path):
    filled(tmp_path)
    history = opened(tmp_path, rounds_done=2)
    history.append(line(3, slot=99))

    assert rounds(history) == [1, 2, 3]
    assert history.lines()[2].slot == 99


def test_opening_again_leaves_one_line_a_round(tmp_path):
    filled(tmp_path).evaluated(2, 0.75, 0.5)
    opened(tmp_path, rounds_done=3)

    assert (tmp_path / FILE).read_bytes().count(b"\n") == 3


def test_a_round_of_before_the_restart_can_still_be_evaluated(tmp_path):
    filled(tmp_path)
    history = opened(tmp_path, rounds_done=3)
    history.evaluated(1, 0.5, None)

    assert history.lines()[0].accuracy == 0.5


def test_memory_does_not_grow_with_the_rounds(tmp_path):
    history = opened(tmp_path)
    for number in range(1, 1500):
        history._remember(line(number))

    assert len(history._recent) == 1000
    assert 1499 in history._recent


def test_a_history_cut_at_any_byte_keeps_its_whole_lines(tmp_path):
    filled(tmp_path, 2)
    content = (tmp_path / FILE).read_bytes()
    for size in range(len(content)):
        (tmp_path / FILE).write_bytes(content[:size])
        whole = content[:size].count(b"\n")

        history = opened(tmp_path, rounds_done=3)
        history.append(line(whole + 1))

        assert list(range(1, whole + 2)) == rounds(history)


@pytest.mark.parametrize("damage", [b"\n", b"{}\n", b"\0\0\n", b"[]\n", b"7\n", b'{"schema":"coterie/history/v1"}\n', b"\xff\n"])
def test_damage_before_the_last_line_is_refused(tmp_path, damage):
    filled(tmp_path)
    content = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(damage + content)

    with pytest.raises(DamagedHistory, match=f"{FILE}:1: "):
        History(tmp_path, 3)


@pytest.mark.parametrize("position", ["first", "last"])
def test_a_line_of_another_schema_is_refused_and_not_thrown_away(tmp_path, position):
    filled(tmp_path)
    content = (tmp_path / FILE).read_bytes()
    newer = b'{"schema":"coterie/history/v2","round":4}\n'
    (tmp_path / FILE).write_bytes(newer + content if position == "first" else content + newer)

    with pytest.raises(DamagedHistory, match="coterie/history/v2"):
        History(tmp_path, 3)

    assert newer in (tmp_path / FILE).read_bytes()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.builds(
        RoundLine,
        round=st.integers(1, 9),
        slot=st.integers(1, 99),
        attempts=st.integers(1, 3),
        cohort=st.integers(0, 9),
        survivors=st.integers(0, 9),
        drops=st.dictionaries(st.text(), st.integers(0, 9)),
        update_norm=st.floats(0, allow_infinity=False),
        accuracy=st.one_of(st.none(), st.floats(0, 1)),
        metrics=st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False)),
    )
)
def test_every_line_comes_back(found):
    assert found == decode(found.encode())
    assert found.encode().count(b"\n") == 1


def test_unknown_fields_of_a_line_are_ignored():
    raw = json.loads(line(1).encode()) | {"luck": 7}

    assert line(1) == decode(json.dumps(raw).encode() + b"\n")


@pytest.mark.parametrize("raw", [b"", b"{}", b"{}\n", line(1).encode()[:-1], line(1).encode()[:-2] + b"\n"])
def test_a_torn_line_is_no_line(raw):
    with pytest.raises(UnreadableLine):
        decode(raw)


def test_a_line_without_a_field_that_was_added_later_is_read():
    raw = json.loads(line(1).encode())
    del raw["metrics"]

    assert line(1) == decode(json.dumps(raw).encode() + b"\n")


def test_another_schema_is_named():
    with pytest.raises(UnknownSchema, match="allowed is 'coterie/history/v1'"):
        decode(line(1).encode().replace(b"/v1", b"/v9"))


def test_the_last_line_of_a_round_holds():
    assert (line(1), line(2, slot=7)) == fold([line(2), line(1), line(2, slot=7)])
