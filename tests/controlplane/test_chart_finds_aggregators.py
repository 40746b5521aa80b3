"""What the chart's PodMonitor selects is what the operator makes: labels, the port's name, and the way through the policy."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from tests.cluster import chart
from tests.unit.coterie_operator import builders
from tests.unit.coterie_operator.world import World

from coterie_operator.cluster import BATCH_JOB, NETWORK_POLICY
from coterie_operator.settings import Settings

if TYPE_CHECKING:
    from tests.cluster.controlplane import ControlPlane

MONITORING = "watchers"
Manifest = dict[str, Any]


@pytest.fixture(scope="module")
def monitor(empty_plane: ControlPlane) -> Manifest:
    """The PodMonitor of aggregators, as Helm renders it. Helm is built with the control plane."""
    values = {"jobNamespaces": [builders.JOB_NAMESPACE], "monitoring": {"monitors": {"kind": "PodMonitor"}}}
    found = [each for each in chart.of_kind(chart.render(values), "PodMonitor") if each["metadata"]["name"].endswith("-aggregators")]
    assert len(found) == 1
    return found[0]


async def made(role: str) -> tuple[Manifest, Manifest]:
    """Return a pod's template and the policy of its role, as the operator makes them."""
    world = await World(settings=Settings(monitoring_namespace=MONITORING)).start()
    await world.settle()
    of_role = [each for each in await world.children(BATCH_JOB, NETWORK_POLICY) if each["metadata"]["labels"]["coterie.dev/role"] == role]
    job = next(each for each in of_role if each["kind"] == "Job")
    policy = next(
        each for each in of_role if each["kind"] == "NetworkPolicy" and each["metadata"]["namespace"] == job["metadata"]["namespace"]
    )
    return {**job["spec"]["template"], "namespace": job["metadata"]["namespace"]}, policy


def selects(monitor: Manifest, pod: Manifest) -> bool:
    has_labels: bool = monitor["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    return has_labels and pod["namespace"] in monitor["spec"]["namespaceSelector"]["matchNames"]


def relabeled(monitor: Manifest, pod: Manifest) -> dict[str, str]:
    """Do what Prometheus does: a label of a pod is a source under its name with other signs replaced."""
    meta = {
        f"__meta_kubernetes_pod_label_{re.sub(r'[^a-zA-Z0-9_]', '_', name)}": value for name, value in pod["metadata"]["labels"].items()
    }
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    return {rule["targetLabel"]: ";".join(meta.get(name, "") for name in rule["sourceLabels"]) for rule in endpoint["relabelings"]}


async def test_the_monitor_selects_aggregators_and_no_client(monitor: Manifest) -> None:
    aggregator, _ = await made("aggregator")
    client, _ = await made("client")

    assert selects(monitor, aggregator)
    assert not selects(monitor, client)
    assert not selects(monitor, {**aggregator, "namespace": "elsewhere"})


async def test_series_are_labeled_with_the_job_as_the_operators_are(monitor: Manifest) -> None:
    aggregator, _ = await made("aggregator")

    assert relabeled(monitor, aggregator) == {"job_namespace": builders.JOB[0], "job_name": builders.JOB[1]}


async def test_the_port_that_is_scraped_is_the_aggregators_and_its_policy_lets_the_monitoring_through(monitor: Manifest) -> None:
    aggregator, policy = await made("aggregator")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    ports = {port["name"]: port["containerPort"] for container in aggregator["spec"]["containers"] for port in container.get("ports", ())}
    opened = [
        port["port"]
        for rule in policy["spec"]["ingress"]
        for peer in rule["from"]
        for port in rule["ports"]
        if peer.get("namespaceSelector", {}).get("matchLabels", {}).get("kubernetes.io/metadata.name") == MONITORING
    ]

    assert endpoint["port"] in ports
    assert opened == [ports[endpoint["port"]]]
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= aggregator["metadata"]["labels"].items()
