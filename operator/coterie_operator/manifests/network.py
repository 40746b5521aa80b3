"""Network policies: what a job's pods may reach, and who may reach them.

Policies are additive in Kubernetes: what is said here holds only as far as no wider policy of the namespace's owner allows
more. Names must be resolvable, so DNS stays open (and stays a channel).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coterie_api.names import PORT_METRICS, PORT_ROUNDS, PORT_STATUS
from coterie_api.podconfig import Role
from coterie_operator.manifests.naming import LABEL_COMPONENT, LABEL_NAME, LABEL_NAMESPACE_NAME, JobKey, pod_labels

if TYPE_CHECKING:
    from coterie_operator.settings import Settings

Json = dict[str, Any]

# Policies are judged after a Service's address is translated, and the resolvers of some platforms, OpenShift's for one, listen on 5353.
DNS_PORTS = (53, 5353)
OPERATOR_LABELS = {LABEL_NAME: "coterie", LABEL_COMPONENT: "operator"}


def aggregator_policy(meta: Json, job: JobKey, tenants: tuple[str, ...], settings: Settings) -> Json:
    """Return the policy of the aggregator's pod: clients of this job in the tenants' namespaces dial in, the operator reads
    `/status`, the monitoring scrapes; nothing goes out but DNS."""
    clients = {
        "namespaceSelector": {"matchExpressions": [{"key": LABEL_NAMESPACE_NAME, "operator": "In", "values": sorted(set(tenants))}]},
        "podSelector": {"matchLabels": pod_labels(job, Role.CLIENT)},
    }
    operator = {**_namespace(settings.namespace), "podSelector": {"matchLabels": OPERATOR_LABELS}}
    ingress = [_rule("from", clients, PORT_ROUNDS), _rule("from", operator, PORT_STATUS), _scrape(settings)]
    return _policy(meta, pod_labels(job, Role.AGGREGATOR), ingress, [_dns()])


def client_policy(meta: Json, job: JobKey) -> Json:
    """Return the policy of a client's pod: it reaches its job's aggregator and DNS, and nobody reaches it.

    Nothing of ours listens there, and what the image that a tenant granted may listen for could hand data out.
    """
    aggregator = {**_namespace(job.namespace), "podSelector": {"matchLabels": pod_labels(job, Role.AGGREGATOR)}}
    return _policy(meta, pod_labels(job, Role.CLIENT), [], [_dns(), _rule("to", aggregator, PORT_ROUNDS)])


def _policy(meta: Json, pods: dict[str, str], ingress: list[Json], egress: list[Json]) -> Json:
    spec = {"podSelector": {"matchLabels": pods}, "policyTypes": ["Ingress", "Egress"], "ingress": ingress, "egress": egress}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta, "spec": spec}


def _rule(direction: str, peer: Json, port: int) -> Json:
    return {direction: [peer], "ports": [{"protocol": "TCP", "port": port}]}


def _scrape(settings: Settings) -> Json:
    return _rule("from", _namespace(settings.monitoring_namespace or settings.namespace), PORT_METRICS)


def _dns() -> Json:
    return {"ports": [{"protocol": protocol, "port": port} for port in DNS_PORTS for protocol in ("UDP", "TCP")]}


def _namespace(name: str) -> Json:
    return {"namespaceSelector": {"matchLabels": {LABEL_NAMESPACE_NAME: name}}}
