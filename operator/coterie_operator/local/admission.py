"""What an API server refuses and fills in: names, labels, owners, immutable fields, defaults of the kinds that we use."""

from __future__ import annotations

import base64
import copy
import re
from typing import TYPE_CHECKING, Any, Final

from coterie_operator.cluster import (
    BATCH_JOB,
    CLAIM,
    CONFIG_MAP,
    FEDERATED_DATASET,
    FEDERATED_JOB,
    NAMESPACE,
    NETWORK_POLICY,
    POD,
    SECRET,
    SERVICE,
    Invalid,
    Kind,
    Object,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

RESOURCE_QUOTA: Final = Kind("", "v1", "resourcequotas", "ResourceQuota")

_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_VALUE: Final = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_QUALIFIED: Final = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")

HAS_STATUS: Final = frozenset({FEDERATED_JOB, FEDERATED_DATASET, BATCH_JOB, POD, SERVICE, CLAIM, NAMESPACE, RESOURCE_QUOTA})
HAS_GENERATION: Final = frozenset({FEDERATED_JOB, FEDERATED_DATASET, BATCH_JOB, POD, NETWORK_POLICY})

# Paths that an update may not change, by kind. Of a pod the server allows a few; none of them is ours to change.
IMMUTABLE: Final[Mapping[Kind, tuple[str, ...]]] = {
    BATCH_JOB: ("spec.template", "spec.selector", "spec.completionMode", "spec.podFailurePolicy", "spec.backoffLimitPerIndex"),
    POD: ("spec.containers", "spec.initContainers", "spec.volumes", "spec.restartPolicy", "spec.nodeName", "spec.serviceAccountName"),
    SECRET: ("type",),
    CLAIM: ("spec.accessModes", "spec.selector", "spec.storageClassName", "spec.volumeMode"),
}


def invalid(kind: Kind, obj: Object, field: str, message: str) -> Invalid:
    """Return the error of an object that is refused for one of its fields."""
    return Invalid(f'{kind.kind} "{obj.get("metadata", {}).get("name", "")}" is invalid: {field}: {message}')


def refuse_bad_metadata(kind: Kind, obj: Object) -> None:
    """Raise Invalid if the object's name, labels or owners are not what an API server accepts."""
    metadata = obj["metadata"]
    name = metadata.get("name", "")
    if not is_name(kind, name):
        raise invalid(kind, obj, "metadata.name", f"found {name!r}, must be a lowercase RFC 1123 name")
    for label, value in (metadata.get("labels") or {}).items():
        if not _QUALIFIED.fullmatch(label):
            raise invalid(kind, obj, "metadata.labels", f"found {label!r}, must be a qualified name")
        if not isinstance(value, str) or len(value) > 63 or not _VALUE.fullmatch(value):
            raise invalid(kind, obj, f"metadata.labels[{label}]", f"found {value!r}, must be at most 63 of A-Z a-z 0-9 - _ .")
    _refuse_bad_owners(kind, obj, metadata.get("ownerReferences") or [])


def is_name(kind: Kind, name: object) -> bool:
    """Whether `name` is one that an object of `kind` may have."""
    if not isinstance(name, str):
        return False
    if kind in {NAMESPACE, SERVICE}:
        return len(name) <= 63 and bool(_LABEL.fullmatch(name))
    return len(name) <= 253 and bool(_SUBDOMAIN.fullmatch(name))


def _refuse_bad_owners(kind: Kind, obj: Object, owners: list[Object]) -> None:
    for index, owner in enumerate(owners):
        for member in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(member):
                raise invalid(kind, obj, f"metadata.ownerReferences[{index}].{member}", "Required value")
    if sum(bool(owner.get("controller")) for owner in owners) > 1:
        raise invalid(kind, obj, "metadata.ownerReferences", "only one reference can have controller set to true")


def refuse_changes(kind: Kind, before: Object, after: Object) -> None:
    """Raise Invalid if `after` changes what must stay: identity, immutable data, the immutable fields of its kind."""
    for member in ("name", "namespace"):
        if after["metadata"].get(member) != before["metadata"].get(member):
            raise invalid(kind, before, f"metadata.{member}", "can't be patched")
    if before.get("immutable") and any(before.get(part) != after.get(part) for part in ("data", "binaryData", "immutable")):
        raise invalid(kind, before, "data", "field is immutable when `immutable` is set")
    for path in IMMUTABLE.get(kind, ()):
        if _at(before, path) != _at(after, path):
            raise invalid(kind, before, path, "field is immutable")


def _at(obj: Object, path: str) -> Any:
    value: Any = obj
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def with_defaults(kind: Kind, obj: Object) -> Object:
    """Return a copy of a new object with the defaults of its kind and the status that it starts with."""
    obj = copy.deepcopy(obj)
    if kind in HAS_STATUS:
        obj.pop("status", None)
    fill = _DEFAULTS.get(kind)
    if fill is not None:
        fill(obj)
    return obj


def default_batch_job(obj: Object) -> None:
    """Add the defaults of a batch Job; its labels and selector need the uid and are set by `select_by_uid`."""
    spec = obj.setdefault("spec", {})
    has_policy = "podFailurePolicy" in spec
    for name, value in (("parallelism", 1), ("completions", 1), ("backoffLimit", 6), ("suspend", False), ("completionMode", "NonIndexed")):
        spec.setdefault(name, value)
    spec.setdefault("podReplacementPolicy", "Failed" if has_policy else "TerminatingOrFailed")
    default_pod_spec(spec.setdefault("template", {}).setdefault("spec", {}))
    restart = spec["template"]["spec"]["restartPolicy"]
    allowed = ("Never",) if has_policy else ("Never", "OnFailure")
    if restart not in allowed:
        raise invalid(BATCH_JOB, obj, "spec.template.spec.restartPolicy", f"found {restart!r}, allowed: {', '.join(allowed)}")
    obj["status"] = {}


def select_by_uid(obj: Object) -> None:
    """Label the template of a batch Job with its uid and name, and select by the uid, as the Job strategy does on create."""
    metadata, spec = obj["metadata"], obj["spec"]
    labels = spec["template"].setdefault("metadata", {}).setdefault("labels", {})
    for prefix in ("", "batch.kubernetes.io/"):
        labels[f"{prefix}controller-uid"] = metadata["uid"]
        labels[f"{prefix}job-name"] = metadata["name"]
    spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": metadata["uid"]}}


def default_pod_spec(spec: Object) -> None:
    """Add the defaults of a pod's spec."""
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    if not spec.get("containers"):
        raise Invalid("spec.containers: Required value")
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        container.setdefault("terminationMessagePath", "/dev/termination-log")
        container.setdefault("terminationMessagePolicy", "File")


def _default_pod(obj: Object) -> None:
    default_pod_spec(obj.setdefault("spec", {}))
    obj["status"] = {"phase": "Pending", "qosClass": "BestEffort"}


def _default_secret(obj: Object) -> None:
    obj.setdefault("type", "Opaque")
    for name, text in (obj.pop("stringData", None) or {}).items():
        obj.setdefault("data", {})[name] = base64.b64encode(text.encode()).decode()
    for name, value in (obj.get("data") or {}).items():
        _decode(obj, name, value)


def _decode(obj: Object, name: str, value: Any) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (TypeError, ValueError):
        raise invalid(SECRET, obj, f"data[{name}]", "must be base64") from None


def _default_config_map(obj: Object) -> None:
    for name, value in (obj.get("data") or {}).items():
        if not isinstance(value, str):
            raise invalid(CONFIG_MAP, obj, f"data[{name}]", "must be a string")


def _default_namespace(obj: Object) -> None:
    obj.setdefault("spec", {"finalizers": ["kubernetes"]})
    obj["status"] = {"phase": "Active"}
    obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = obj["metadata"].get("name", "")


def _default_claim(obj: Object) -> None:
    obj["status"] = {"phase": "Pending"}


def _default_service(obj: Object) -> None:
    obj.setdefault("spec", {}).setdefault("type", "ClusterIP")
    obj["status"] = {"loadBalancer": {}}


_DEFAULTS: Final = {
    BATCH_JOB: default_batch_job,
    POD: _default_pod,
    SECRET: _default_secret,
    CONFIG_MAP: _default_config_map,
    NAMESPACE: _default_namespace,
    CLAIM: _default_claim,
    SERVICE: _default_service,
}
