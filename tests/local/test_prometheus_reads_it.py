"""A real Prometheus scrapes both planes' registries; then every panel of every dashboard has data, and every rule is healthy."""

from __future__ import annotations

import json
import re
import shutil
import urllib.parse
import urllib.request
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from monitoring.boards import BOARDS
from monitoring.files import ROOT
from monitoring.panels import Shape
from prometheus_client import start_http_server
from tests.cluster.controlplane import free_ports
from tests.cluster.processes import Process, Processes, wait_until

from coterie_api.history import RoundLine
from coterie_api.progress import DropReason, Progress
from coterie_api.v1alpha1.conditions import ConditionStatus, ConditionType
from coterie_api.v1alpha1.types import Attempts, Condition, FederatedJobStatus, JobState
from coterie_operator.metrics import OperatorMetrics, RequestMetrics
from coterie_worker.metrics import TOO_FEW_SURVIVORS, AggregatorMetrics

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from monitoring.panels import Panel, Query
    from prometheus_client import CollectorRegistry

PROMETHEUS = shutil.which("prometheus")
pytestmark = [
    pytest.mark.local,
    pytest.mark.skipif(PROMETHEUS is None, reason="prometheus is not installed (Debian: apt-get install prometheus)"),
]
LOOPBACK = "127.0.0.1"
JOB = {"job_namespace": "research", "job_name": "digits"}
QUERIES = [(board.uid, panel, query) for board in BOARDS for panel in board.panels for query in panel.queries]


def ended(name: ConditionType) -> Condition:
    return Condition(name.value, ConditionStatus.TRUE, "Training", "", "2026-01-01T00:00:00Z")


class Life:
    """Numbers of a job that goes on, and of the operator that looks after it."""

    def __init__(self) -> None:
        self.operator, self.aggregator, self.requests = OperatorMetrics(), AggregatorMetrics(), RequestMetrics()
        self.requests.register(self.operator.registry)
        self.aggregator.expects_evaluations()
        self.operator.is_leader.set(1)
        for name in ("Job", "Pod"):
            self.operator.watches.labels(name, "false").set(0)
        self.rounds = 0

    def go_on(self) -> None:
        """One round, one pass, one of everything else."""
        self.rounds += 1
        self._of_operator()
        self._of_aggregator()

    def _of_operator(self) -> None:
        status = FederatedJobStatus(
            state=JobState.RUNNING, rounds=10_000, round=self.rounds, cohort=5, survivors=4, accuracy=0.9, loss=0.3, epsilon_spent=1.5,
            attempts=Attempts(1, 1), conditions=(ended(ConditionType.ADMITTED), ended(ConditionType.RUNNING)),
        )  # fmt: skip
        spec: Any = SimpleNamespace(rounds=10_000, round_deadline_seconds=600, privacy=SimpleNamespace(epsilon=8.0))
        self.operator.saw(("research", "digits"), status, spec, datetime.now(UTC))
        self.operator.budgets.saw(("hospital-a", "visits"), 3.0, 10.0, is_diverged=False)
        self.operator.reconcile_seconds.observe(0.02)
        self.operator.errors.labels("Unavailable").inc()
        self.requests.answered("get", 200, 0.01)

    def _of_aggregator(self) -> None:
        seen = self.aggregator
        seen.round_done(RoundLine(self.rounds, self.rounds, 1, 5, 4, update_norm=0.5, seconds=2.0))
        seen.attempts.labels(TOO_FEW_SURVIVORS).inc()
        seen.phase_seconds.labels("Training").observe(1.5)
        seen.drops.labels("Training", DropReason.LATE.value).inc()
        seen.evaluated_model(self.rounds)
        seen.exposition(Progress(self.rounds, 10_000, connected=5, cohort=5, survivors=4, accuracy=0.9, bytes_sent=self.rounds * 1000))


@contextmanager
def served(registry: CollectorRegistry) -> Iterator[str]:
    server, thread = start_http_server(0, LOOPBACK, registry)
    try:
        yield f"{LOOPBACK}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Prometheus:
    """A running Prometheus."""

    address: str
    process: Process
    life: Life

    def api(self, path: str, **query: str) -> Any:
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def asked(self, expr: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.api("query", query=expr)["result"]
        return found

    def until(self, holds: Any, what: str) -> None:
        def going_on() -> bool:
            self.life.go_on()
            return bool(holds())

        wait_until(going_on, what, 90, [self.process], every_seconds=0.5)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder, life = tmp_path_factory.mktemp("prometheus"), Life()
    address = f"{LOOPBACK}:{free_ports(1)[0]}"
    with served(life.operator.registry) as operator, served(life.aggregator.registry) as aggregator:
        configure(folder, operator, aggregator)
        arguments = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data", f"--web.listen-address={address}"]
        processes = Processes(folder)
        process = processes.start("prometheus", [str(PROMETHEUS), *arguments])
        yield ready(Prometheus(address, process, life))
        processes.end()


def ready(started: Prometheus) -> Prometheus:
    """Wait until it answers."""

    def answers() -> bool:
        with suppress(OSError):
            return bool(started.asked("up"))
        return False

    started.until(answers, "Prometheus answers")
    return started


def configure(folder: Path, operator: str, aggregator: str) -> None:
    targets = [
        {"job_name": "operator", "static_configs": [{"targets": [operator]}]},
        {"job_name": "aggregators", "static_configs": [{"targets": [aggregator], "labels": JOB}]},
    ]
    every = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    rules = [str(ROOT / "charts" / "coterie" / "rules" / "coterie.yaml")]
    (folder / "prometheus.yml").write_text(yaml.safe_dump({"global": every, "rule_files": rules, "scrape_configs": targets}))


def sent(query: Query) -> str:
    """Return an expression as Grafana sends it with everything chosen."""
    return re.sub(r"\$(namespace|job|domain)\b", ".+", query.expr.replace("$__rate_interval", "10s"))


def fits(panel: Panel, result: list[dict[str, Any]]) -> bool:
    """Whether an answer can be drawn as the panel wants: finite numbers, states 0 or 1, shares from 0 to 1."""
    values = [float(sample["value"][1]) for sample in result]
    bound = {Shape.STATES: {0.0, 1.0}}.get(panel.shape)
    in_shape = bound is None or set(values) <= bound
    in_share = panel.unit != "percentunit" or all(0 <= value <= 1 for value in values)
    return bool(values) and all(abs(value) < float("inf") for value in values) and in_shape and in_share


@pytest.mark.parametrize(("uid", "panel", "query"), QUERIES, ids=[f"{uid}: {panel.title}, {query.legend}" for uid, panel, query in QUERIES])
def test_a_panel_has_data_of_its_shape_and_each_line_has_a_name(prometheus: Prometheus, uid: str, panel: Panel, query: Query) -> None:
    prometheus.until(lambda: fits(panel, prometheus.asked(sent(query))), f"{uid}: {panel.title}: {sent(query)}")

    wanted = set(re.findall(r"{{(\w+)}}", query.legend))
    found = prometheus.asked(sent(query))
    assert all(wanted <= sample["metric"].keys() for sample in found)
    assert len({tuple(sample["metric"].get(label) for label in wanted) for sample in found}) == len(found)


def test_every_rule_is_healthy(prometheus: Prometheus) -> None:
    def rules() -> list[dict[str, Any]]:
        return [rule for group in prometheus.api("rules")["groups"] for rule in group["rules"]]

    prometheus.until(lambda: all(rule["health"] == "ok" for rule in rules()), "every rule was evaluated")

    assert len(rules()) > 10


def test_a_query_of_what_is_not_there_does_not_pass(prometheus: Prometheus) -> None:
    panel = BOARDS[0].panels[0]

    assert not fits(panel, prometheus.asked("coterie_nothing_of_that_name"))
