"""Panels that may be empty: each is while nothing is wrong or asked for, and has data as soon as something is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from monitoring.boards import BOARDS
from monitoring.grafana import as_sent
from monitoring.live.prometheus import RULES
from monitoring.panels import Shape
from tests.unit.monitoring.promtool import needed, promtool

if TYPE_CHECKING:
    from pathlib import Path

    from monitoring.panels import Panel

JOB = 'job_namespace="research",job_name="digits"'
DOMAIN = 'domain_namespace="hospital-a",domain="visits"'
TIMED = {
    f"coterie_round_duration_seconds_{part}": values
    for part, values in (
        (f"sum{{{JOB}}}", "0+60x30"),
        (f"count{{{JOB}}}", "0+10x30"),
        (f'bucket{{{JOB},le="10"}}', "0+10x30"),
        (f'bucket{{{JOB},le="+Inf"}}', "0+10x30"),
    )
}
PHASED = {f'coterie_phase_duration_seconds_{part}{{{JOB},phase="Training"}}': "0+10x30" for part in ("sum", "count")}
RUNS = {
    f'coterie_transferred_bytes_total{{{JOB},direction="sent"}}': "0+60x30",
    f'coterie_round_attempts_total{{{JOB},outcome="TooFewSurvivors"}}': "0x30",
    f"process_resident_memory_bytes{{{JOB}}}": "1000x30",
}
A_JOB = {
    f"coterie_job_{name}{{{JOB}}}": "3x30"
    for name in ("rounds", "rounds_done", "survivors", "cohort_clients", "accuracy_ratio", "privacy_epsilon_spent", "aggregator_failures")
} | {
    f"coterie_job_last_round_timestamp_seconds{{{JOB}}}": "0x30",
    f'coterie_job_condition{{{JOB},condition="Running",status="True"}}': "1x30",
    f'coterie_job_condition{{{JOB},condition="Admitted",status="True"}}': "1x30",
}
DONE = {f"coterie_job_{name}{{{JOB}}}": "3x30" for name in ("survivors", "cohort_clients", "update_norm")}
PASSED = {
    "coterie_reconcile_seconds_count": "0+10x30",
    'coterie_reconcile_seconds_bucket{le="0.1"}': "0+10x30",
    'coterie_reconcile_seconds_bucket{le="+Inf"}': "0+10x30",
}
# What must be there for a panel that says this to have data.
TWINS = {
    "there is no job": A_JOB,
    "no job is running": RUNS,
    "the aggregator isn't running": RUNS,
    "no model has been evaluated": {f"coterie_job_{name}{{{JOB}}}": "0.5x30" for name in ("accuracy_ratio", "loss")},
    "no round has been done": DONE,
    "no round has been done in this time": TIMED | PHASED,
    "not started": {f"coterie_job_start_timestamp_seconds{{{JOB}}}": "0x30"},
    "no client has dropped": {f'coterie_drops_total{{{JOB},phase="Training",reason="Late"}}': "0+1x30"},
    "nothing bounds it": {f"coterie_job_privacy_epsilon_{name}{{{JOB}}}": "2x30" for name in ("spent", "budget")},
    "no job bounds it": {f"coterie_job_privacy_epsilon_spent{{{JOB}}}": "2x30"},
    "no domain has a budget": {
        f"coterie_privacy_{name}{{{DOMAIN}}}": "1x30" for name in ("epsilon_spent", "epsilon_budget", "ledger_diverged")
    },
    "no pass was made": PASSED,
    "no pass was made in this time": PASSED,
    "no pass has failed": {'coterie_reconcile_errors_total{reason="Unavailable"}': "0+1x30"},
    "nothing was asked in this time": {
        f'coterie_api_request_duration_seconds_bucket{{verb="get",le="{le}"}}': "0+10x30" for le in ("0.1", "+Inf")
    },
}
QUIET = [(board.uid, panel) for board in BOARDS for panel in board.panels if panel.quiet]
CHOSEN = {"namespace": "research", "job": "digits", "domain": "visits"}


def expressions(panel: Panel) -> list[str]:
    return [as_sent(query.expr, "5m", **CHOSEN) for query in panel.queries]


def judged(folder: Path, *worlds: tuple[dict[str, str], dict[str, list[dict[str, Any]]]]) -> Any:
    """Let promtool compare what expressions give after 20 minutes of some series."""
    tests = [
        {
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "promql_expr_test": [{"expr": expr, "eval_time": "20m", "exp_samples": samples} for expr, samples in expected.items()],
        }
        for series, expected in worlds
    ]
    file = folder / "panels.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}))
    return promtool("test", "rules", file)


def test_every_reason_to_be_empty_has_its_twin_and_no_twin_is_left_over() -> None:
    assert {panel.quiet for _, panel in QUIET} == TWINS.keys()


@needed
@pytest.mark.parametrize(("uid", "panel"), QUIET, ids=[f"{uid}: {panel.title} ({panel.shape.name})" for uid, panel in QUIET])
def test_a_panel_is_empty_until_what_it_tells_of_is_there(uid: str, panel: Panel, tmp_path: Path) -> None:
    counts = [f"count({expr})" for expr in expressions(panel)]
    nothing = ({}, {key: [] for key in counts})
    something = (TWINS[panel.quiet], {key: [{"labels": "{}", "value": 1}] for key in counts})

    done = judged(tmp_path, nothing, something)

    assert done.returncode == 0, done.stdout + done.stderr


@needed
def test_a_panel_without_a_reason_to_be_empty_is_not_checked_in_vain(tmp_path: Path) -> None:
    expected = {"count(coterie_nothing_of_that_name)": [{"labels": "{}", "value": 1}]}

    assert judged(tmp_path, (A_JOB, expected)).returncode != 0


# Two replicas of the operator tell of the same job, as for five minutes after a takeover; the aggregator tells of it too.
TWICE = {
    name.replace("{", f'{{instance="{replica}",', 1): values
    for replica in ("a", "b")
    for name, values in {
        **A_JOB,
        'coterie_jobs{state="Running"}': "1x30",
        f"coterie_job_update_norm{{{JOB}}}": "7x30",
        f'coterie_job_transferred_bytes{{{JOB},direction="sent"}}': "100x30",
        f'coterie_job_transferred_bytes{{{JOB},direction="received"}}': "50x30",
    }.items()
} | {
    f"coterie_{name}{{{JOB}}}": "3x30"
    for name in ("rounds", "rounds_done", "survivors", "accuracy_ratio", "clients_connected", "update_norm")
}
ONCE = {
    ("coterie-federation", "At work"): 1,
    ("coterie-federation", "Clients connected"): 3,
    ("coterie-job", "Rounds done"): 3,
    ("coterie-job", "Bytes"): 150,
    ("coterie-job", "Update norm"): 7,
    ("coterie-privacy", "Jobs without a bound"): 1,
}


@needed
@pytest.mark.parametrize(("uid", "title"), ONCE)
def test_what_several_tell_of_one_job_is_counted_once(uid: str, title: str, tmp_path: Path) -> None:
    board = next(board for board in BOARDS if board.uid == uid)
    panel = next(panel for panel in board.panels if panel.title == title and panel.shape is not Shape.BARS)
    expected = {f"sum({expr})": [{"labels": "{}", "value": ONCE[uid, title]}] for expr in expressions(panel)}

    done = judged(tmp_path, (TWICE, expected))

    assert done.returncode == 0, done.stdout + done.stderr
