"""A reference evaluator of NetworkPolicies, after the API's own documentation, for what no cluster here enforces.

Policies are additive; a pod that no policy of a direction selects is open in that direction. A connection passes if the target's ingress
and the source's egress both let it. A named port means what the target's containers call so.

Source: `networking.k8s.io/v1` NetworkPolicy, as `kubectl explain networkpolicy.spec` shows it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

Json = dict[str, Any]
NAME_LABEL = "kubernetes.io/metadata.name"


@dataclass(frozen=True)
class Peer:
    """One end of a connection: a pod in a namespace, or, without a namespace, an address outside of the cluster."""

    namespace: str
    labels: dict[str, str] = field(default_factory=dict)
    address: str = ""
    ports: dict[str, int] = field(default_factory=dict)  # as its containers name them
    namespace_labels: dict[str, str] = field(default_factory=dict)  # besides the namespace's name, which the API server sets

    @property
    def is_outside(self) -> bool:
        return not self.namespace


def is_allowed(policies: list[Json], source: Peer, target: Peer, port: int, protocol: str = "TCP") -> bool:
    """Whether a connection passes."""
    where = (target, port, protocol)
    return _passes(policies, "ingress", target, source, where) and _passes(policies, "egress", source, target, where)


def _passes(policies: list[Json], direction: str, subject: Peer, other: Peer, where: tuple[Peer, int, str]) -> bool:
    selected = [policy for policy in policies if direction in _directions(policy) and _selects(policy, subject)]
    if not selected:
        return True
    rules = [rule for policy in selected for rule in policy["spec"].get(direction) or []]
    side = "from" if direction == "ingress" else "to"
    return any(_ports(rule.get("ports"), *where) and _peers(rule.get(side), other, subject) for rule in rules)


def _directions(policy: Json) -> set[str]:
    """Return what a policy is about: ingress always unless it says otherwise, egress if it has a rule for it."""
    spec = policy["spec"]
    default = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]
    return {each.lower() for each in spec.get("policyTypes") or default}


def _selects(policy: Json, peer: Peer) -> bool:
    return (
        not peer.is_outside
        and policy["metadata"]["namespace"] == peer.namespace
        and matches(policy["spec"].get("podSelector", {}), peer.labels)
    )


def _ports(ports: list[Json] | None, target: Peer, port: int, protocol: str) -> bool:
    return not ports or any(_port(each, target, port) and each.get("protocol", "TCP") == protocol for each in ports)


def _port(entry: Json, target: Peer, port: int) -> bool:
    wanted = entry.get("port")
    if wanted is None:
        return True
    if isinstance(wanted, str):
        return target.ports.get(wanted) == port
    return bool(wanted <= port <= entry.get("endPort", wanted))


def _peers(peers: list[Json] | None, other: Peer, subject: Peer) -> bool:
    return not peers or any(_peer(peer, other, subject) for peer in peers)


def _peer(peer: Json, other: Peer, subject: Peer) -> bool:
    if "ipBlock" in peer:
        return bool(other.address) and _in_block(peer["ipBlock"], other.address)
    if other.is_outside:
        return False
    if "namespaceSelector" not in peer:
        return other.namespace == subject.namespace and matches(peer["podSelector"], other.labels)
    labels = {**other.namespace_labels, NAME_LABEL: other.namespace}
    return matches(peer["namespaceSelector"], labels) and matches(peer.get("podSelector", {}), other.labels)


def _in_block(block: Json, address: str) -> bool:
    here = ip_address(address)
    return here in ip_network(block["cidr"]) and not any(here in ip_network(each) for each in block.get("except", ()))


def matches(selector: Json, labels: dict[str, str]) -> bool:
    """Whether a label selector takes these labels; an empty one takes all."""
    plain = all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items())
    return plain and all(_expression(entry, labels) for entry in selector.get("matchExpressions") or [])


def _expression(entry: Json, labels: dict[str, str]) -> bool:
    key, values = entry["key"], entry.get("values", ())
    found = {
        "In": key in labels and labels[key] in values,
        "NotIn": labels.get(key) not in values,
        "Exists": key in labels,
        "DoesNotExist": key not in labels,
    }
    return found[entry["operator"]]
