"""The images as a strict platform runs them: a user id that no image knows, group 0, no rights, no network, a read-only root."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tests.cluster import image_run, images

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cluster.image_run import Image

CONSTRAINTS = (Path(__file__).parents[2] / "constraints.txt").read_text().splitlines()
LIMIT_OF_OPERATOR = 350 * 10**6  # bytes, compressed
TRAIN = """
import torch
model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4 * 36, 10))
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
images, labels = torch.rand(16, 1, 8, 8), torch.randint(10, (16,))
losses = []
for _ in range(20):
    loss = torch.nn.functional.cross_entropy(model(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
assert losses[-1] < losses[0], losses
torch.linalg.svd(torch.rand(5, 5))
"""
INSTALLED = """
import importlib.metadata, json
found = importlib.metadata.distributions(path=["SITE"])
print(json.dumps([(each.name, each.version, each.requires or []) for each in found]))
"""
WRITES = """
import pathlib, sys
for name in ("/", "/opt/coterie", "/opt/coterie/bin", "/etc", "/usr", "/home"):
    try:
        (pathlib.Path(name) / "written").touch()
    except OSError:
        continue
    sys.exit(f"{name} can be written")
home = pathlib.Path.home()
(home / "written").touch()
import getpass
print(home, getpass.getuser())
"""


def mounted(target: str) -> Iterator[Image]:
    if shutil.which("runc") is None:
        raise images.ImagesUnavailableError("runc is not installed (on Debian: apt-get install runc)")
    with image_run.image(target) as found:
        yield found


@pytest.fixture(scope="module", params=images.TARGETS)
def image(request: pytest.FixtureRequest) -> Iterator[Image]:
    try:
        yield from mounted(request.param)
    except images.ImagesUnavailableError as error:
        if os.environ.get("CI", "").lower() in {"true", "1"}:
            pytest.fail(f"no image, and CI must have one: {error}")
        pytest.skip(f"no image: {error}")


@pytest.fixture(scope="module")
def site_packages(image: Image) -> str:
    done = image.run("python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def is_operator(image: Image) -> bool:
    return image.config["Entrypoint"] == ["coterie"]


def test_every_entry_point_answers(image: Image) -> None:
    commands = [["python", "-m", "coterie_worker", "--help"], ["python", "-m", "coterie_worker", "check-data", "--help"]]
    if is_operator(image):
        commands += [["coterie", "--version"], ["coterie", "operator", "--help"], ["coterie", "validate", "--help"]]
    for command in commands:
        done = image.run(*command)

        assert done.returncode == 0, (command, done.stderr)
        assert done.stdout
        assert done.stderr == ""


def test_the_version_is_the_labels(image: Image) -> None:
    done = image.run("python", "-c", "import importlib.metadata; print(importlib.metadata.version('coterie'))")

    assert done.stdout.strip() == image.config["Labels"]["org.opencontainers.image.version"] == images.VERSION


def test_nothing_but_tmp_can_be_written_and_home_can(image: Image) -> None:
    done = image.run("python", "-c", WRITES)

    assert (done.returncode, done.stdout) == (0, "/tmp coterie\n"), done.stderr


def test_the_images_own_user_does_as_well_as_any_other(image: Image) -> None:
    user, _, group = image.config["User"].partition(":")
    done = image.run("python", "-m", "coterie_worker", "--help", user=int(user))

    assert group == "0"
    assert done.returncode == 0, done.stderr


def test_no_file_of_ours_is_unreadable_for_others_or_writable_by_them(image: Image) -> None:
    modes = {path: path.lstat().st_mode for path in (image.root / "opt").rglob("*") if not path.is_symlink()}

    assert modes
    assert [str(path) for path, mode in modes.items() if mode & 0o022 or not mode & 0o004] == []


def test_a_worker_trains_and_an_operator_has_no_torch(image: Image) -> None:
    done = image.run("python", "-c", TRAIN)

    assert (done.returncode == 0) is not is_operator(image), done.stderr
    assert not is_operator(image) or "No module named 'torch'" in done.stderr


def test_a_worker_holds_no_control_plane(image: Image) -> None:
    done = image.run("python", "-c", "import coterie_operator")

    assert (done.returncode == 0) is is_operator(image)
    assert (image.root / "opt/coterie/bin/coterie").exists() is is_operator(image)


@pytest.fixture(scope="module")
def installed(image: Image, site_packages: str) -> dict[str, tuple[str, list[str]]]:
    """Version and requirements by name."""
    done = image.run("python", "-c", INSTALLED.replace("SITE", site_packages))
    assert done.returncode == 0, done.stderr
    return {canonicalize_name(name): (version, requires) for name, version, requires in json.loads(done.stdout)}


def test_everything_installed_has_the_version_of_the_constraints(installed: dict[str, tuple[str, list[str]]]) -> None:
    pins = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in CONSTRAINTS)}
    pins["coterie"] = images.VERSION

    assert len(installed) > 10
    assert {name: version for name, (version, _) in installed.items() if pins.get(name) != version} == {}


def test_what_is_installed_fits_together(image: Image, installed: dict[str, tuple[str, list[str]]]) -> None:
    """What `pip check` checks; pip itself is no part of the images."""
    extras = ["operator" if is_operator(image) else "worker"]
    for name, (_, requires) in installed.items():
        for wanted in map(Requirement, requires):
            chosen = extras if name == "coterie" else [""]
            if wanted.marker is None or any(wanted.marker.evaluate({"extra": extra}) for extra in chosen):
                assert canonicalize_name(wanted.name) in installed, f"{name} needs {wanted}"
                version, _ = installed[canonicalize_name(wanted.name)]
                assert wanted.specifier.contains(version, prereleases=True), f"{name} needs {wanted}, found {version}"


def test_modules_come_with_their_bytecode(image: Image, site_packages: str) -> None:
    """Without it each pod would compile each module at its start, and could keep none of it."""
    ours = [image.root / site_packages.lstrip("/") / name for name in ("coterie_api", "coterie_worker", "grpc", "numpy")]
    sources = [path for folder in ours for path in folder.rglob("*.py")]
    bare = [path for path in sources if not list((path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"))]

    assert len(sources) > 200
    assert bare == []


def test_build_tools_and_caches_stayed_behind(image: Image, site_packages: str) -> None:
    installed = image.root / site_packages.lstrip("/")

    assert not (installed / "pip").exists()
    assert not (installed / "hatchling").exists()
    assert [path.name for path in (image.root / "tmp").iterdir()] == []
    assert not (image.root / "src").exists()
    assert not (image.root / "root/.cache").exists()


def test_the_operators_archive_is_small() -> None:
    try:
        archive = images.archives("operator")[images.name_of("operator")]
    except images.ImagesUnavailableError as error:
        pytest.skip(f"no image: {error}")

    assert archive.stat().st_size < LIMIT_OF_OPERATOR
