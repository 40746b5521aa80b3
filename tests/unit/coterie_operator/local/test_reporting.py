"""What a run shows and leaves: history, screen, totals, plots, report, output folder."""

from __future__ import annotations

import errno
import io
import itertools
import os
import re
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from coterie_api.history import RoundLine
from coterie_operator.local.charts import Chart, svg, ticks
from coterie_operator.local.output import OutputFolder, disk_fault
from coterie_operator.local.progress import HistoryTail, Snapshot, seconds_left
from coterie_operator.local.report import charts, report
from coterie_operator.local.screen import LiveScreen, PlainScreen, SilentScreen, amount, duration, open_screen, render
from coterie_operator.local.totals import totals
from coterie_operator.local.workspace import BadInput

if TYPE_CHECKING:
    from pathlib import Path

    from coterie_operator.cluster import Object

LINES = tuple(
    RoundLine(n, n, 1, 5, 5 - n % 2, {"Late": n % 2} if n % 2 else {}, 0.1, 0, 1000 * n, 500, float(n), 0.5 + n / 100, 1 / n)
    for n in range(1, 7)
)


def job(state: str = "Running", ended: str = "", **status: object) -> Object:
    conditions = [{"type": kind, "status": "True" if kind == ended else "False"} for kind in ("Succeeded", "Failed")]
    return {
        "metadata": {"namespace": "research", "name": "digits", "uid": "u"},
        "spec": {"rounds": 10},
        "status": {"state": state, "conditions": conditions, **status},
    }


def test_the_tail_of_a_history_reads_each_line_once_and_no_torn_one(tmp_path: Path) -> None:
    tail = HistoryTail(tmp_path / "h")
    empty = tail.read()
    whole, torn = LINES[0].encode(), LINES[1].encode()
    (tmp_path / "h").write_bytes(whole + torn[:20])
    first = tail.read()
    (tmp_path / "h").write_bytes(whole + torn)

    assert (empty, first) == ((), LINES[:1])
    assert tail.read() == LINES[:2]


def test_a_later_line_of_a_round_takes_the_place_of_the_earlier(tmp_path: Path) -> None:
    (tmp_path / "h").write_bytes(replace(LINES[0], accuracy=None).encode() + LINES[0].encode())

    assert HistoryTail(tmp_path / "h").read() == LINES[:1]


def test_a_history_that_was_written_anew_is_read_anew(tmp_path: Path) -> None:
    tail = HistoryTail(tmp_path / "h")
    (tmp_path / "h").write_bytes(b"".join(line.encode() for line in LINES))
    tail.read()
    (tmp_path / "h").write_bytes(LINES[0].encode())

    assert tail.read() == LINES[:1]


def test_the_time_left_is_judged_by_the_last_rounds() -> None:
    assert seconds_left((), 10) is None
    assert seconds_left(LINES, 10) == pytest.approx((2 + 3 + 4 + 5 + 6) / 5 * 4)
    assert seconds_left(LINES, 6) == 0


@pytest.mark.parametrize(("ended", "expected"), [("", None), ("Succeeded", "Succeeded"), ("Failed", "Failed")])
def test_a_job_has_ended_by_its_conditions_alone(ended: str, expected: str | None) -> None:
    assert Snapshot(job("Succeeded", ended)).ended() == expected


def test_plain_lines_tell_each_round_once_and_wait_for_its_evaluation() -> None:
    out = io.StringIO()
    screen = PlainScreen(out)
    late = replace(LINES[1], accuracy=None, loss=None)
    screen.show(Snapshot(job(), LINES[:1]))
    screen.show(Snapshot(job(), (LINES[0], late)))
    before = out.getvalue()
    screen.show(Snapshot(job(), LINES[:3]))
    screen.show(Snapshot(job("Succeeded", "Succeeded"), LINES[:3]))

    assert before.count("round 2/10") == 0
    assert [out.getvalue().count(f"round {n}/10") for n in (1, 2, 3)] == [1, 1, 1]
    assert "drops: Late 1" in out.getvalue()


def test_plain_lines_tell_a_state_once() -> None:
    out = io.StringIO()
    screen = PlainScreen(out)
    for _ in range(3):
        screen.show(Snapshot(job("Assembling", message="2 of 5")))

    assert out.getvalue() == "research/digits: Assembling: 2 of 5\n"


ASIDE = {"namespace": "a", "name": "x", "state": "Skipped", "reason": "RequirementNotMet", "message": "the data set asks for 4 clients"}
RAISED = {"namespace": "b", "name": "x", "state": "Ready", "reason": "TaskRaised", "message": "b/x: the task's code raised an exception"}
WELL = {"namespace": "c", "name": "x", "state": "Ready"}
SAID = ["a/x: Skipped: RequirementNotMet: the data set asks for 4 clients", "b/x: Ready: TaskRaised: the task's code raised an exception"]


def test_plain_lines_tell_a_tenants_reason_once_whatever_its_incident() -> None:
    out = io.StringIO()
    screen = PlainScreen(out)
    for incident in ("1", "2"):
        again = {**RAISED, "message": f"{RAISED['message']}, incident {incident}"}
        screen.show(Snapshot(job("Running", tenants=[ASIDE, again, WELL])))

    assert out.getvalue().splitlines() == ["research/digits: Running", SAID[0], f"{SAID[1]}, incident 1"]


def test_before_the_first_round_the_table_tells_who_stands_aside_and_why() -> None:
    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=120).print(render(Snapshot(job("Pending", tenants=[ASIDE, RAISED, WELL]))))

    assert [line.strip() for line in out.getvalue().splitlines()][-3:] == ["c/x Ready", *SAID]


def test_plain_lines_wait_for_the_first_word_on_a_job() -> None:
    out = io.StringIO()
    PlainScreen(out).show(Snapshot({**job(), "status": {}}))

    assert out.getvalue() == ""


def test_the_live_table_shows_the_newest_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    monkeypatch.setenv("TERM", "xterm")
    out = io.StringIO()
    screen = LiveScreen(Console(file=out, force_terminal=True, width=120))
    screen.show(Snapshot(job(tenants=[{"namespace": "a", "name": "x", "state": "Ready"}])))
    screen.show(Snapshot(job(), LINES, 12.0))
    screen.close()
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out.getvalue())

    assert "a/x Ready" in text
    assert all(word in text for word in ("6/10", "0.5600", "6.5 kB", "6.00", "16s"))


def test_output_that_is_no_terminal_gets_plain_lines() -> None:
    assert isinstance(open_screen(io.StringIO()), PlainScreen)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("term", "kind"), [("xterm", LiveScreen), ("dumb", PlainScreen)])
def test_a_terminal_that_can_not_move_its_cursor_gets_plain_lines(
    term: str, kind: type[LiveScreen | PlainScreen], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", term)
    assert isinstance(open_screen(Terminal()), kind)


def test_the_silent_screen_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    screen = SilentScreen()
    screen.say("x")
    screen.show(Snapshot(job()))
    screen.close()

    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (356_700, "356.7 kB"), (4.3e6, "4.3 MB"), (2e12, "2 TB")]
)
def test_bytes_are_told_in_thousands(count: float, text: str) -> None:
    assert amount(count) == text


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (59.4, "59s"), (60, "1:00"), (187, "3:07"), (3723, "1:02:03")])
def test_times_are_told_as_people_do(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_totals_add_up_the_rounds() -> None:
    sums = totals(job(slots=7), LINES, 99.5)

    assert (sums.rounds, sums.slots, sums.seconds, sums.round_seconds) == (6, 7, 99.5, 21.0)
    assert (sums.bytes_sent, sums.bytes_received, sums.survivors_least) == (21_000, 3000, 4)
    assert (sums.accuracy, sums.best_accuracy, sums.best_round) == (0.56, 0.56, 6)
    assert sums.drops == {"Late": 3}


def test_totals_of_a_run_without_rounds_are_empty() -> None:
    sums = totals(job(), (), 1.0)

    assert (sums.rounds, sums.survivors_least, sums.best_accuracy, sums.drops) == (0, None, None, {})


@given(st.floats(-1e12, 1e12), st.floats(-1e12, 1e12))
@example(0.0, 5e-324)
@example(5e-324, 1.5e-323)
@example(0.0, 0.0)
def test_ticks_are_few_even_steps_around_the_values(one: float, two: float) -> None:
    low, high = sorted((one, two))
    found = ticks(low, high)
    steps = [b - a for a, b in itertools.pairwise(found)]
    slack = 1e-6 * max(abs(low), abs(high), steps[0])

    assert 2 <= len(found) <= 8
    assert found[0] <= low + slack
    assert found[-1] >= high - slack
    assert max(steps) == pytest.approx(min(steps), rel=1e-3)


@given(st.lists(st.none() | st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=90), st.booleans())
def test_every_plot_is_well_formed_and_has_no_number_that_is_none(values: list[float | None], is_bars: bool) -> None:
    drawn = svg(
        Chart("<&>", [(n + 1, value if value is None or abs(value) < 1e12 else None) for n, value in enumerate(values)], str, is_bars)
    )
    root = ElementTree.fromstring(drawn)

    assert root.get("aria-label") == "<&> by round"
    assert not re.search(r'="(nan|-?inf)', drawn)


def test_a_plot_puts_values_between_the_axes() -> None:
    root = ElementTree.fromstring(svg(charts(LINES)[0]))
    heights = [float(dot.get("cy")) for dot in root.iter("circle")]

    assert heights == sorted(heights, reverse=True)
    assert len(heights) == 6
    assert all(0 < height < 210 for height in heights)


def test_the_report_escapes_what_comes_from_the_job() -> None:
    evil = job(message="<script>alert(1)</script>", tenants=[{"namespace": "<b>", "name": "x", "message": '"><img src=x>'}])
    page = report(evil, LINES, totals(evil, LINES, 1.0)).decode()

    assert "<script" not in page
    assert "<img" not in page
    assert "<b>/x" not in page


def test_the_report_of_a_run_without_rounds_says_so() -> None:
    page = report(job("Failed"), (), totals(job(), (), 1.0)).decode()

    assert page.count("no values") == 5
    assert "Failed" in page


def test_an_output_folder_is_taken_once_at_a_time(tmp_path: Path) -> None:
    first = OutputFolder.take(tmp_path / "out", overwrite=False)
    with pytest.raises(BadInput, match="another run"):
        OutputFolder.take(tmp_path / "out", overwrite=True)
    first.release()

    OutputFolder.take(tmp_path / "out", overwrite=False).release()


def test_an_earlier_run_is_kept_unless_it_may_be_overwritten(tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").write_text("earlier")
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(BadInput, match="--overwrite"):
        OutputFolder.take(tmp_path, overwrite=False)
    kept = (tmp_path / "history.jsonl").read_text()
    OutputFolder.take(tmp_path, overwrite=True).release()

    assert kept == "earlier"
    assert not (tmp_path / "history.jsonl").exists()
    assert (tmp_path / "mine").read_text() == "mine"


def test_overwriting_follows_no_link_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "logs").symlink_to(tmp_path / "precious")
    OutputFolder.take(tmp_path / "out", overwrite=True).release()

    assert (tmp_path / "precious" / "file").exists()
    assert not (tmp_path / "out" / "logs").exists()


def test_a_folder_that_can_not_be_made_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(BadInput, match=r"file/out: can't be made \(Not a directory\); give another folder with --output"):
        OutputFolder.take(tmp_path / "file" / "out", overwrite=False)


@pytest.mark.parametrize("way", ["written", "copied"])
def test_a_disk_that_fills_up_leaves_the_earlier_file_and_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    folder = OutputFolder.take(tmp_path / "out", overwrite=False)
    (tmp_path / "source").write_bytes(b"new")
    folder.write("result.json", b"earlier")

    def full(*_: object) -> None:
        raise FULL

    monkeypatch.setattr(os, "fsync", full)
    monkeypatch.setattr(shutil, "copyfile", lambda _, draft: draft.write_bytes(b"n") and full())
    with pytest.raises(OSError, match="No space left"):
        folder.write("result.json", b"new") if way == "written" else folder.copy(tmp_path / "source", "result.json")
    folder.release()

    assert [(each.name, each.read_bytes()) for each in (tmp_path / "out").iterdir()] == [("result.json", b"earlier")]


FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (FULL, FULL),
        (ExceptionGroup("parts", [RuntimeError(), ExceptionGroup("inner", [FULL])]), FULL),
        (BaseExceptionGroup("parts", [KeyboardInterrupt(), FULL]), FULL),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), None),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), None),
        (OSError("without a number"), None),
        (ExceptionGroup("parts", [RuntimeError(), FileNotFoundError(errno.ENOENT, "x")]), None),
        (RuntimeError("No space left on device"), None),
    ],
)
def test_only_the_disks_own_faults_are_taken_for_one(error: BaseException, fault: OSError | None) -> None:
    assert disk_fault(error) is fault


def test_an_output_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").touch()

    with pytest.raises(BadInput, match="is no folder"):
        OutputFolder.take(tmp_path / "out", overwrite=True)
