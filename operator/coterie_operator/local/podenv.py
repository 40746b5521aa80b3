"""The command line and the environment of a container, as a kubelet computes them. Pure."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from coterie_operator.cluster import CONFIG_MAP, SECRET, Kind, Object

_REFERENCE: Final = re.compile(r"\$(\$|\(([^()]*)\))")
_SUBSCRIPT: Final = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")

Lookup = Callable[[Kind, str], Object]  # an object of the pod's namespace by name; raises ConfigError


class ConfigError(Exception):
    """The container can't be made from what the pod says; the message names the field."""


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What the downward API can tell of a pod."""

    pod: Object
    ip: str
    host_ip: str = "127.0.0.1"

    def field(self, path: str) -> str:
        """Return the value of a fieldRef. Raises ConfigError for one that the downward API has not."""
        metadata, spec = self.pod["metadata"], self.pod["spec"]
        known = {
            "metadata.name": metadata["name"],
            "metadata.namespace": metadata["namespace"],
            "metadata.uid": metadata["uid"],
            "spec.nodeName": spec.get("nodeName", ""),
            "spec.serviceAccountName": spec.get("serviceAccountName", "default"),
            "status.podIP": self.ip,
            "status.podIPs": self.ip,
            "status.hostIP": self.host_ip,
        }
        if path in known:
            return str(known[path])
        if part := _SUBSCRIPT.fullmatch(path):
            return str((metadata.get(part[1]) or {}).get(part[2], ""))
        raise ConfigError(f"valueFrom.fieldRef.fieldPath: {path!r} is not one of {', '.join(known)}, metadata.labels['…']")


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace `$(NAME)` by the variable, `$$` by `$`; a reference to an unknown name stays (Kubernetes, "Dependent variables")."""

    def one(match: re.Match[str]) -> str:
        if match[1] == "$":
            return "$"
        return variables.get(match[2], match[0])

    return _REFERENCE.sub(one, text)


def environment(container: Object, facts: PodFacts, lookup: Lookup) -> dict[str, str]:
    """Return the variables of a container's `env`, each expanded with those before it. Raises ConfigError."""
    if container.get("envFrom"):
        raise ConfigError(f"container {container['name']}: envFrom is not supported by the process runner")
    variables: dict[str, str] = {}
    for entry in container.get("env") or []:
        name, source = entry["name"], entry.get("valueFrom")
        value = expand(entry.get("value", ""), variables) if source is None else _from(source, container, facts, lookup)
        if value is not None:
            variables[name] = value
    return variables


def _from(source: Object, container: Object, facts: PodFacts, lookup: Lookup) -> str | None:
    if "fieldRef" in source:
        return facts.field(source["fieldRef"]["fieldPath"])
    if "resourceFieldRef" in source:
        return _resource(source["resourceFieldRef"]["resource"], container)
    for member, kind in (("configMapKeyRef", CONFIG_MAP), ("secretKeyRef", SECRET)):
        if member in source:
            return _key(source[member], kind, lookup)
    raise ConfigError(f"container {container['name']}: env.valueFrom: {sorted(source)} is not supported by the process runner")


def _resource(path: str, container: Object) -> str:
    side, _, resource = path.partition(".")
    value = container.get("resources", {}).get(side, {}).get(resource)
    if value is None:
        raise ConfigError(f"container {container['name']}: resourceFieldRef.resource: {path!r} is not set in its resources")
    return str(value)


def _key(reference: Object, kind: Kind, lookup: Lookup) -> str | None:
    data = lookup(kind, reference["name"]).get("data") or {}
    if reference["key"] not in data:
        if reference.get("optional"):
            return None
        raise ConfigError(f"couldn't find key {reference['key']} in {kind.kind} {reference['name']}")
    value = str(data[reference["key"]])
    return base64.b64decode(value).decode() if kind == SECRET else value


def argv(container: Object, variables: Mapping[str, str], python: str) -> list[str]:
    """Return the expanded command and arguments, with `python` standing for the interpreter of the image. Raises ConfigError."""
    words = [*(container.get("command") or []), *(container.get("args") or [])]
    if not container.get("command"):
        raise ConfigError(f"container {container['name']}: command: no command specified, and a process has no image to take it from")
    expanded = [expand(word, variables) for word in words]
    return [python if expanded[0] in {"python", "python3"} else expanded[0], *expanded[1:]]
