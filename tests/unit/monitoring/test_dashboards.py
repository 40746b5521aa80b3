"""Dashboards ask for metrics that exist, in expressions that Prometheus takes, and say what they show."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from monitoring import registries, rules
from monitoring.boards import BOARDS
from monitoring.files import ROOT
from tests.unit.monitoring.promtool import needed, promtool

if TYPE_CHECKING:
    from pathlib import Path

    from monitoring.panels import Board, Panel

FOLDER = ROOT / "charts" / "coterie" / "dashboards"
METRICS = [*registries.operator(), *registries.aggregator()]
LABELS = {label for metric in METRICS for label in metric.labels}
KNOWN = {name for metric in METRICS for name in metric.series} | {rule.record for rule in rules.RECORDINGS}
PANELS = [(board, panel) for board in BOARDS for panel in board.panels]
EXPRESSIONS = [query.expr for _, panel in PANELS for query in panel.queries]
of_panels = pytest.mark.parametrize(("board", "panel"), PANELS, ids=[f"{board.uid}: {panel.title}" for board, panel in PANELS])
of_boards = pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)


def written(board: Board) -> dict[str, Any]:
    made: dict[str, Any] = json.loads((FOLDER / f"{board.uid}.json").read_text())
    return made


def unknown(expr: str) -> set[str]:
    """Return the names of metrics in an expression that nobody registers or records."""
    return set(re.findall(r"[a-z_:0-9]*coterie[a-z_:0-9]*", re.sub(r'"[^"]*"', '""', expr))) - KNOWN


def filled(expr: str) -> str:
    """Return an expression as Grafana sends it."""
    return re.sub(r"\$(namespace|job|domain)\b", ".+", expr.replace("$__rate_interval", "5m"))


@pytest.mark.parametrize("expr", EXPRESSIONS)
def test_a_panel_asks_for_metrics_that_exist(expr: str) -> None:
    assert unknown(expr) == set()
    assert re.search(r"coterie|process_", expr)


@pytest.mark.parametrize("rule", [*rules.RECORDINGS, *rules.ALERTS], ids=lambda rule: getattr(rule, "record", getattr(rule, "alert", "")))
def test_a_rule_asks_for_metrics_that_exist(rule: rules.Recording | rules.Alert) -> None:
    assert unknown(rule.expr) == set()


@pytest.mark.parametrize("wrong", ["coterie_rounds_don", "sum(rate(coterie_drops[5m]))", "coterie_round_duration_seconds", "a:coterie_x:b"])
def test_the_check_sees_a_metric_that_does_not_exist(wrong: str) -> None:
    assert unknown(wrong) != set()


@needed
def test_prometheus_takes_every_expression(tmp_path: Path) -> None:
    file = tmp_path / "expressions.yaml"
    recorded = [{"record": f"panel_{number}", "expr": filled(expr)} for number, expr in enumerate(EXPRESSIONS)]
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": recorded}]}))

    done = promtool("check", "rules", file)

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(EXPRESSIONS)} rules found" in done.stdout


@of_panels
def test_a_panel_says_what_it_shows(board: Board, panel: Panel) -> None:
    assert panel.text.endswith(".")
    assert panel.queries
    assert all(query.legend for query in panel.queries)
    for query in panel.queries:
        assert set(re.findall(r"{{(\w+)}}", query.legend)) <= LABELS | {"job_namespace", "job_name", "instance"}


@of_panels
def test_a_panel_has_the_unit_of_its_metric(board: Board, panel: Panel) -> None:
    for query in panel.queries:
        is_duration = "_seconds" in query.expr and "_timestamp_" not in query.expr and not re.search(r"cpu_seconds", query.expr)
        assert (panel.unit == "s") == is_duration
        assert ("bytes" in query.expr) <= (panel.unit in {"bytes", "Bps"})


@of_boards
def test_a_dashboard_uses_the_choices_that_it_offers_and_no_other(board: Board) -> None:
    text = " ".join(query.expr for panel in board.panels for query in panel.queries)
    used = set(re.findall(r"\$([a-z]+)\b", text))

    assert used == {variable.name for variable in board.variables}


@of_boards
def test_a_dashboard_is_found_linked_and_reads_the_source_that_is_chosen(board: Board) -> None:
    made = written(board)
    flat = [panel for panel in made["panels"] if panel["type"] != "row"]

    assert made["uid"] == board.uid
    assert len(flat) == len(board.panels)
    assert len({panel["id"] for panel in flat}) == len(flat)
    assert {panel["datasource"]["uid"] for panel in flat} == {"$datasource"}
    assert [variable["name"] for variable in made["templating"]["list"]] == ["datasource", *(each.name for each in board.variables)]
    assert [(link["type"], link["tags"], link["includeVars"]) for link in made["links"]] == [("dashboards", ["coterie"], True)]
    assert made["tags"] == ["coterie"]


@of_boards
def test_panels_do_not_overlap(board: Board) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in written(board)["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken
        taken |= cells


def test_no_dashboard_is_left_over() -> None:
    assert {path.stem for path in FOLDER.glob("*")} == {board.uid for board in BOARDS}
