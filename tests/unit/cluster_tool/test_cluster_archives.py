from __future__ import annotations

import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING

import pytest
from tests.cluster import archives

if TYPE_CHECKING:
    from pathlib import Path


def archive_of(content: dict[str, bytes], path: Path) -> Path:
    with tarfile.open(path, "w") as opened:
        for name, blob in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(blob)
            opened.addfile(member, io.BytesIO(blob))
    return path


def blobs(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as opened:
        return {member.name: opened.extractfile(member).read() for member in opened}  # type: ignore[union-attr]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    program = tmp_path / "tool"
    program.write_bytes(b"\x7fELF")
    archives.of_program(program, ["pause"], tmp_path / "tool.tar")
    return tmp_path / "tool.tar"


def test_every_blob_has_the_digest_of_its_name(archive: Path) -> None:
    found = {name: blob for name, blob in blobs(archive).items() if name.startswith("blobs/")}

    assert len(found) == 3
    assert {name: f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}" for name, blob in found.items()} == {name: name for name in found}


def test_the_image_runs_its_program_as_nobody(archive: Path) -> None:
    manifest = json.loads(blobs(archive)[f"blobs/{archives.digest(archive).replace(':', '/')}"])
    config = json.loads(blobs(archive)[f"blobs/{manifest['config']['digest'].replace(':', '/')}"])["config"]

    assert (config["Entrypoint"], config["Cmd"], config["User"]) == (["/tool"], ["pause"], "65534:65534")


def test_the_same_program_makes_the_same_image(archive: Path, tmp_path: Path) -> None:
    archives.of_program(tmp_path / "tool", ["pause"], tmp_path / "again.tar")

    assert archives.digest(tmp_path / "again.tar") == archives.digest(archive)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param({"manifest.json": b"[]"}, id="a docker archive"),
        pytest.param({"index.json": b"{}"}, id="an index without manifests"),
        pytest.param({"index.json": b"no json"}, id="an index that is none"),
        pytest.param({"index.json": b'{"manifests": []}'}, id="no image"),
        pytest.param({"index.json": b'{"manifests": [{"digest": "sha256:1"}, {"digest": "sha256:2"}]}'}, id="two images"),
    ],
)
def test_what_is_no_archive_of_one_image_is_refused_by_name(content: dict[str, bytes], tmp_path: Path) -> None:
    path = archive_of(content, tmp_path / "bad.tar")

    with pytest.raises(archives.BadArchiveError, match=r"bad\.tar"):
        archives.digest(path)


def test_a_file_that_is_no_tar_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.tar"
    path.write_bytes(b"nothing of the kind")

    with pytest.raises(archives.BadArchiveError):
        archives.digest(path)
