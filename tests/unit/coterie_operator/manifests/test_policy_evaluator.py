"""The evaluator against the sentences of the API's documentation."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.coterie_operator.manifests.policy_evaluator import Peer, is_allowed, matches

WEB = Peer("shop", {"app": "web"}, "10.0.0.5", {"http": 8080})
CART = Peer("shop", {"app": "cart"}, "10.0.0.6")
OTHER = Peer("bank", {"app": "cart"}, "10.0.1.6", namespace_labels={"tier": "gold"})
OUTSIDE = Peer("", address="192.0.2.7")


def policy(pods: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "shop"}, "spec": {"podSelector": pods or {}, **spec}}


def rule(**parts: Any) -> dict[str, Any]:
    return policy(ingress=[{key.rstrip("_"): value for key, value in parts.items()}])


CASES: dict[str, tuple[list[dict[str, Any]], Peer, Peer, int, bool]] = {
    "without a policy all is open": ([], OTHER, WEB, 1, True),
    "a policy without a rule closes": ([policy()], CART, WEB, 8080, False),
    "a policy of another namespace closes nothing": ([{**policy(), "metadata": {"namespace": "bank"}}], CART, WEB, 1, True),
    "a policy for other pods closes nothing": ([policy({"matchLabels": {"app": "cart"}})], CART, WEB, 1, True),
    "an empty rule opens to all": ([policy(ingress=[{}])], OUTSIDE, WEB, 1, True),
    "policies add up": ([policy(), policy(ingress=[{}])], OTHER, WEB, 1, True),
    "a policy about egress alone leaves ingress open": ([policy(policyTypes=["Egress"])], OTHER, WEB, 1, True),
    "a policy about egress closes it": ([policy(policyTypes=["Egress"])], WEB, OTHER, 1, False),
    "egress is closed by its rules without being named": ([policy(egress=[{"ports": [{"port": 1}]}], ingress=[{}])], WEB, OTHER, 2, False),
    "ingress is closed unless the types say otherwise": ([policy(egress=[{}])], OTHER, WEB, 1, False),
    "pods alone are those of the same namespace": ([rule(from_=[{"podSelector": {"matchLabels": {"app": "cart"}}}])], OTHER, WEB, 1, False),
    "pods of the same namespace": ([rule(from_=[{"podSelector": {"matchLabels": {"app": "cart"}}}])], CART, WEB, 1, True),
    "all namespaces": ([rule(from_=[{"namespaceSelector": {}}])], OTHER, WEB, 1, True),
    "all namespaces are not the world": ([rule(from_=[{"namespaceSelector": {}}])], OUTSIDE, WEB, 1, False),
    "a namespace by its own label": ([rule(from_=[{"namespaceSelector": {"matchLabels": {"tier": "gold"}}}])], OTHER, WEB, 1, True),
    "both selectors of one peer": (
        [rule(from_=[{"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "web"}}}])],
        OTHER,
        WEB,
        1,
        False,
    ),
    "two peers are alternatives": (
        [rule(from_=[{"namespaceSelector": {}}, {"podSelector": {"matchLabels": {"app": "web"}}}])],
        OTHER,
        WEB,
        1,
        True,
    ),
    "a port": ([rule(ports=[{"port": 8080}])], CART, WEB, 8080, True),
    "another port": ([rule(ports=[{"port": 8080}])], CART, WEB, 8081, False),
    "another protocol": ([rule(ports=[{"port": 8080, "protocol": "UDP"}])], CART, WEB, 8080, False),
    "a port by its name": ([rule(ports=[{"port": "http"}])], CART, WEB, 8080, True),
    "a name that the target has not": ([rule(ports=[{"port": "https"}])], CART, WEB, 8080, False),
    "a range of ports": ([rule(ports=[{"port": 8000, "endPort": 8100}])], CART, WEB, 8080, True),
    "beyond a range": ([rule(ports=[{"port": 8000, "endPort": 8079}])], CART, WEB, 8080, False),
    "an address": ([rule(from_=[{"ipBlock": {"cidr": "192.0.2.0/24"}}])], OUTSIDE, WEB, 1, True),
    "an address that is excepted": (
        [rule(from_=[{"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.7/32"]}}])],
        OUTSIDE,
        WEB,
        1,
        False,
    ),
    "an address elsewhere": ([rule(from_=[{"ipBlock": {"cidr": "10.0.0.0/8"}}])], OUTSIDE, WEB, 1, False),
}


@pytest.mark.parametrize("case", CASES)
def test_connection(case: str) -> None:
    policies, source, target, port, allowed = CASES[case]

    assert is_allowed(policies, source, target, port) is allowed


@pytest.mark.parametrize(
    ("operator", "values", "taken"),
    [
        ("In", ["a", "b"], True),
        ("In", ["b"], False),
        ("NotIn", ["a"], False),
        ("NotIn", ["b"], True),
        ("Exists", [], True),
        ("DoesNotExist", [], False),
    ],
)
def test_expressions(operator: str, values: list[str], taken: bool) -> None:
    assert matches({"matchExpressions": [{"key": "k", "operator": operator, "values": values}]}, {"k": "a"}) is taken


def test_a_label_that_is_absent_is_in_nothing_and_out_of_all() -> None:
    def one(operator: str) -> bool:
        return matches({"matchExpressions": [{"key": "k", "operator": operator, "values": ["a"]}]}, {})

    assert [one(operator) for operator in ("In", "NotIn", "Exists", "DoesNotExist")] == [False, True, False, True]
