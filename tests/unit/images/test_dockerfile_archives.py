"""The cache of archives: what it depends on, what it keeps, and what it says when nothing can be built. No image is built here."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from tests.cluster import buildah, images
from tests.unit.images.dockerfile import ROOT

VERSION = images.VERSION


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small repository of the same shape, and an empty cache."""
    made = tmp_path / "repository"
    made.mkdir()
    for name in images.CONTEXT:
        if (ROOT / name).is_dir():
            (made / name / "package").mkdir(parents=True)
            (made / name / "package" / "module.py").write_text(f"NAME = {name!r}\n")
        else:
            (made / name).write_text(name)
    monkeypatch.setattr(images, "REPOSITORY", made)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    certificates = tmp_path / "certificates.crt"
    certificates.write_text("certificates")
    monkeypatch.setenv("PIP_CERT", str(certificates))
    return made


def key() -> str:
    with images._workshop() as workshop:
        return workshop.key


def store() -> str:
    with images._workshop() as workshop:
        return workshop.open().folder.name


@pytest.mark.parametrize("changed", [*images.CONTEXT, "worker/package/new.py"])
def test_a_change_of_anything_in_an_image_is_another_archive(repository: Path, changed: str) -> None:
    before = key()
    path = repository / changed
    path = path / "package" / "module.py" if path.is_dir() else path
    path.write_text("changed")

    assert key() != before


def test_what_is_no_part_of_an_image_is_no_part_of_the_key(repository: Path) -> None:
    before = key()
    (repository / "worker" / "package" / "__pycache__").mkdir()
    (repository / "worker" / "package" / "__pycache__" / "module.pyc").write_text("bytecode")
    (repository / "NOTES").write_text("elsewhere")

    assert key() == before


def test_other_certificates_or_another_index_are_another_base(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {key()}
    Path(os.environ["PIP_CERT"]).write_text("others")
    keys.add(key())
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example/simple")
    keys.add(key())

    assert len(keys) == 3


@pytest.mark.parametrize(
    ("changed", "stays"), [("worker", True), ("pyproject.toml", True), ("constraints.txt", False), ("Dockerfile", False)]
)
def test_only_what_decides_about_dependencies_starts_the_store_anew(repository: Path, changed: str, stays: bool) -> None:
    before = store()
    path = repository / changed
    (path / "package" / "module.py" if path.is_dir() else path).write_text("changed")

    assert (store() == before) is stays


def test_a_new_store_is_the_only_one(repository: Path) -> None:
    older = Path(os.environ["XDG_CACHE_HOME"]) / "coterie" / "images" / "store-0000"
    older.mkdir(parents=True)

    store()

    assert not older.exists()


def test_of_each_image_the_newest_archive_is_kept(tmp_path: Path) -> None:
    for name in ("operator-1.tar", "operator-2.tar", "worker-1.tar", "base-1.tar"):
        (tmp_path / name).touch()

    images._keep_only(tmp_path / "operator-2.tar", "operator-*.tar")

    assert {path.name for path in tmp_path.iterdir()} == {"operator-2.tar", "worker-1.tar", "base-1.tar"}


def test_an_archive_that_is_there_is_not_built(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buildah.Store, "run", lambda *_: pytest.fail("built"))
    with images._workshop() as workshop:
        (workshop.cache / f"operator-{workshop.key}.tar").write_text("archive")

    assert images.archives("operator")[f"ghcr.io/coterie/operator:{VERSION}"].read_text() == "archive"


def test_without_root_it_says_so(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(images.ImagesUnavailableError, match="needs root"):
        images.archives("operator")


def test_without_buildah_it_names_the_package(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda _: None)

    with pytest.raises(images.ImagesUnavailableError, match="apt-get install buildah"):
        images.archives("operator")


def test_without_debootstrap_it_names_the_package(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buildah.Store, "run", lambda *_: "")  # an empty store
    monkeypatch.setattr(shutil, "which", lambda _: None)

    with pytest.raises(images.ImagesUnavailableError, match="apt-get install debootstrap"):
        images.archives("operator")


def test_what_is_hashed_is_what_the_context_holds() -> None:
    listed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}

    assert set(images.CONTEXT) == listed | {"Dockerfile", ".dockerignore"}


@pytest.mark.parametrize("target", images.TARGETS)
def test_the_names_are_the_charts_own(target: str) -> None:
    values = (ROOT / "charts" / "coterie" / "values.yaml").read_text()
    chart = (ROOT / "charts" / "coterie" / "Chart.yaml").read_text()

    assert f"repository: {images.name_of(target).partition(':')[0]}\n" in values
    assert f'appVersion: "{VERSION}"' in chart


def test_examples_stand_on_this_versions_worker() -> None:
    for path in (ROOT / "examples").glob("*/Dockerfile"):
        assert images.name_of("worker") in path.read_text()
