"""Pictures of dashboards: numbers with units, lines in their boxes, and the committed ones show the dashboards of today."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import pairwise

import pytest
from monitoring.boards import BOARDS
from monitoring.files import ROOT
from monitoring.panels import Board, Level, Limit, Panel, Query, Row, Shape
from monitoring.pictures.answers import Line, Span
from monitoring.pictures.marks import level, stretches
from monitoring.pictures.page import WIDTH, drawn, places
from monitoring.pictures.scales import ticks, written
from monitoring.pictures.story import NOTE

PICTURES = ROOT / "docs" / "pictures"
SVG = "{http://www.w3.org/2000/svg}"
SPAN = Span(0, 100)
MOST_BYTES = 200_000
of_boards = pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)


def committed(board: Board) -> str:
    return (PICTURES / f"{board.uid.replace('coterie-', 'dashboard-')}.svg").read_text()


def words(picture: str) -> list[str]:
    return ["".join(element.itertext()) for element in ET.fromstring(picture).iter(f"{SVG}text")]


@of_boards
def test_a_committed_picture_shows_every_panel_of_its_dashboard(board: Board) -> None:
    found = words(committed(board))

    assert [title for title in (board.title, *(panel.title for panel in board.panels)) if title not in found] == [], "run `make previews`"
    assert [row.title for row in board.rows if row.title not in found] == []


@of_boards
def test_a_committed_picture_is_small_and_tells_what_is_made_up(board: Board) -> None:
    picture = committed(board)

    assert len(picture.encode()) < MOST_BYTES
    assert "No data" not in picture
    assert (NOTE in picture) == ("epsilon" in str(board.rows))


def test_no_picture_of_a_dashboard_is_left_over() -> None:
    assert {path.stem for path in PICTURES.glob("dashboard-*")} == {board.uid.replace("coterie-", "dashboard-") for board in BOARDS}


def line(name: str, *values: float, **labels: str) -> Line:
    return Line(name, 0, labels, tuple((float(number * 10), value) for number, value in enumerate(values)))


def panel(shape: Shape, **more: object) -> Panel:
    return replace(Panel("One panel", "It shows one thing.", (Query("x", "{{name}}"),), shape=shape, quiet="nothing is wrong"), **more)  # type: ignore[arg-type]


def shown(one: Panel, *lines: Line) -> str:
    return drawn(Board("coterie-one", "One", "One panel.", (), (Row("All", (one,)),)), {id(one): list(lines)}, SPAN, {})


LINES = (line("a", 0, 1, 1, 0), line("<b>", 1, 0, 0, 1), line("c" * 200, 1))
JOB = {"job_namespace": "research", "job_name": "digits"}


@pytest.mark.parametrize("shape", Shape)
def test_every_shape_is_drawn_inside_the_picture(shape: Shape) -> None:
    lines = LINES if shape is not Shape.TABLE else (line("", 7.0, **JOB), line("", 1.0, condition="Running", **JOB))
    root = ET.fromstring(shown(panel(shape), *lines))
    height = float(root.attrib["viewBox"].split()[3])

    assert len(list(root.iter())) > 8
    for element in root.iter():
        at = [float(element.attrib.get(name, 0)) for name in ("x", "cx")], [float(element.attrib.get(name, 0)) for name in ("y", "cy")]
        assert all(0 <= x <= WIDTH for x in at[0])
        assert all(0 <= y <= height for y in at[1])
        for x, y in re.findall(r"([-\d.]+) ([-\d.]+)", element.attrib.get("d", "")):
            assert 0 <= float(x) <= WIDTH
            assert 0 <= float(y) <= height


@pytest.mark.parametrize("shape", Shape)
def test_a_panel_without_data_says_why(shape: Shape) -> None:
    assert "nothing is wrong" in words(shown(panel(shape)))


def test_a_name_is_text_and_no_markup() -> None:
    assert any("<b>" in text for text in words(shown(panel(Shape.LINES), *LINES)))


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, Level.GOOD), (0.5, Level.GOOD), (1, Level.WORTH_A_LOOK), (1.9, Level.WORTH_A_LOOK), (2, Level.BAD), (9, Level.BAD)],
)
def test_a_number_is_of_the_level_of_the_last_limit_that_it_reaches(value: float, expected: Level) -> None:
    limits = (Limit(1, Level.WORTH_A_LOOK), Limit(2, Level.BAD))

    assert level(panel(Shape.NUMBER, base=Level.GOOD, limits=limits), line("a", value), value) is expected


def test_a_line_that_is_bad_is_so_where_it_is_not_zero() -> None:
    one = panel(Shape.STATES, limits=(Limit(1, Level.GOOD),), bad=("Failed",))

    assert level(one, line("Failed", 1), 1) is Level.BAD
    assert level(one, line("Failed", 0), 0) is Level.NEUTRAL
    assert level(one, line("Running", 1), 1) is Level.GOOD


def test_a_state_is_one_stretch_until_it_changes_or_is_not_told() -> None:
    told = Line("a", 0, {}, ((0.0, 1.0), (1.0, 1.0), (2.0, 0.0), (8.0, 0.0)))

    assert stretches(told, Span(0, 9)) == [(0.0, 2.0, 1.0), (2.0, 3.0, 0.0), (8.0, 9, 0.0)]


@pytest.mark.parametrize("low", [0.0, 3.2, 900.0])
@pytest.mark.parametrize("width", [1e-5, 0.3, 1.0, 7.0, 1999.0, 3e9])
@pytest.mark.parametrize("unit", ["short", "bytes"])
def test_ticks_enclose_what_is_shown_at_equal_distances(low: float, width: float, unit: str) -> None:
    found = ticks(low, low + width, unit)
    distances = [after - before for before, after in pairwise(found)]

    assert found[0] <= low + 1e-9
    assert found[-1] >= low + width - 1e-9
    assert 2 <= len(found) <= 7
    assert distances == pytest.approx([distances[0]] * len(distances))


def test_ticks_of_a_constant_line_are_there_too() -> None:
    assert ticks(5, 5) == [5.0, 5.25, 5.5, 5.75, 6.0]


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (0, "short", "0"), (5, "short", "5"), (0.0249, "short", "0.0249"), (1234, "short", "1.23 K"), (2e6, "short", "2 Mil"),
        (0.975, "percentunit", "97.5%"), (1, "percentunit", "100%"), (0, "percentunit", "0%"),
        (0, "s", "0 s"), (2e-5, "s", "20 µs"), (0.25, "s", "250 ms"), (54, "s", "54 s"), (90, "s", "1.5 min"), (7200, "s", "2 hours"),
        (0, "bytes", "0 B"), (2048, "bytes", "2 KiB"), (25 * 1024**2, "bytes", "25 MiB"), (83_300, "Bps", "83.3 kB/s"),
        (3, "reqps", "3 req/s"),
        (120, "short", "120"), (97, "short", "97"),
    ],
)  # fmt: skip
def test_a_number_has_its_unit(value: float, unit: str, expected: str) -> None:
    assert written(value, unit) == expected


@of_boards
def test_panels_stand_beside_and_below_each_other_as_in_grafana(board: Board) -> None:
    boxes = [place.box for place in places(board)]

    for number, one in enumerate(boxes):
        assert one.right <= WIDTH
        for other in boxes[:number]:
            assert one.x >= other.right or other.x >= one.right or one.y >= other.bottom or other.y >= one.bottom
