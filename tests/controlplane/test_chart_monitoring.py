"""What the chart makes for Prometheus' operator and for Grafana, as Helm renders it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.cluster import chart

if TYPE_CHECKING:
    from tests.cluster.controlplane import ControlPlane

MONITORS = ("ServiceMonitor", "PodMonitor")


def rendered(**monitoring: Any) -> list[dict[str, Any]]:
    return chart.render({"jobNamespaces": ["research"], "monitoring": monitoring})


def selected(monitor: dict[str, Any], labels: dict[str, str]) -> bool:
    return monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()


@pytest.fixture(scope="module", autouse=True)
def _helm(empty_plane: ControlPlane) -> None:
    """Helm is built with the control plane."""


def test_nothing_that_needs_foreign_definitions_is_there_by_default() -> None:
    assert not [each for each in rendered() if "grafana_dashboard" in each["metadata"].get("labels", {})]
    assert [each["kind"] for each in rendered() if "monitoring.coreos.com" in each["apiVersion"]] == []


@pytest.mark.parametrize("kind", MONITORS)
def test_a_monitor_finds_the_operator_and_its_port(kind: str) -> None:
    manifests = rendered(monitors={"kind": kind, "additionalLabels": {"release": "prometheus"}})
    (monitor,) = [each for each in chart.of_kind(manifests, kind) if each["metadata"]["name"] == "coterie"]
    pod = chart.of_kind(manifests, "Deployment")[0]["spec"]["template"]
    ports = {port["name"]: port["containerPort"] for port in pod["spec"]["containers"][0]["ports"]}

    assert selected(monitor, pod["metadata"]["labels"])
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    for service in chart.of_kind(manifests, "Service"):
        assert selected(monitor, service["metadata"]["labels"])
        assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
        assert {ports[port["targetPort"]] for port in service["spec"]["ports"]} == {port["port"] for port in service["spec"]["ports"]}
    (endpoint,) = monitor["spec"]["endpoints" if kind == "ServiceMonitor" else "podMetricsEndpoints"]
    assert endpoint["port"] in {port["name"] for port in chart.of_kind(manifests, "Service")[0]["spec"]["ports"]} & ports.keys()


@pytest.mark.parametrize("kind", MONITORS)
def test_aggregators_are_found_where_jobs_are_and_named_by_their_labels(kind: str) -> None:
    manifests = rendered(monitors={"kind": kind})
    (monitor,) = [each for each in chart.of_kind(manifests, "PodMonitor") if each["metadata"]["name"] == "coterie-aggregators"]
    written = {rule["targetLabel"] for rule in monitor["spec"]["podMetricsEndpoints"][0]["relabelings"]}

    assert selected(monitor, {"coterie.dev/role": "aggregator"})
    assert not selected(monitor, {"coterie.dev/role": "client"})
    assert monitor["spec"]["namespaceSelector"]["matchNames"] == ["research"]
    assert written == {"job_namespace", "job_name"}


def test_the_rules_are_those_of_the_file_with_the_labels_asked_for() -> None:
    (rule,) = chart.of_kind(rendered(rules={"enabled": True, "additionalLabels": {"team": "ml"}}), "PrometheusRule")

    assert rule["spec"] == yaml.safe_load((chart.CHART / "rules" / "coterie.yaml").read_text())
    assert rule["metadata"]["labels"]["team"] == "ml"


@pytest.mark.parametrize("address", ["https://wiki.example.com/pages", "https://wiki.example.com/pages/"])
def test_runbooks_are_where_the_administrator_keeps_them(address: str) -> None:
    (rule,) = chart.of_kind(rendered(rules={"enabled": True, "runbookUrl": address}), "PrometheusRule")
    alerts = [each for group in rule["spec"]["groups"] for each in group["rules"] if "alert" in each]

    assert alerts
    assert all(each["annotations"]["runbook_url"] == f"https://wiki.example.com/pages/{each['alert']}.md" for each in alerts)


def test_each_dashboard_is_a_config_map_that_grafanas_sidecar_finds() -> None:
    made = {"enabled": True, "namespace": "monitoring", "additionalLabels": {"team": "ml"}}
    maps = [each for each in chart.of_kind(rendered(dashboards=made), "ConfigMap") if "-dashboard-" in each["metadata"]["name"]]
    files = {path.name: json.loads(path.read_text()) for path in (chart.CHART / "dashboards").glob("*.json")}

    assert {name: json.loads(text) for each in maps for name, text in each["data"].items()} == files
    assert len(maps) == 4
    for each in maps:
        assert each["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert each["metadata"]["labels"]["team"] == "ml"
        assert each["metadata"]["namespace"] == "monitoring"


@pytest.mark.parametrize(
    "wrong", [{"monitors": {"kind": "Probe"}}, {"rules": {"enabled": "yes"}}, {"rule": {}}, {"monitors": {"interval": "often"}}]
)
def test_values_that_are_not_offered_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(chart.ChartRefusedError):
        rendered(**wrong)
