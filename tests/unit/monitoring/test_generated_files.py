"""What `make dashboards` writes is what is committed, and the names follow Prometheus' customs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from monitoring import registries
from monitoring.files import ROOT, generated

METRICS = [*registries.operator(), *registries.aggregator()]


@pytest.mark.parametrize("path", generated())
def test_a_generated_file_is_fresh(path: str) -> None:
    assert (ROOT / path).read_text() == generated()[path], "run `make dashboards`"


def test_both_planes_name_their_metrics_apart() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_metric_follows_the_customs(metric: registries.Described) -> None:
    assert re.fullmatch(r"coterie_[a-z_]+", metric.name)
    assert metric.text.endswith(".")
    assert (metric.kind == "counter") == metric.name.endswith("_total")
    assert not metric.name.endswith(("_milliseconds", "_percent", "_kilobytes"))
    assert metric.kind != "histogram" or metric.name.endswith("_seconds")


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_no_label_is_one_that_prometheus_writes_or_that_tells_of_a_client(metric: registries.Described) -> None:
    assert not {"job", "instance", "namespace", "pod", "uid", "client", "tenant", "dataset", "user"} & set(metric.labels)
    assert len(metric.labels) <= 4


def test_no_metric_is_without_a_test_that_asks_for_its_value() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*_metrics.py"))
    tests += Path(__file__).with_name("test_operator_wiring.py").read_text()
    short = {metric.name: metric.name.removeprefix("coterie_").removeprefix("job_") for metric in METRICS}

    assert [name for name, part in short.items() if f'"{name}' not in tests and f'"{part}' not in tests] == []


def test_the_checks_of_names_see_every_metric_of_both_planes() -> None:
    names = {metric.name for metric in METRICS}

    assert {"coterie_jobs", "coterie_api_requests_total", "coterie_round_duration_seconds", "coterie_drops_total"} <= names
    assert len(names) > 40
