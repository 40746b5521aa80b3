"""`make images` with stand-ins for the builders: it must find one that works, and hand all it was given to it."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from typing import TYPE_CHECKING

import pytest
from tests.unit.images.dockerfile import ROOT

if TYPE_CHECKING:
    from pathlib import Path

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
NEEDED = ("make", "sed", "git", "sh", "cat")


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder with what the recipe needs, and no builder."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in NEEDED:
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    return folder


def add_builder(tools: Path, name: str, *, works: bool = True, builds: bool = True) -> None:
    """A builder that writes what it was told into calls, one word a line."""
    script = f"""#!/bin/sh
if [ "$1" = info ]; then exit {0 if works else 1}; fi
for word in {name} "$@" end; do echo "$word" >> {tools.parent}/calls; done
exit {0 if builds else 3}
"""
    (tools / name).write_text(script)
    (tools / name).chmod(0o755)


def make(tools: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(tools / "make"), "images", *arguments]
    return subprocess.run(command, cwd=ROOT, env={"PATH": str(tools)}, capture_output=True, text=True, check=False, timeout=60)


def calls(tools: Path) -> list[list[str]]:
    text = (tools.parent / "calls").read_text() if (tools.parent / "calls").exists() else ""
    return [call.split("\n")[:-1] for call in text.split("end\n")[:-1]]


def test_without_a_builder_it_says_which_ones_it_looked_for(tools: Path) -> None:
    done = make(tools)

    assert done.returncode != 0
    assert "none of docker, podman and buildah" in done.stderr
    assert "BUILDER" in done.stderr


def test_a_client_without_its_daemon_is_no_builder(tools: Path) -> None:
    add_builder(tools, "docker", works=False)
    add_builder(tools, "buildah")

    assert make(tools).returncode == 0
    assert [call[0] for call in calls(tools)] == ["buildah", "buildah"]


def test_both_targets_are_built_with_version_and_revision(tools: Path) -> None:
    add_builder(tools, "podman")

    assert make(tools).returncode == 0
    for call, target in zip(calls(tools), ("operator", "worker"), strict=True):
        assert call[:6] == ["podman", "build", "--target", target, "--tag", f"ghcr.io/coterie/{target}:{VERSION}"]
        assert f"VERSION={VERSION}" in call
        assert [word for word in call if word.startswith("REVISION=") and len(word) > len("REVISION=")]
        assert call[-1] == "."


def test_the_named_builder_wins_over_the_one_found(tools: Path) -> None:
    add_builder(tools, "docker")
    add_builder(tools, "buildah")

    assert make(tools, "BUILDER=buildah").returncode == 0
    assert {call[0] for call in calls(tools)} == {"buildah"}


def test_arguments_and_registry_reach_the_builder(tools: Path) -> None:
    add_builder(tools, "docker")

    assert make(tools, "REGISTRY=registry.example/x", "IMAGE_ARGS=--build-arg TORCH=torch==2.15.0+cpu --no-cache").returncode == 0
    for call, target in zip(calls(tools), ("operator", "worker"), strict=True):
        assert f"registry.example/x/{target}:{VERSION}" in call
        assert call[-4:] == ["--build-arg", "TORCH=torch==2.15.0+cpu", "--no-cache", "."]


def test_a_build_that_fails_ends_it(tools: Path) -> None:
    add_builder(tools, "docker", builds=False)

    assert make(tools).returncode != 0
    assert len(calls(tools)) == 1
