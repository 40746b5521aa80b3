"""The files of a pod: one folder per container that stands for its root, with the volumes at their mount paths.

A mount is a symbolic link from the container's root to the volume's folder, so `readOnly` is not enforced: the runner starts
trusted code. Names and paths from the pod are checked all the same, so that no pod's files lie outside its own folder.
"""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from coterie_api.names import PATH_HOSTS, PATH_TERMINATION
from coterie_operator.cluster import CLAIM, CONFIG_MAP, SECRET, Object
from coterie_operator.local.podenv import ConfigError, Lookup

MAX_TERMINATION: Final = 4096  # bytes, the kubelet's limit for one container

ClaimFolder = Callable[[str, str], Path]  # namespace, claim → the folder that is its volume


def containers_of(pod: Object) -> list[Object]:
    """Return the init containers and the containers of a pod, in this order."""
    return [*(pod["spec"].get("initContainers") or []), *pod["spec"]["containers"]]


def inside(root: Path, path: str, what: str) -> Path:
    """Return `path` below `root`. Raises ConfigError if a part of it is `..` or it isn't a plain path."""
    # Split by hand: POSIX gives a path of two slashes a root of its own, which would replace `root`.
    parts = [part for part in path.split("/") if part not in {"", "."}]
    if not parts or ".." in parts or "\0" in path:
        raise ConfigError(f"{what}: found {path!r}, must be a path without '..'")
    return root.joinpath(*parts)


def entry(folder: Path, name: str, what: str) -> Path:
    """Return the file `name` in `folder`. Raises ConfigError if `name` is more than one part of a path."""
    if name in {"", ".", ".."} or "/" in name or "\0" in name:
        raise ConfigError(f"{what}: found {name!r}, must be a single name")
    return folder / name


@dataclass(frozen=True, slots=True)
class PodFolder:
    """Where one pod's files lie."""

    path: Path
    hosts: Path  # the file that stands at /etc/hosts in every container
    claims: ClaimFolder

    def prepare(self, pod: Object, lookup: Lookup) -> None:
        """Make every volume and every container's root. Raises ConfigError for what can't be made (yet)."""
        folders = {volume["name"]: self._volume(pod, volume, lookup) for volume in pod["spec"].get("volumes") or []}
        for container in containers_of(pod):
            self._mount(container, folders)

    def root(self, container: str) -> Path:
        """Return the folder that stands for `/` in a container."""
        return entry(self.path / "roots", container, "container name")

    def remove(self) -> None:
        """Delete the pod's files; volumes that are claims stay."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _volume(self, pod: Object, volume: Object, lookup: Lookup) -> Path:
        name, namespace = volume["name"], pod["metadata"]["namespace"]
        folder = entry(self.path / "volumes", name, "volume name")
        if "persistentVolumeClaim" in volume:
            claim = volume["persistentVolumeClaim"]["claimName"]
            lookup(CLAIM, claim)
            return self.claims(namespace, claim)
        folder.mkdir(parents=True, exist_ok=True)
        if "configMap" in volume:
            _fill(folder, volume["configMap"], _contents(volume["configMap"], volume["configMap"].get("name", ""), lookup))
        elif "secret" in volume:
            _fill(folder, volume["secret"], _contents(volume["secret"], volume["secret"].get("secretName", ""), lookup, is_secret=True))
        elif "emptyDir" not in volume:
            kind = sorted(set(volume) - {"name"})
            known = "persistentVolumeClaim, configMap, secret, emptyDir"
            raise ConfigError(f"volume {name}: {kind} is not supported by the process runner, which knows {known}")
        return folder

    def _mount(self, container: Object, folders: dict[str, Path]) -> None:
        root = self.root(container["name"])
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        for mount in sorted(container.get("volumeMounts") or [], key=lambda mount: str(mount["mountPath"])):
            if mount["name"] not in folders:
                raise ConfigError(f"container {container['name']}: volumeMounts: no volume is named {mount['name']!r}")
            target = folders[mount["name"]]
            if mount.get("subPath"):
                target = inside(target, mount["subPath"], "subPath")
                target.mkdir(parents=True, exist_ok=True)
            self._link(root, mount["mountPath"], target)
        self._link(root, PATH_HOSTS, self.hosts)
        if not (root / "tmp").exists():
            (root / "tmp").mkdir()

    @staticmethod
    def _link(root: Path, path: str, target: Path) -> None:
        link = inside(root, path, "mountPath")
        for parent in link.relative_to(root).parents:
            if (root / parent).is_symlink():
                raise ConfigError(f"mountPath: {path!r} lies inside another mount, which the process runner can't do")
        if link.is_symlink() or link.exists():
            raise ConfigError(f"mountPath: {path!r} must be unique")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target.resolve())

    def termination_path(self, container: Object) -> Path:
        """Return where the container leaves its last word."""
        return inside(self.root(container["name"]), container.get("terminationMessagePath", PATH_TERMINATION), "terminationMessagePath")

    def termination_file(self, container: Object) -> Path:
        """Return the container's termination log, emptied for a new start."""
        path = self.termination_path(container)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        return path


def read_termination(path: Path) -> str:
    """Return the message that a container left, at most 4096 bytes of it."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            return file.read(MAX_TERMINATION).decode(errors="replace")
    except OSError:
        return ""


def _contents(source: Object, name: str, lookup: Lookup, *, is_secret: bool = False) -> dict[str, bytes]:
    try:
        obj = lookup(SECRET if is_secret else CONFIG_MAP, name)
    except ConfigError:
        if source.get("optional"):
            return {}
        raise
    plain = {key: base64.b64decode(text) if is_secret else text.encode() for key, text in (obj.get("data") or {}).items()}
    return plain | {key: base64.b64decode(text) for key, text in (obj.get("binaryData") or {}).items()}


def _fill(folder: Path, source: Object, contents: dict[str, bytes]) -> None:
    """Write the keys of a ConfigMap or Secret as files, all of them or those that `items` names."""
    items = source.get("items") or [{"key": key, "path": key} for key in contents]
    for item in items:
        if item["key"] not in contents:
            if source.get("optional"):
                continue
            raise ConfigError(f"references non-existent key: {item['key']}")
        path = inside(folder, item["path"], "items.path")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(contents[item["key"]])
        path.chmod(item.get("mode", source.get("defaultMode", 0o644)) & 0o777)
