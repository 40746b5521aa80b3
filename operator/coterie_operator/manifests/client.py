"""What a job consists of in a tenant's namespace: configuration, policy, and the client's pod; all owned by the data set.

The tenant's identity is mounted by the name that its data set gives: the operator never reads, lists or writes a Secret there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from coterie_api.fields import dump
from coterie_api.names import PATH_CONFIG, PATH_DATA, PATH_IDENTITY, PATH_STATE, PATH_TLS
from coterie_api.podconfig import ClientRole, Role, TenantPolicy
from coterie_api.v1alpha1.types import FederatedDatasetSpec, PodSettings
from coterie_operator.manifests import naming, network, pod, volumes
from coterie_operator.manifests.parts import Parts, config_map

Json = dict[str, Any]

IDENTITY_KEY = "private.pem"
LABEL_QUEUE = "kueue.x-k8s.io/queue-name"


@dataclass(frozen=True, slots=True)
class Tenant:
    """One entry of the roster with the data set as it stands now."""

    index: int
    key: naming.DatasetKey
    uid: str  # of the FederatedDataset, which owns everything here
    spec: FederatedDatasetSpec


def client_name(job: naming.JobKey, dataset: naming.DatasetKey, attempt: int | None = None) -> str:
    """Return the name of a client's batch Job, or without an attempt that of its configuration and policy."""
    return naming.child_name(job, Role.CLIENT, dataset, attempt)


def standing_children(parts: Parts, tenant: Tenant) -> list[Json]:
    """Return the children that outlive an attempt, in the order in which they are to be created."""
    meta = _metadata(parts, tenant)
    return [config_map(parts, meta, _role(parts, tenant)), network.client_policy(meta, parts.key)]


def client_job(parts: Parts, tenant: Tenant, attempt: int) -> Json:
    """Return the client's batch Job."""
    meta = _metadata(parts, tenant, attempt)
    queue = tenant.spec.pod.queue_name
    if queue is not None:
        meta = {**meta, "labels": {**meta["labels"], LABEL_QUEUE: queue}}
    return pod.batch_job(meta, pod.pod_spec(_pod(parts, tenant), parts.settings), parts.settings.client_backoff_limit)


def _metadata(parts: Parts, tenant: Tenant, attempt: int | None = None) -> Json:
    labels = naming.labels(parts.key, Role.CLIENT, tenant.key, attempt)
    name = client_name(parts.key, tenant.key, attempt)
    return naming.metadata(name, tenant.key.namespace, labels, naming.dataset_owner(tenant.key, tenant.uid))


def _role(parts: Parts, tenant: Tenant) -> ClientRole:
    asked = tenant.spec.requirements
    policy = TenantPolicy(
        asked.secure_aggregation,
        asked.min_clients,
        asked.threshold,
        asked.colluders,
        asked.ring_bits or 0,
        asked.scale or 0,
        asked.clip or 0,
    )
    return ClientRole(index=tenant.index, aggregator=parts.aggregator_dns, policy=policy, has_state=tenant.spec.state is not None)


def _pod(parts: Parts, tenant: Tenant) -> pod.Pod:
    mounts = (
        pod.Mount("config", PATH_CONFIG),
        pod.Mount("tls", PATH_TLS),
        pod.Mount("identity", PATH_IDENTITY),
        pod.Mount("data", PATH_DATA),
        pod.Mount("state", PATH_STATE, read_only=False),
    )
    asked = parts.spec.clients
    client = pod.Container(
        role=Role.CLIENT,
        image=parts.frozen.worker_image,
        resources=pod.resources(asked.resources, parts.settings.worker_resources, tenant.spec.pod.resources),
        mounts=mounts,
        env=asked.env,
    )
    return pod.Pod((pod.container(client, parts.settings),), _volumes(parts, tenant), extra=_wishes(tenant.spec.pod))


def _volumes(parts: Parts, tenant: Tenant) -> tuple[Json, ...]:
    name = client_name(parts.key, tenant.key)
    spec = tenant.spec
    # Without a claim the record of used slots lives as long as the pod; `has_state` tells the client so.
    state = (
        volumes.scratch_volume("state")
        if spec.state is None
        else volumes.claim_volume("state", spec.state.persistent_volume_claim.claim_name)
    )
    return (
        volumes.config_volume(name),
        volumes.authority_volume(name),
        volumes.secret_volume("identity", spec.identity.secret_name, (IDENTITY_KEY,)),
        volumes.source_volume("data", spec.source),
        state,
    )


def _wishes(settings: PodSettings) -> Json:
    """Return the owner's wishes for the pod, under the API server's names for them."""
    wishes: Json = {
        "serviceAccountName": settings.service_account_name,
        "priorityClassName": settings.priority_class_name,
        "nodeSelector": dict(settings.node_selector),
        "tolerations": [dump(toleration) for toleration in settings.tolerations],
        "imagePullSecrets": [dump(secret) for secret in settings.image_pull_secrets],
    }
    return {key: value for key, value in wishes.items() if value}
