"""What a job consists of in its own namespace: claim, Service, configuration, certificate, policy, and the aggregator's pod.

The pod has up to three containers. `initialize` (worker image) makes the initial model, before any tenant's pod starts;
the evaluator (worker image) is a native sidecar, so that its failure never fails the job; the aggregator (operator image,
without torch) runs the rounds, and the pod ends with it.
"""

from __future__ import annotations

from typing import Any

from coterie_api.names import (
    PATH_CHECKPOINT,
    PATH_CONFIG,
    PATH_DATA,
    PATH_EVALUATION,
    PATH_OUTPUT,
    PATH_TLS,
    PORT_METRICS,
    PORT_ROUNDS,
    PORT_STATUS,
    SECRET_TYPE_TLS,
)
from coterie_api.podconfig import AggregatorRole, Role
from coterie_operator.manifests import naming, network, pod, volumes
from coterie_operator.manifests.parts import FILE_AUTHORITY, PATH_INITIAL_MODEL, Parts, config_map

Json = dict[str, Any]

CONFIG = pod.Mount("config", PATH_CONFIG)
TLS_KEYS = ("tls.crt", "tls.key", FILE_AUTHORITY)


def aggregator_name(job: naming.JobKey, attempt: int) -> str:
    """Return the name of the aggregator's batch Job and of its certificate's Secret."""
    return naming.child_name(job, Role.AGGREGATOR, attempt=attempt)


def standing_children(parts: Parts) -> list[Json]:
    """Return the children that outlive an attempt, in the order in which they are to be created."""
    return [_claim(parts), _service(parts), config_map(parts, _metadata(parts), _role(parts)), _policy(parts)]


def certificate_secret(parts: Parts, attempt: int) -> Json:
    """Return the Secret of the aggregator's certificate, without its data."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": _metadata(parts, attempt), "type": SECRET_TYPE_TLS, "immutable": True}


def certificate_names(parts: Parts) -> tuple[str, ...]:
    """Return the DNS names of the aggregator's certificate."""
    return (parts.aggregator_dns,)


def aggregator_job(parts: Parts, attempt: int) -> Json:
    """Return the aggregator's batch Job."""
    return pod.batch_job(_metadata(parts, attempt), pod.pod_spec(_pod(parts, attempt), parts.settings), parts.spec.backoff_limit)


def _metadata(parts: Parts, attempt: int | None = None) -> Json:
    job = parts.key
    name = naming.child_name(job, Role.AGGREGATOR, attempt=attempt)
    return naming.metadata(name, job.namespace, naming.labels(job, Role.AGGREGATOR, attempt=attempt), naming.job_owner(job))


def _role(parts: Parts) -> AggregatorRole:
    output = parts.spec.output
    return AggregatorRole(
        output_path=(output.path or parts.key.name) if output is not None else "",
        has_output=output is not None,
        has_evaluator=parts.spec.evaluation.public is not None,
    )


def _claim(parts: Parts) -> Json:
    storage = parts.spec.aggregator.storage
    spec: Json = {"accessModes": ["ReadWriteOncePod"], "resources": {"requests": {"storage": storage.size}}}
    if storage.storage_class_name is not None:
        spec["storageClassName"] = storage.storage_class_name
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": _metadata(parts), "spec": spec}


def _service(parts: Parts) -> Json:
    spec = {
        "type": parts.spec.aggregator.exposure.type.value,
        "selector": naming.pod_labels(parts.key, Role.AGGREGATOR),
        "ports": [{"name": "rounds", "port": PORT_ROUNDS, "targetPort": PORT_ROUNDS, "protocol": "TCP"}],
    }
    return {"apiVersion": "v1", "kind": "Service", "metadata": _metadata(parts), "spec": spec}


def _policy(parts: Parts) -> Json:
    tenants = tuple(entry.namespace for entry in parts.frozen.datasets)
    return network.aggregator_policy(_metadata(parts), parts.key, tenants, parts.settings)


def _pod(parts: Parts, attempt: int) -> pod.Pod:
    init = [_initialize(parts)]
    if parts.spec.evaluation.public is not None:
        init.append(_evaluator(parts))
    return pod.Pod(containers=(_aggregator(parts),), init=tuple(init), volumes=_volumes(parts, attempt))


def _initialize(parts: Parts) -> Json:
    mounts = [CONFIG, pod.Mount("checkpoint", PATH_CHECKPOINT, read_only=False)]
    if _initial_model(parts) is not None:
        mounts.append(pod.Mount("initial-model", PATH_INITIAL_MODEL))
    return pod.container(_worker(parts, Role.INITIALIZE, tuple(mounts)), parts.settings)


def _evaluator(parts: Parts) -> Json:
    mounts = (
        CONFIG,
        pod.Mount("checkpoint", PATH_CHECKPOINT),
        pod.Mount("evaluation", PATH_EVALUATION, read_only=False),
        pod.Mount("data", PATH_DATA),
    )
    return pod.container(_worker(parts, Role.EVALUATOR, mounts, is_sidecar=True), parts.settings)


def _worker(parts: Parts, role: Role, mounts: tuple[pod.Mount, ...], *, is_sidecar: bool = False) -> pod.Container:
    asked = parts.spec.evaluator
    return pod.Container(
        role=role,
        image=parts.worker_image,
        resources=pod.resources(asked.resources, parts.settings.worker_resources),
        mounts=mounts,
        env=asked.env,
        is_sidecar=is_sidecar,
    )


def _aggregator(parts: Parts) -> Json:
    mounts = [
        CONFIG,
        pod.Mount("tls", PATH_TLS),
        pod.Mount("checkpoint", PATH_CHECKPOINT, read_only=False),
        pod.Mount("evaluation", PATH_EVALUATION),
    ]
    if parts.spec.output is not None:
        mounts.append(pod.Mount("output", PATH_OUTPUT, read_only=False))
    asked = pod.Container(
        role=Role.AGGREGATOR,
        image=parts.frozen.operator_image,
        resources=pod.resources(parts.spec.aggregator.resources, parts.settings.aggregator_resources),
        mounts=tuple(mounts),
        ports={"rounds": PORT_ROUNDS, "status": PORT_STATUS, "metrics": PORT_METRICS},
    )
    return pod.container(asked, parts.settings)


def _volumes(parts: Parts, attempt: int) -> tuple[Json, ...]:
    name = naming.child_name(parts.key, Role.AGGREGATOR)
    found = [
        volumes.config_volume(name),
        volumes.secret_volume("tls", aggregator_name(parts.key, attempt), TLS_KEYS),
        volumes.claim_volume("checkpoint", name),
        volumes.scratch_volume("evaluation"),
    ]
    spec = parts.spec
    if spec.output is not None:
        found.append(volumes.claim_volume("output", spec.output.persistent_volume_claim.claim_name))
    if spec.evaluation.public is not None:
        found.append(volumes.source_volume("data", spec.evaluation.public.source))
    model = _initial_model(parts)
    return (*found, model) if model is not None else tuple(found)


def _initial_model(parts: Parts) -> Json | None:
    model = parts.spec.initial_model
    return None if model is None or model.source is None else volumes.source_volume("initial-model", model.source)
