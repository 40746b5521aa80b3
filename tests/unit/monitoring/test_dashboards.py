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
from monitoring.grafana import NEWEST, as_sent
from monitoring.panels import Shape
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


def drawn(board: Board, panel: Panel) -> dict[str, Any]:
    """Return a panel's JSON."""
    flat = [each for each in written(board)["panels"] if each["type"] != "row"]
    made: dict[str, Any] = flat[next(number for number, each in enumerate(board.panels) if each is panel)]
    assert made["title"] == panel.title
    return made


def unknown(expr: str) -> set[str]:
    """Return the names of metrics in an expression that nobody registers or records."""
    return set(re.findall(r"[a-z_:0-9]*coterie[a-z_:0-9]*", re.sub(r'"[^"]*"', '""', expr))) - KNOWN


@pytest.mark.parametrize("expr", EXPRESSIONS)
def test_a_panel_asks_for_metrics_that_exist(expr: str) -> None:
    assert unknown(expr) == set()
    assert re.search(r"coterie|process_|Coterie", expr)


@pytest.mark.parametrize("rule", [*rules.RECORDINGS, *rules.ALERTS], ids=lambda rule: getattr(rule, "record", getattr(rule, "alert", "")))
def test_a_rule_asks_for_metrics_that_exist(rule: rules.Recording | rules.Alert) -> None:
    assert unknown(rule.expr) == set()


@pytest.mark.parametrize("wrong", ["coterie_rounds_don", "sum(rate(coterie_drops[5m]))", "coterie_round_duration_seconds", "a:coterie_x:b"])
def test_the_check_sees_a_metric_that_does_not_exist(wrong: str) -> None:
    assert unknown(wrong) != set()


@needed
def test_prometheus_takes_every_expression(tmp_path: Path) -> None:
    file = tmp_path / "expressions.yaml"
    recorded = [{"record": f"panel_{number}", "expr": as_sent(expr, "5m")} for number, expr in enumerate(EXPRESSIONS)]
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": recorded}]}))

    done = promtool("check", "rules", file)

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(EXPRESSIONS)} rules found" in done.stdout


@of_panels
def test_a_panel_says_what_it_shows(board: Board, panel: Panel) -> None:
    assert panel.text.endswith(".")
    assert panel.queries
    assert all(query.legend for query in panel.queries) or panel.shape is Shape.TABLE
    for query in panel.queries:
        assert set(re.findall(r"{{(\w+)}}", query.legend)) <= LABELS | {"job_namespace", "job_name", "instance"}


@of_panels
def test_a_panel_has_the_unit_of_its_metric(board: Board, panel: Panel) -> None:
    for query in panel.queries:
        unit = query.unit if panel.shape is Shape.TABLE else panel.unit
        is_span = "_seconds" in query.expr and not re.search(r"_timestamp_|cpu_seconds|_seconds_count|histogram_quantile", query.expr)
        is_duration = is_span or "time()" in query.expr or ("histogram_quantile" in query.expr and "_seconds" in query.expr)
        is_mean = "_seconds_sum" in query.expr
        assert (unit == "s") == (is_duration or is_mean)
        assert ("bytes" in query.expr) <= (unit in {"bytes", "Bps"})
        assert ("accuracy" in query.expr) <= (unit == "percentunit")


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


def test_uids_of_dashboards_stay_since_people_link_to_them() -> None:
    assert {board.uid for board in BOARDS} == {"coterie-federation", "coterie-job", "coterie-privacy", "coterie-operator"}


@of_boards
def test_a_choice_of_many_begins_with_all_and_a_choice_of_one_has_no_all(board: Board) -> None:
    for variable, made in zip(board.variables, written(board)["templating"]["list"][1:], strict=True):
        assert (made.get("multi", False), made.get("includeAll", False)) == (variable.is_many, variable.is_many)
        assert made.get("allValue") == (".+" if variable.is_many else None)
        operator = "=~" if variable.is_many else "="
        for expr in [query.expr for panel in board.panels for query in panel.queries]:
            assert set(re.findall(rf'(=~|=)"\${variable.name}"', expr)) <= {operator}


@of_panels
def test_a_panel_that_may_be_empty_says_why_instead_of_no_data(board: Board, panel: Panel) -> None:
    made = drawn(board, panel)

    assert made["fieldConfig"]["defaults"].get("noValue", "") == panel.quiet
    assert "No data" not in panel.quiet


def test_a_table_leads_to_the_dashboard_of_one_row() -> None:
    (made,) = [panel for panel in written(BOARDS[0])["panels"] if panel["type"] == "table"]
    links = [part["value"] for each in made["fieldConfig"]["overrides"] for part in each["properties"] if part["id"] == "links"]
    address = links[0][0]["url"]
    job = next(board for board in BOARDS if board.uid == "coterie-job")

    assert address.startswith(f"/d/{job.uid}?")
    assert set(re.findall(r"var-([a-z]+)=", address)) == {"datasource", *(variable.name for variable in job.variables)}
    assert {"job_namespace", "job_name"} == set(re.findall(r"__data\.fields\.([a-z_]+)", address))


@of_panels
def test_newest_numbers_are_asked_for_now_and_lines_over_time(board: Board, panel: Panel) -> None:
    made = drawn(board, panel)

    for target in made["targets"]:
        assert (target.get("instant", False), target.get("range", False)) == (panel.shape in NEWEST, panel.shape not in NEWEST)
    if panel.shape in (Shape.NUMBER, Shape.BARS):
        assert made["options"]["reduceOptions"]["calcs"] == ["lastNotNull"]


@of_panels
def test_limits_rise(board: Board, panel: Panel) -> None:
    made = drawn(board, panel)
    steps = made["fieldConfig"]["defaults"]["thresholds"]["steps"]

    assert steps[0]["value"] is None
    assert [step["value"] for step in steps[1:]] == sorted(limit.value for limit in panel.limits)
    assert len({step["color"] for step in steps}) == len(steps) or panel.title == "Leaders"  # too few and too many are both bad


def test_no_dashboard_is_left_over() -> None:
    assert {path.stem for path in FOLDER.glob("*")} == {board.uid for board in BOARDS}
