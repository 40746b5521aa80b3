"""The cluster's storage: a folder for each claim, made on the node that the scheduler has chosen, removed with the claim.

    python -m tests.cluster.volumes KUBECONFIG FOLDER

As a fresh disk would be, a new folder is root's, mode 0755: pods that don't run as root need `fsGroup`, which the kubelet applies to
`local` volumes.
"""

from __future__ import annotations

import http.client
import json
import shutil
import ssl
import sys
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.cluster import layout

Object = dict[str, Any]
_SELECTED: Final = "volume.kubernetes.io/selected-node"
_PROVISIONER: Final = "volume.kubernetes.io/storage-provisioner"
_PROVISIONED_BY: Final = "pv.kubernetes.io/provisioned-by"
_RETRY_SECONDS: Final = 1.0
_CLAIMS: Final = "persistentvolumeclaims"
_VOLUMES: Final = "persistentvolumes"


def wanted(claims: list[Object], volumes: list[Object], folder: Path) -> list[Object]:
    """Return the volumes to make: for each claim of ours that the scheduler has put on the node and that has no volume yet."""
    there = {volume["metadata"]["name"] for volume in volumes}
    return [volume for claim in claims if _waits(claim) and (volume := _volume(claim, folder))["metadata"]["name"] not in there]


def _waits(claim: Object) -> bool:
    notes = claim["metadata"].get("annotations", {})
    is_ours = notes.get(_PROVISIONER) == layout.PROVISIONER and notes.get(_SELECTED) == layout.NODE
    return is_ours and not claim["spec"].get("volumeName") and "deletionTimestamp" not in claim["metadata"]


def released(volumes: list[Object]) -> list[Object]:
    """Return our volumes whose claim is gone and that aren't to be kept."""
    return [volume for volume in volumes if _is_ours(volume) and _is_done(volume)]


def _is_ours(volume: Object) -> bool:
    return volume["metadata"].get("annotations", {}).get(_PROVISIONED_BY) == layout.PROVISIONER


def _is_done(volume: Object) -> bool:
    is_deleted = volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete"
    return is_deleted and volume.get("status", {}).get("phase") == "Released" and "deletionTimestamp" not in volume["metadata"]


def _volume(claim: Object, folder: Path) -> Object:
    metadata = claim["metadata"]
    name = f"pvc-{metadata['uid']}"
    node = {"key": "kubernetes.io/hostname", "operator": "In", "values": [layout.NODE]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": {_PROVISIONED_BY: layout.PROVISIONER}},
        "spec": {
            "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
            "accessModes": claim["spec"]["accessModes"],
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": claim["spec"]["storageClassName"],
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
            },
            "local": {"path": str(folder / name)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [node]}]}},
        },
    }


@dataclass(frozen=True, slots=True)
class Api:
    """The API server, asked over HTTP with one token."""

    server: str
    token: str
    context: ssl.SSLContext

    @classmethod
    def of(cls, kubeconfig: Path) -> Api:
        content = json.loads(kubeconfig.read_text())  # `write_kubeconfig` writes JSON
        cluster, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
        return cls(cluster["server"], user["token"], ssl.create_default_context(cafile=cluster["certificate-authority"]))

    def open(self, path: str, method: str = "GET", content: Object | None = None) -> http.client.HTTPResponse:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        body = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(f"{self.server}/api/v1/{path}", body, headers, method=method)
        return urllib.request.urlopen(request, context=self.context, timeout=600)  # type: ignore[no-any-return]

    def items(self, kind: str) -> list[Object]:
        with self.open(kind) as answer:
            return json.load(answer)["items"]  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Provisioner:
    """Makes and removes volumes whenever a claim or a volume changes."""

    api: Api
    folder: Path
    changed: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        for kind in (_CLAIMS, _VOLUMES):
            threading.Thread(target=self._watch, args=(kind,), daemon=True).start()
        while True:
            self.changed.wait()
            self.changed.clear()
            try:
                self.step()
            except OSError as error:  # the API server is restarting, or refuses: the same is tried again
                print(f"trying again: {error}", file=sys.stderr, flush=True)
                threading.Timer(_RETRY_SECONDS, self.changed.set).start()

    def step(self) -> None:
        """Make what is wanted and remove what is released."""
        volumes = self.api.items(_VOLUMES)
        for volume in wanted(self.api.items(_CLAIMS), volumes, self.folder):
            Path(volume["spec"]["local"]["path"]).mkdir(mode=0o755, parents=True, exist_ok=True)
            self._write(_VOLUMES, "POST", volume, allowed=409)
            print(f"made {volume['metadata']['name']}", flush=True)
        for volume in released(volumes):
            path = self.folder / volume["metadata"]["name"]
            if path.exists():
                shutil.rmtree(path)
            self._write(f"{_VOLUMES}/{volume['metadata']['name']}", "DELETE", None, allowed=404)
            print(f"removed {volume['metadata']['name']}", flush=True)

    def _write(self, path: str, method: str, content: Object | None, allowed: int) -> None:
        try:
            self.api.open(path, method, content).close()
        except urllib.error.HTTPError as error:
            if error.code != allowed:
                raise

    def _watch(self, kind: str) -> None:
        """Set `changed` at every event; a watch that ends or breaks is opened anew, and a change in between isn't missed."""
        pause = threading.Event()
        while True:
            try:
                with self.api.open(f"{kind}?watch=true&allowWatchBookmarks=false&timeoutSeconds=300") as events:
                    for _ in events:
                        self.changed.set()
            except (OSError, http.client.HTTPException) as error:
                print(f"watching {kind}: {error}", file=sys.stderr, flush=True)
                pause.wait(_RETRY_SECONDS)


if __name__ == "__main__":
    Provisioner(Api.of(Path(sys.argv[1])), Path(sys.argv[2])).run()
