"""`python -m coterie_worker check-data`: the one command that an image with a task holds for the data's owner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from coterie_worker import cli

if TYPE_CHECKING:
    from pathlib import Path

TASK = """
import torch
from torch import nn
from coterie_worker.training import Task

class Sized(Task):
    def build_model(self, parameters):
        return nn.Linear(2, parameters["classes"])

    def load_data(self, path, split):
        rows = [[float(each) for each in line.split(";")] for line in (path / f"{split}.csv").read_text().splitlines()]
        return torch.tensor(rows)[:, :2], torch.tensor([int(row[2]) for row in rows])
"""


@pytest.fixture
def entrypoint(task_module: Any) -> str:
    return f"{task_module(TASK)}:Sized"


def test_data_that_fits_is_said_to_with_its_split(tmp_path: Path, entrypoint: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "test.csv").write_text("1;2;0\n3;4;1\n")

    assert cli.check([entrypoint, str(tmp_path), "--split", "test", "--parameters", '{"classes": 2}']) == 0
    assert capsys.readouterr().out == f"{tmp_path}: test loads, and a batch went through loss and metrics\n"


def test_data_that_does_not_fit_fails_and_is_quoted(tmp_path: Path, entrypoint: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "train.csv").write_text("1;Smith, John;0\n")

    assert cli.check([entrypoint, str(tmp_path), "--parameters", '{"classes": 2}']) == 1
    assert "Smith, John" in capsys.readouterr().out


@pytest.mark.parametrize("parameters", ["[]", "3", "{", "null"])
def test_parameters_that_are_no_object_are_bad_input(tmp_path: Path, parameters: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.check(["task:Task", str(tmp_path), "--parameters", parameters])

    assert ended.value.code == 2
    assert "--parameters" in capsys.readouterr().err


def test_check_data_is_no_role_and_roles_are_no_check(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.parse([cli.CHECK_DATA])

    assert "invalid choice" in capsys.readouterr().err
