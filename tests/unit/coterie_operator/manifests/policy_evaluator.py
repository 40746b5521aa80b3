"""A small reference evaluator of NetworkPolicies, after the semantics of the API's documentation; additive, with namespaces by label."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Peer:
    """A pod in a namespace."""

    namespace: str
    labels: dict[str, str] = field(default_factory=dict)


def is_allowed(policies: list[Json], source: Peer, target: Peer, port: int, protocol: str = "TCP") -> bool:
    """Whether a connection passes: the target's ingress and the source's egress must both let it."""
    return _passes(policies, "ingress", target, source, (port, protocol)) and _passes(policies, "egress", source, target, (port, protocol))


def _passes(policies: list[Json], direction: str, subject: Peer, other: Peer, where: tuple[int, str]) -> bool:
    selected = [policy for policy in policies if _selects(policy, subject) and direction.capitalize() in policy["spec"]["policyTypes"]]
    if not selected:
        return True
    rules = [rule for policy in selected for rule in policy["spec"].get(direction, [])]
    side = "from" if direction == "ingress" else "to"
    return any(_ports(rule, where) and _peers(rule.get(side), other, subject.namespace) for rule in rules)


def _selects(policy: Json, peer: Peer) -> bool:
    return policy["metadata"]["namespace"] == peer.namespace and _matches(policy["spec"]["podSelector"], peer.labels)


def _ports(rule: Json, where: tuple[int, str]) -> bool:
    ports = rule.get("ports")
    return ports is None or any((port["port"], port.get("protocol", "TCP")) == where for port in ports)


def _peers(peers: list[Json] | None, other: Peer, own: str) -> bool:
    return peers is None or any(_peer(peer, other, own) for peer in peers)


def _peer(peer: Json, other: Peer, own: str) -> bool:
    namespace_labels = {"kubernetes.io/metadata.name": other.namespace}
    in_namespace = _matches(peer["namespaceSelector"], namespace_labels) if "namespaceSelector" in peer else other.namespace == own
    return in_namespace and _matches(peer.get("podSelector", {}), other.labels)


def _matches(selector: Json, labels: dict[str, str]) -> bool:
    plain = all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
    return plain and all(_expression(entry, labels) for entry in selector.get("matchExpressions", []))


def _expression(entry: Json, labels: dict[str, str]) -> bool:
    assert entry["operator"] == "In", "only what we use"
    return labels.get(entry["key"]) in entry["values"]
