"""Who may talk to whom: one table, judged by a reference evaluator."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.coterie_operator.manifests.policy_evaluator import Peer, is_allowed
from tests.unit.coterie_operator.manifests.started_parts import KEY, parts, tenant

from coterie_api.podconfig import Role
from coterie_operator.manifests.aggregator import standing_children
from coterie_operator.manifests.client import standing_children as client_children
from coterie_operator.manifests.naming import JobKey, labels, pod_labels
from coterie_operator.settings import Settings


def policies(settings: Settings | None = None) -> list[dict[str, Any]]:
    started = parts(settings)
    objects = [
        *standing_children(started),
        *client_children(started, tenant("hospital-a", 0)),
        *client_children(started, tenant("hospital-b", 1)),
    ]
    return [obj for obj in objects if obj["kind"] == "NetworkPolicy"]


OTHER_JOB = JobKey("research", "fashion", "another-uid")
AGGREGATOR = Peer("research", labels(KEY, Role.AGGREGATOR, attempt=0))
CLIENT_A = Peer("hospital-a", labels(KEY, Role.CLIENT))
CLIENT_B = Peer("hospital-b", labels(KEY, Role.CLIENT))
OTHERS_CLIENT = Peer("hospital-a", labels(OTHER_JOB, Role.CLIENT))
OTHERS_AGGREGATOR = Peer("research", labels(OTHER_JOB, Role.AGGREGATOR))
IMPOSTOR = Peer("stranger", labels(KEY, Role.CLIENT))
AUTHOR = Peer("research", {"app": "notebook"})
OPERATOR = Peer("coterie-system", {"app.kubernetes.io/name": "coterie", "app.kubernetes.io/component": "operator"})
NEIGHBOR = Peer("coterie-system", {"app": "something"})
PROMETHEUS = Peer("monitoring", {"app": "prometheus"})
DNS = Peer("kube-system", {"k8s-app": "kube-dns"})
TENANTS_DATABASE = Peer("hospital-a", {"app": "database"})

TABLE: dict[str, tuple[Peer, Peer, int, bool]] = {
    "a client dials its aggregator": (CLIENT_A, AGGREGATOR, 8443, True),
    "every tenant's client dials the aggregator": (CLIENT_B, AGGREGATOR, 8443, True),
    "the operator reads the status": (OPERATOR, AGGREGATOR, 8444, True),
    "the operator's namespace scrapes": (NEIGHBOR, AGGREGATOR, 9090, True),
    "a client resolves names": (CLIENT_A, DNS, 53, True),
    "the aggregator resolves names": (AGGREGATOR, DNS, 53, True),
    "a client resolves names where resolvers listen on another port": (CLIENT_A, DNS, 5353, True),
    "the aggregator resolves names where resolvers listen on another port": (AGGREGATOR, DNS, 5353, True),
    "a client does not read the status": (CLIENT_A, AGGREGATOR, 8444, False),
    "a client does not scrape the aggregator": (CLIENT_A, AGGREGATOR, 9090, False),
    "another job's client does not dial": (OTHERS_CLIENT, AGGREGATOR, 8443, False),
    "a pod with a client's labels in a namespace that takes no part does not dial": (IMPOSTOR, AGGREGATOR, 8443, False),
    "the author's other pods do not dial": (AUTHOR, AGGREGATOR, 8443, False),
    "the author's other pods do not read the status": (AUTHOR, AGGREGATOR, 8444, False),
    "another pod of the operator's namespace does not read the status": (NEIGHBOR, AGGREGATOR, 8444, False),
    "a monitoring that was not named does not scrape": (PROMETHEUS, AGGREGATOR, 9090, False),
    "two clients do not talk": (CLIENT_A, CLIENT_B, 8443, False),
    "the aggregator does not dial a client": (AGGREGATOR, CLIENT_A, 9090, False),
    "the operator's namespace does not scrape a client": (NEIGHBOR, CLIENT_A, 9090, False),
    "the operator does not dial a client": (OPERATOR, CLIENT_A, 8444, False),
    "a client does not dial another job's aggregator": (CLIENT_A, OTHERS_AGGREGATOR, 8443, False),
    "a client reaches nothing else of its own namespace": (CLIENT_A, TENANTS_DATABASE, 5432, False),
    "a client reaches nothing outside": (CLIENT_A, Peer("internet"), 443, False),
    "the aggregator reaches nothing outside": (AGGREGATOR, Peer("internet"), 443, False),
    "nobody of the tenant's namespace dials a client": (TENANTS_DATABASE, CLIENT_A, 9090, False),
}


@pytest.mark.parametrize(("source", "target", "port", "allowed"), TABLE.values(), ids=TABLE.keys())
def test_network(source: Peer, target: Peer, port: int, allowed: bool) -> None:
    assert is_allowed(policies(), source, target, port) is allowed


def test_a_named_monitoring_scrapes_and_nobody_else() -> None:
    named = policies(Settings(monitoring_namespace="monitoring"))

    assert is_allowed(named, PROMETHEUS, AGGREGATOR, 9090)
    assert not is_allowed(named, PROMETHEUS, CLIENT_A, 9090)
    assert not is_allowed(named, NEIGHBOR, AGGREGATOR, 9090)
    assert not is_allowed(named, PROMETHEUS, AGGREGATOR, 8443)


@pytest.mark.parametrize("settings", [Settings(), Settings(monitoring_namespace="monitoring")], ids=["default", "a named monitoring"])
def test_no_clients_policy_lets_anything_in(settings: Settings) -> None:
    """A granted image may listen wherever it likes, and would hand data to whoever is let in."""
    of_clients = [each["spec"] for each in policies(settings) if each["metadata"]["namespace"] != "research"]

    assert len(of_clients) == 2
    for spec in of_clients:
        assert "Ingress" in spec["policyTypes"]
        assert spec["ingress"] == []


@pytest.mark.parametrize("source", [AGGREGATOR, CLIENT_A, CLIENT_B], ids=["aggregator", "client a", "client b"])
def test_names_are_asked_by_both_protocols_and_nothing_else_is(source: Peer) -> None:
    for port in (53, 5353):
        assert is_allowed(policies(), source, DNS, port, "UDP")
        assert is_allowed(policies(), source, DNS, port, "TCP")
    assert not is_allowed(policies(), source, DNS, 443, "UDP")


def test_policies_select_the_pods_of_this_job_alone() -> None:
    for policy in policies():
        assert policy["spec"]["podSelector"]["matchLabels"] in (pod_labels(KEY, Role.AGGREGATOR), pod_labels(KEY, Role.CLIENT))
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
