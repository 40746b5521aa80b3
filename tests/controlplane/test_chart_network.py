"""Who may talk to whom, over all policies at once: the chart's own, those of a running job, and tenants' that close their namespaces.

Every pair of ends and ports is judged. What is listed here is open; everything else must be closed, except for pods that are no business
of these policies.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from tests.cluster import chart
from tests.unit.coterie_operator.manifests.policy_evaluator import Peer, is_allowed
from tests.unit.coterie_operator.manifests.started_parts import KEY, parts, tenant

from coterie_api.names import PORT_METRICS, PORT_ROUNDS, PORT_STATUS
from coterie_api.podconfig import Role
from coterie_operator.manifests.aggregator import standing_children
from coterie_operator.manifests.client import standing_children as client_children
from coterie_operator.manifests.naming import JobKey, labels
from coterie_operator.settings import Settings

if TYPE_CHECKING:
    from tests.cluster.controlplane import ControlPlane

HOME = "coterie-system"
NAME = {"app.kubernetes.io/name": "coterie", "app.kubernetes.io/instance": "coterie"}
PORTS = {"health": 8080, "metrics": 9090}
OTHER_JOB = JobKey("research", "fashion", "another-uid")

ENDS: dict[str, Peer] = {
    "operator": Peer(HOME, {**NAME, "app.kubernetes.io/component": "operator"}, "10.1.0.1", PORTS),
    "test": Peer(HOME, {**NAME, "app.kubernetes.io/component": "test"}, "10.1.0.2"),
    "neighbor of the operator": Peer(HOME, {"app": "other"}, "10.1.0.3"),
    "aggregator": Peer("research", labels(KEY, Role.AGGREGATOR, attempt=0), "10.1.1.1"),
    "aggregator of another job": Peer("research", labels(OTHER_JOB, Role.AGGREGATOR, attempt=0), "10.1.1.2"),
    "author's notebook": Peer("research", {"app": "notebook"}, "10.1.1.3"),
    "author's pod with an operator's labels": Peer("research", {**NAME, "app.kubernetes.io/component": "operator"}, "10.1.1.4", PORTS),
    "client a": Peer("hospital-a", labels(KEY, Role.CLIENT), "10.1.2.1"),
    "client b": Peer("hospital-b", labels(KEY, Role.CLIENT), "10.1.3.1"),
    "client of another job": Peer("hospital-a", labels(OTHER_JOB, Role.CLIENT), "10.1.2.2"),
    "database of a": Peer("hospital-a", {"app": "database"}, "10.1.2.3"),
    "pod elsewhere with a client's labels": Peer("stranger", labels(KEY, Role.CLIENT), "10.1.4.1"),
    "pod elsewhere with an aggregator's role": Peer("stranger", labels(KEY, Role.AGGREGATOR), "10.1.4.2"),
    "prometheus": Peer("monitoring", {"app": "prometheus"}, "10.1.5.1"),
    "neighbor of prometheus": Peer("monitoring", {"app": "grafana"}, "10.1.5.2"),
    "names": Peer("kube-system", {"k8s-app": "kube-dns"}, "10.1.6.1"),
    "api server": Peer("", address="10.0.0.10"),
    "another host beside it": Peer("", address="10.0.1.10"),
    "internet": Peer("", address="203.0.113.9"),
}
OURS = ("operator", "test", "aggregator", "client a", "client b")
NAMES = (53, 5353)
WHERE = (*NAMES, 443, 5432, 6443, 8080, PORT_ROUNDS, PORT_STATUS, PORT_METRICS)

Connection = tuple[str, str, int]

# (from, to, port), for the values below. `metricsFrom` names Prometheus' pods; aggregators let its whole namespace scrape, clients nobody.
OPEN: set[Connection] = {
    ("client a", "aggregator", PORT_ROUNDS),
    ("client b", "aggregator", PORT_ROUNDS),
    ("operator", "aggregator", PORT_STATUS),
    ("operator", "aggregator of another job", PORT_STATUS),
    ("operator", "api server", 6443),
    ("test", "api server", 6443),
    ("test", "operator", PORTS["health"]),
    ("prometheus", "operator", PORT_METRICS),
    ("prometheus", "aggregator", PORT_METRICS),
    ("neighbor of prometheus", "aggregator", PORT_METRICS),
}
# DNS is open to every destination (a resolver may be anywhere), and so stays a channel; of the ends that are ours none lets it in.
OPEN |= {(source, target, port) for source in OURS for target in ENDS for port in NAMES if target not in OURS and target != source}


@pytest.fixture(scope="module")
def policies(empty_plane: ControlPlane) -> list[dict[str, Any]]:
    settings = Settings(monitoring_namespace="monitoring")
    started = parts(settings)
    scraper = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}},
        "podSelector": {"matchLabels": {"app": "prometheus"}},
    }
    values = {
        "jobNamespaces": ["research"],
        "tenants": ["hospital-a", "hospital-b"],
        "settings": {"monitoringNamespace": "monitoring"},
        "networkPolicy": {"metricsFrom": [scraper], "apiServer": {"ports": [6443], "cidrs": ["10.0.0.0/24"]}},
    }
    children = [
        *standing_children(started),
        *client_children(started, tenant("hospital-a", 0)),
        *client_children(started, tenant("hospital-b", 1)),
    ]
    return chart.of_kind([*chart.render(values), *children], "NetworkPolicy")


def judged(policies: list[dict[str, Any]]) -> set[Connection]:
    """Return every connection from or to a pod of ours that passes."""
    return {
        (source, target, port)
        for source, target, port in product(ENDS, ENDS, WHERE)
        if source != target and {source, target} & set(OURS) and is_allowed(policies, ENDS[source], ENDS[target], port)
    }


def test_what_is_listed_is_open_and_all_else_is_closed(policies: list[dict[str, Any]]) -> None:
    found = judged(policies)

    assert found - OPEN == set(), "open, and must not be"
    assert OPEN - found == set(), "closed, and must not be"


def test_the_table_judges_every_pair() -> None:
    assert len(ENDS) * (len(ENDS) - 1) * len(WHERE) > 2500
    assert {end for connection in OPEN for end in connection[:2]} >= set(OURS)


def test_names_are_asked_by_both_protocols(policies: list[dict[str, Any]]) -> None:
    for source in OURS:
        for port in NAMES:
            assert is_allowed(policies, ENDS[source], ENDS["names"], port, "UDP")
        assert not is_allowed(policies, ENDS[source], ENDS["names"], 443, "UDP")


def test_nobody_reaches_a_client(policies: list[dict[str, Any]]) -> None:
    """A granted image may listen wherever it likes, and would hand data to whoever is let in."""
    clients = [each for each in policies if each["spec"]["podSelector"]["matchLabels"].get("coterie.dev/role") == Role.CLIENT.value]

    assert len(clients) == 2
    assert all("Ingress" in each["spec"]["policyTypes"] and not each["spec"].get("ingress") for each in clients)
    assert {target for _, target, _ in judged(policies)} & {"client a", "client b"} == set()


def test_closed_namespaces_of_tenants_stay_closed_for_all_but_their_clients(policies: list[dict[str, Any]]) -> None:
    """Many namespaces deny by default; ours then must be enough to let a job run, and open nothing else."""
    denials = [
        {"metadata": {"namespace": name}, "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}}
        for name in ("research", "hospital-a", "hospital-b", HOME)
    ]

    assert judged([*policies, *denials]) == OPEN - {
        # Ends that these denials close besides.
        ("operator", "aggregator of another job", PORT_STATUS),
        *(
            (source, target, port)
            for source in OURS
            for target in ENDS
            for port in NAMES
            if ENDS[target].namespace in {"research", "hospital-a", "hospital-b", HOME}
        ),
    }


def test_without_named_scrapers_only_the_operators_namespace_scrapes(empty_plane: ControlPlane) -> None:
    default = chart.of_kind(chart.render({}), "NetworkPolicy")

    assert is_allowed(default, ENDS["neighbor of the operator"], ENDS["operator"], PORT_METRICS)
    assert not is_allowed(default, ENDS["prometheus"], ENDS["operator"], PORT_METRICS)
    assert not is_allowed(default, ENDS["neighbor of the operator"], ENDS["operator"], PORTS["health"])


def test_the_broken_twin_is_caught(policies: list[dict[str, Any]]) -> None:
    """A policy that opens one port to everybody must show."""
    hole = {"metadata": {"namespace": HOME}, "spec": {"podSelector": {}, "ingress": [{"ports": [{"port": PORTS["health"]}]}]}}

    assert ("prometheus", "operator", PORTS["health"]) in judged([*policies, hole]) - OPEN
