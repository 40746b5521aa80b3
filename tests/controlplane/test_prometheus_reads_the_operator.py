"""A real Prometheus scrapes the operator's process while it works on a real API server, and after it was killed."""

from __future__ import annotations

import json
import math
import os
from typing import TYPE_CHECKING

import pytest
from monitoring.boards import BOARDS
from monitoring.grafana import as_sent
from monitoring.live.prometheus import PROGRAM, WINDOW, Prometheus
from tests.cluster.processes import wait_until
from tests.controlplane.scenario import JOBS, Run, digits_job

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cluster.controlplane import ControlPlane
    from tests.cluster.replica import Replica

IS_CI = os.environ.get("CI", "").lower() in {"true", "1"}
pytestmark = pytest.mark.skipif(PROGRAM is None and not IS_CI, reason="prometheus is not installed (Debian: apt-get install prometheus)")
OPERATOR = next(board for board in BOARDS if board.uid == "coterie-operator")
QUIET = {"no pass has failed"}  # in a test before something may have failed: it may have data, too
FINAL = {"rounds_done": "round", "accuracy_ratio": "accuracy", "survivors": "survivors", "update_norm": "updateNorm"}
BYTES = {"sent": "bytesSent", "received": "bytesReceived"}


@pytest.fixture(scope="module")
def nobody(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A list of no aggregators: this is about the operator."""
    path = tmp_path_factory.mktemp("targets") / "aggregators.json"
    path.write_text("[]")
    return path


@pytest.fixture
def watched(plane: ControlPlane, operator: Replica, tenants: None, digits: Path) -> Iterator[Run]:
    run = Run.begin(plane, digits_job("watched", ttlSecondsAfterFinished=3600))
    run.reaches(1)
    yield run
    run.delete()


def told(prometheus: Prometheus, name: str, job: str, **labels: str) -> list[float]:
    """Return what the operator tells of a job now."""
    selector = ",".join(f'{label}="{value}"' for label, value in {"job_namespace": JOBS, "job_name": job, **labels}.items())
    return [float(sample["value"][1]) for sample in prometheus.now(f"coterie_job_{name}{{{selector}}}")]


def has_numbers(prometheus: Prometheus, expr: str) -> bool:
    found = [float(sample["value"][1]) for sample in prometheus.now(expr)]
    return bool(found) and all(map(math.isfinite, found))


def await_numbers(prometheus: Prometheus, expressions: list[str], watched: Run) -> None:
    """Return once each expression has had numbers; the job is touched meanwhile, since a quantile has none where nothing is reconciled."""
    silent = set(expressions)

    def ask() -> bool:
        watched.touch()
        silent.difference_update([expr for expr in silent if has_numbers(prometheus, expr)])
        return not silent

    try:
        wait_until(ask, "every panel has data", 60, every_seconds=0.5)
    except TimeoutError as error:
        raise AssertionError(f"no numbers in 60 s: {sorted(silent)}") from error


def test_the_operators_dashboard_has_data_and_final_values_outlive_the_operator(
    watched: Run, operator: Replica, nobody: Path, tmp_path: Path
) -> None:
    assert PROGRAM is not None, "prometheus is not installed, and CI must have it (Debian: apt-get install prometheus)"
    with Prometheus(tmp_path / "first", [f"127.0.0.1:{operator.metrics_port}"], nobody) as prometheus:
        queries = [query for panel in OPERATOR.panels if panel.quiet not in QUIET for query in panel.queries]
        await_numbers(prometheus, [as_sent(query.expr, WINDOW) for query in queries], watched)
        requests = {(each["metric"]["verb"], each["metric"]["code"]) for each in prometheus.now("coterie_api_requests_total")}
        status = watched.succeeds()
        wait_until(lambda: told(prometheus, "condition", "watched", condition="Succeeded", status="True") == [1], "its end is told", 30)

        assert {("get", "200"), ("list", "200"), ("create", "201"), ("patch", "200")} <= requests
        assert {name: told(prometheus, name, "watched") for name in FINAL} == {name: [status[field]] for name, field in FINAL.items()}

    operator.kill()
    operator.start()
    operator.lead()
    with Prometheus(tmp_path / "second", [f"127.0.0.1:{operator.metrics_port}"], nobody) as prometheus:
        wait_until(lambda: told(prometheus, "rounds_done", "watched"), "the new operator tells of the job", 30)
        final = watched.status

        assert {name: told(prometheus, name, "watched") for name in FINAL} == {name: [final[field]] for name, field in FINAL.items()}
        assert {way: told(prometheus, "transferred_bytes", "watched", direction=way) for way in BYTES} == {
            way: [final[field]] for way, field in BYTES.items()
        }
        assert final["bytesSent"] > 1000
        assert final["accuracy"] > 0.5

        watched.delete()
        wait_until(lambda: not told(prometheus, "rounds_done", "watched"), f"its series go: {json.dumps(final)[:200]}", 30)
