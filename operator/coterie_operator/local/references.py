"""The ConfigMaps, Secrets and claims that a pod names, read before its files are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from coterie_operator.cluster import CLAIM, CONFIG_MAP, SECRET, Cluster, Kind, NotFound, Object
from coterie_operator.local.podenv import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

_VOLUMES = (("configMap", "name", CONFIG_MAP), ("secret", "secretName", SECRET), ("persistentVolumeClaim", "claimName", CLAIM))
_VARIABLES = (("configMapKeyRef", CONFIG_MAP), ("secretKeyRef", SECRET))


@dataclass(frozen=True, slots=True)
class Objects:
    """What was found of the objects that a pod names."""

    found: dict[tuple[Kind, str], Object]

    @classmethod
    async def referenced_by(cls, pod: Object, cluster: Cluster) -> Objects:
        """Read what `pod` names in its own namespace; what isn't there is left out."""
        found: dict[tuple[Kind, str], Object] = {}
        for kind, name in sorted(set(references(pod)), key=lambda pair: (pair[0].kind, pair[1])):
            try:
                found[kind, name] = await cluster.get(kind, pod["metadata"]["namespace"], name)
            except NotFound:
                continue
        return cls(found)

    def lookup(self, kind: Kind, name: str) -> Object:
        """Return an object. Raises ConfigError if it was not there."""
        try:
            return self.found[kind, name]
        except KeyError:
            raise ConfigError(f'{kind.plural} "{name}" not found') from None


def references(pod: Object) -> Iterator[tuple[Kind, str]]:
    """Yield kind and name of each object of the pod's namespace that its volumes and variables come from."""
    for volume in pod["spec"].get("volumes") or []:
        for member, name, kind in _VOLUMES:
            if volume.get(member, {}).get(name):
                yield kind, volume[member][name]
    for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]:
        for variable in container.get("env") or []:
            for member, kind in _VARIABLES:
                if member in (variable.get("valueFrom") or {}):
                    yield kind, variable["valueFrom"][member]["name"]
