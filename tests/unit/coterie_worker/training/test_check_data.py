"""The owner's own look at a data set: everything that is wrong, in full, inside the tenant."""

from __future__ import annotations

import pytest

from coterie_worker.training import check_data

TASKS = """
import torch
from torch import nn
from coterie_worker.training import Task

class Sound(Task):
    def build_model(self, parameters):
        return nn.Linear(2, 3)

    def load_data(self, path, split):
        rows = [line.split(";") for line in (path / f"{split}.csv").read_text().splitlines()]
        return torch.tensor([[float(a), float(b)] for a, b, _ in rows]), torch.tensor([int(c) for *_, c in rows])

class Vector(Sound):
    def loss(self, model, batch):
        return model(batch[0]).sum(dim=1)

class NotANumber(Sound):
    def loss(self, model, batch):
        return super().loss(model, batch) / 0.0 * 0.0

class Detached(Sound):
    def loss(self, model, batch):
        return super().loss(model, batch).detach()

class Number(Sound):
    def loss(self, model, batch):
        return 1.0

class Unmeasured(Sound):
    def metrics(self, model, batch):
        raise KeyError("accuracy of nobody")

class Quits(Sound):
    def loss(self, model, batch):
        raise SystemExit(0)
"""


@pytest.fixture
def check(tmp_path, task_module):
    module = task_module(TASKS)

    def run(name: str, text: str = "1;2;0\n3;4;2\n", **options) -> str:
        (tmp_path / "train.csv").write_text(text)
        return "\n".join(check_data(f"{module}:{name}", {}, tmp_path, **options))

    return run


def test_sound_data_has_nothing_wrong_with_it(check):
    assert check("Sound") == ""


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("Sound", "1;Smith, John;0\n", "could not convert string to float: 'Smith, John'"),
        ("Sound", "1;2;7\n", "out of bounds"),
        ("Sound", "", "EmptyDataError"),
        ("Vector", "1;2;0\n3;4;1\n", "shape (2,), allowed: a scalar"),
        ("NotANumber", "1;2;0\n", "allowed: a finite number"),
        ("Detached", "1;2;0\n", "does not require grad"),
        ("Number", "1;2;0\n", "loss returned a float, allowed: a scalar tensor"),
        ("Unmeasured", "1;2;0\n", "accuracy of nobody"),
        ("Quits", "1;2;0\n", "SystemExit"),
        ("Absent", "1;2;0\n", "has no attribute 'Absent'"),
    ],
)
def test_what_is_wrong_is_said_in_full(check, name, text, complaint):
    assert complaint in check(name, text)


def test_a_missing_file_is_named(check):
    assert "test.csv" in check("Sound", split="test")
