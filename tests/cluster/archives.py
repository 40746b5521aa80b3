"""OCI image archives: one static program alone in an image, and which image an archive holds."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class BadArchiveError(Exception):
    """A file is no OCI archive with exactly one image."""


def of_program(program: Path, arguments: list[str], archive: Path) -> None:
    """Write an archive with an image that holds a static program and nothing else, run as a user without rights."""
    layer = _tar({program.name: program.read_bytes()}, mode=0o755)
    config = {
        "architecture": _ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": {"Entrypoint": [f"/{program.name}"], "Cmd": arguments, "User": "65534:65534", "Env": ["PATH=/"]},
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
    }
    blobs = {_digest(layer): layer}
    manifest = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": _add(blobs, _CONFIG, config)}
    manifest["layers"] = [{"mediaType": _LAYER, "digest": _digest(layer), "size": len(layer)}]
    index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": [_add(blobs, _MANIFEST, manifest)]}
    content = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": json.dumps(index).encode()}
    content |= {f"blobs/{digest.replace(':', '/')}": blob for digest, blob in blobs.items()}
    archive.write_bytes(_tar(content, mode=0o644))


def digest(archive: Path) -> str:
    """Return the digest of the one image of an archive. Raises BadArchiveError."""
    try:
        with tarfile.open(archive) as opened:
            file = opened.extractfile(next(member for member in opened if member.name.removeprefix("./") == "index.json"))
            manifests = json.load(file)["manifests"] if file else []
    except (tarfile.TarError, StopIteration, KeyError, ValueError) as error:
        raise BadArchiveError(f"{archive} is no OCI archive: {error!r}") from None
    if len(manifests) != 1:
        raise BadArchiveError(f"{archive} holds {len(manifests)} images, 1 is allowed")
    return str(manifests[0]["digest"])


def _add(blobs: dict[str, bytes], media_type: str, content: dict[str, Any]) -> dict[str, Any]:
    blob = json.dumps(content).encode()
    blobs[_digest(blob)] = blob
    return {"mediaType": media_type, "digest": _digest(blob), "size": len(blob)}


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def _tar(content: dict[str, bytes], mode: int) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as opened:
        for name, blob in content.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(blob), mode
            opened.addfile(member, io.BytesIO(blob))
    return made.getvalue()
