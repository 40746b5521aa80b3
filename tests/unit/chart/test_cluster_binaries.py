from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from tests.cluster import binaries

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in ("KUBEBUILDER_ASSETS", *(each.variable for each in binaries.PROGRAMS)):
        monkeypatch.delenv(variable, raising=False)
    made = tmp_path / "etcd"
    made.touch(mode=0o755)
    return made


def test_a_named_program_is_taken_as_it_is(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_ASSET_ETCD", str(program))

    assert binaries.locate(binaries.ETCD) == program


def test_a_program_of_the_assets_folder_is_taken(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(program.parent))

    assert binaries.locate(binaries.ETCD) == program


def test_a_named_program_that_can_not_run_is_refused(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program.chmod(0o644)
    monkeypatch.setenv("TEST_ASSET_ETCD", str(program))

    with pytest.raises(binaries.BinariesUnavailableError, match="TEST_ASSET_ETCD"):
        binaries.locate(binaries.ETCD)


def test_the_variables_are_those_of_controller_runtime() -> None:
    assert {each.variable for each in binaries.PROGRAMS} >= {"TEST_ASSET_ETCD", "TEST_ASSET_KUBE_APISERVER", "TEST_ASSET_KUBECTL"}


@pytest.mark.parametrize("name", ["go.mod", "go.sum"])
def test_another_module_or_another_go_is_built_anew(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(binaries.HERE / "helm", tmp_path / "helm")
    monkeypatch.setattr(binaries, "HERE", tmp_path)
    before = binaries._key("helm", "go1.26.0")
    other_go = binaries._key("helm", "go1.27.0")
    with (tmp_path / "helm" / name).open("a") as file:
        file.write("// changed\n")

    assert len({before, other_go, binaries._key("helm", "go1.26.0")}) == 3


def test_nothing_of_a_module_names_another_place_than_the_proxy() -> None:
    for module in [path.parent.name for path in binaries.HERE.glob("*/go.mod")]:
        text = (binaries.HERE / module / "go.mod").read_text()

        assert "=> ./" not in text
        assert "=> /" not in text


@pytest.mark.parametrize(("version", "numbers"), [("go1.26.8", (1, 26)), ("go1.9", (1, 9)), ("devel go1.27", (0, 0)), ("", (0, 0))])
def test_versions_of_go_are_compared_as_numbers(version: str, numbers: tuple[int, int]) -> None:
    assert binaries._numbers(version) == numbers
