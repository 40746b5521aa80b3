"""`python -m tests.cluster load`: what it says before it builds anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.cluster import __main__ as tool

if TYPE_CHECKING:
    from pathlib import Path

NAME = "registry.example:5000/research/task:1"


@pytest.fixture
def task(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    return tmp_path


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool.Active, "read", lambda: None)


def test_a_folder_without_a_dockerfile_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tool.main(["load", str(tmp_path), NAME]) == 1
    assert capsys.readouterr().err == f"{tmp_path}: there is no Dockerfile in it\n"


@pytest.mark.parametrize("name", ["task", "registry.example:5000/research/task"])
def test_a_name_without_a_tag_is_refused_and_one_with_a_tag_suggested(name: str, task: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tool.main(["load", str(task), name]) == 1
    assert capsys.readouterr().err == f"{name}: a name with a tag is needed, such as {name}:1\n"


def test_without_a_cluster_it_says_how_to_start_one(task: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tool.main(["load", str(task), NAME]) == 1
    assert capsys.readouterr().err == "no cluster is here: python -m tests.cluster up\n"
