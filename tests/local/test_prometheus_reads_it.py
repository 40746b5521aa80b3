"""A real Prometheus scrapes a real job: every panel of every dashboard has data of its shape, and every rule is healthy.

The job loses a client once, and one pass over it fails: that shows on panels, and no alert is worth it. What no such job without privacy
shows is listed with the reason; `tests/unit/monitoring/test_quiet_panels.py` has the twins, in which something is there to be shown, and
`test_rules.py` those of alerts.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from monitoring import rules
from monitoring.boards import BOARDS
from monitoring.files import ROOT
from monitoring.grafana import NEWEST, as_sent
from monitoring.live.federation import Federation
from monitoring.live.prometheus import PROGRAM, WINDOW, Prometheus
from monitoring.panels import Shape
from tests.cluster.processes import wait_until

from coterie_api.podconfig import Role
from coterie_operator.cluster import FEDERATED_JOB, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from monitoring.panels import Panel, Query

    from coterie_operator.cluster import Kind, Object

IS_CI = os.environ.get("CI", "").lower() in {"true", "1"}
pytestmark = [
    pytest.mark.local,
    pytest.mark.skipif(PROGRAM is None and not IS_CI, reason="prometheus is not installed (Debian: apt-get install prometheus)"),
]
ROUNDS = 120  # however quick they are, several scrapes see them
CHOSEN = {"namespace": "research", "job": "digits"}
QUERIES = [(board.uid, panel, query) for board in BOARDS for panel in board.panels for query in panel.queries]
NAMES = [f"{uid}: {panel.title}, {query.legend}, {panel.shape.name}" for uid, panel, query in QUERIES]
# Why a panel of this job is empty, by what stands there instead.
NOTHING_IS_WRONG = {
    "nothing bounds it": "the example asks for no privacy",
    "no job bounds it": "the example asks for no privacy",
    "no domain has a budget": "no version of the operator books budgets yet",
}
NOT_ASKED_FOR = {("Every job", "epsilon")}  # columns of a table that has others
ONLY_WHILE_IT_RUNS = {("Every job", "last progress")}
LEAST_AND_MOST = {  # plausible values of the example, by title and legend, or unit
    ("Rounds done", "rounds"): (ROUNDS, ROUNDS),
    ("Rounds", "done"): (0, ROUNDS),
    ("Survivors", "survivors"): (0, 5),
    ("Update norm", "norm"): (0.01, 100),
    ("Bytes", "bytes"): (1e6, 1e8),
    ("Leaders", "leaders"): (1, 1),
    "percentunit": (0, 1),
    "s": (0, 300),
    "bytes": (1e5, 1e10),
}


@dataclass
class Seen:
    """What a job's life left in a Prometheus that goes on."""

    prometheus: Prometheus
    federation: Federation
    start: float
    middle: float
    end: float

    def answers(self, panel: Panel, query: Query, at: float | None = None) -> list[dict[str, Any]]:
        """Ask as Grafana does: over the job's life, or for the newest value."""
        expr = as_sent(query.expr, WINDOW, **CHOSEN)
        if panel.shape in NEWEST:
            return self.prometheus.now(expr, self.end if at is None else at)
        return self.prometheus.over(expr, self.start, self.end, 1)


def fail_a_pass(federation: Federation) -> None:
    """Let the API server be away when somebody next asks for a job, which passes over jobs do."""
    assert federation.embedded is not None
    cluster = federation.embedded.cluster
    get = cluster.get

    async def away(kind: Kind, namespace: str, name: str) -> Object:
        if kind == FEDERATED_JOB:
            cluster.get = get  # type: ignore[method-assign]
            raise Unavailable("away, once")
        return await get(kind, namespace, name)

    cluster.get = away  # type: ignore[method-assign]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    assert PROGRAM is not None, "prometheus is not installed, and CI must have it (Debian: apt-get install prometheus)"
    folder: Path = tmp_path_factory.mktemp("federation")
    with (
        Federation(folder, ROOT / "examples" / "digits", ROUNDS) as federation,
        Prometheus(folder / "prometheus", [federation.operator], federation.aggregators) as prometheus,
    ):
        start = time.time()

        def scraped(expr: str) -> bool:
            federation.check()
            return bool(prometheus.now(expr))

        wait_until(lambda: scraped(f"coterie_rounds_done >= {ROUNDS // 4}"), "the first rounds", 180)
        federation.kill(Role.CLIENT, "digits", number=1)
        fail_a_pass(federation)
        wait_until(lambda: scraped(f"sum(increase(coterie_drops_total[{WINDOW}])) > 0"), "a client that has dropped", 60)
        wait_until(lambda: scraped(f"sum(increase(coterie_reconcile_errors_total[{WINDOW}])) > 0"), "a pass that has failed", 60)
        # The second half of the rounds, and some time with them in every window.
        wait_until(
            lambda: scraped(f"coterie_rounds_done >= {ROUNDS // 2} and rate(coterie_round_duration_seconds_count[4s]) > 0"), "rounds", 180
        )
        middle = time.time()
        wait_until(lambda: scraped('coterie_job_condition{condition="Succeeded",status="True"} == 1'), "the job's end", 180)
        yield Seen(prometheus, federation, start, middle, time.time())


def values(sample: dict[str, Any]) -> list[float]:
    return [float(value) for _, value in sample.get("values", [sample.get("value")])]


def fits(panel: Panel, query: Query, samples: list[dict[str, Any]]) -> bool:
    """Whether an answer can be drawn as the panel wants: finite numbers, states 0 or 1, and what is plausible for the unit."""
    unit = query.unit if panel.shape is Shape.TABLE else panel.unit
    least, most = LEAST_AND_MOST.get((panel.title, query.legend)) or LEAST_AND_MOST.get(unit) or (0, 1e12)
    found = [value for sample in samples for value in values(sample)]
    is_state = panel.shape is not Shape.STATES or set(found) <= {0.0, 1.0}
    return bool(found) and is_state and all(least <= value <= most for value in found)  # NaN is in no range


def is_empty_because_nothing_is_wrong(panel: Panel, query: Query) -> bool:
    return panel.quiet in NOTHING_IS_WRONG or (panel.title, query.legend) in NOT_ASKED_FOR


@pytest.mark.parametrize(("uid", "panel", "query"), QUERIES, ids=NAMES)
def test_a_panel_has_data_of_its_shape_or_is_listed_as_empty(seen: Seen, uid: str, panel: Panel, query: Query) -> None:
    found = seen.answers(panel, query, seen.middle if (panel.title, query.legend) in ONLY_WHILE_IT_RUNS else None)

    if is_empty_because_nothing_is_wrong(panel, query):
        assert found == []
    else:
        assert fits(panel, query, found), found


@pytest.mark.parametrize(("uid", "panel", "query"), QUERIES, ids=NAMES)
def test_each_line_has_a_name_of_its_own(seen: Seen, uid: str, panel: Panel, query: Query) -> None:
    wanted = set(re.findall(r"{{(\w+)}}", query.legend))
    found = seen.answers(panel, query)
    names = {tuple(sample["metric"].get(label) for label in sorted(wanted)) for sample in found}

    assert all(wanted <= sample["metric"].keys() for sample in found)
    assert len(names) == len(found)


@pytest.mark.parametrize("uid", [board.uid for board in BOARDS])
def test_while_a_job_runs_no_panel_of_the_newest_is_empty_without_reason(seen: Seen, uid: str) -> None:
    newest = [(panel, query) for board, panel, query in QUERIES if board == uid and panel.shape in NEWEST]
    missing = [
        f"{panel.title}, {query.legend}"
        for panel, query in newest
        if not is_empty_because_nothing_is_wrong(panel, query) and not seen.answers(panel, query, seen.middle)
    ]

    assert missing == []


@pytest.mark.parametrize("rule", rules.RECORDINGS, ids=lambda rule: rule.record)
def test_a_recording_has_data(seen: Seen, rule: rules.Recording) -> None:
    recorded = seen.prometheus.over(rule.record, seen.start, seen.end, 1)

    assert seen.prometheus.now(rule.expr, seen.middle)
    assert recorded
    assert all(0 <= value < 1e9 for sample in recorded for value in values(sample))


@pytest.mark.parametrize("alert", rules.ALERTS, ids=lambda alert: alert.alert)
def test_an_alert_is_silent_where_little_is_wrong_and_also_where_its_metric_has_no_producer(seen: Seen, alert: rules.Alert) -> None:
    for moment in (seen.middle, seen.end):
        assert seen.prometheus.now(alert.expr, moment) == []


def test_every_rule_is_healthy_and_no_alert_fires(seen: Seen) -> None:
    def found() -> list[dict[str, Any]]:
        return [rule for group in seen.prometheus.api("rules")["groups"] for rule in group["rules"]]

    wait_until(lambda: all(rule["health"] != "unknown" for rule in found()), "every rule was evaluated")

    assert len(found()) == len(rules.RECORDINGS) + len(rules.ALERTS)
    assert {rule["name"]: rule["lastError"] for rule in found() if rule["health"] != "ok"} == {}
    assert [rule["name"] for rule in found() if rule.get("state") == "firing"] == []


def test_a_query_of_what_is_not_there_does_not_pass(seen: Seen) -> None:
    panel = BOARDS[0].panels[0]

    assert not fits(panel, panel.queries[0], seen.prometheus.now("coterie_nothing_of_that_name"))
    assert not fits(panel, panel.queries[0], seen.prometheus.now("vector(NaN)"))


FINAL = {
    "rounds_done": "round", "survivors": "survivors", "cohort_clients": "cohort", "accuracy_ratio": "accuracy", "loss": "loss",
    "best_round": "bestRound", "update_norm": "updateNorm", "last_round_duration_seconds": "roundSeconds", "slots": "slots",
    "clamped_coordinates": "clamped",
}  # fmt: skip


def test_after_the_end_the_operator_tells_the_final_values_and_the_aggregator_nothing(seen: Seen) -> None:
    wait_until(lambda: not seen.prometheus.now("coterie_rounds_done"), "the aggregator's series are gone")
    status = seen.federation.job("digits")["status"]
    told = {name: float(seen.prometheus.now(f"coterie_job_{name}")[0]["value"][1]) for name in FINAL}

    assert told == {name: pytest.approx(status.get(field, 0)) for name, field in FINAL.items()}
    assert told["rounds_done"] == ROUNDS
    assert told["accuracy_ratio"] > 0.8
    assert told["update_norm"] > 0


def test_with_the_job_its_series_go(seen: Seen) -> None:  # the last: it takes the job away
    seen.federation.delete("digits")

    wait_until(lambda: not seen.prometheus.now('{__name__=~"coterie_job_.+"}'), "no series of the job is left", 30)

    assert seen.prometheus.now("coterie_leader")
