"""A client's round that goes wrong: a drop with a reason, no data in it, and the next round as if nothing had been."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from coterie_api.progress import DropReason
from coterie_worker.training import TaskFailure, Trainer, initialize

HEADER = """
import torch
from torch import nn
from coterie_worker.training import Task

class Base(Task):
    def build_model(self, parameters):
        return nn.Linear(2, 3)

    def load_data(self, path, split):
        generator = torch.Generator().manual_seed(5)
        return torch.randn(20, 2, generator=generator), torch.randint(3, (20,), generator=generator)
"""


FAULTS = (
    HEADER
    + """
class Raises(Base):
    def loss(self, model, batch):
        raise ValueError("could not convert string to float: 'Smith, John'")

class NotANumber(Base):
    def loss(self, model, batch):
        return super().loss(model, batch) * float("nan")

class Infinite(Base):
    def train_round(self, model, this):
        model.bias.data.fill_(float("inf"))

class Reshapes(Base):
    def train_round(self, model, this):
        model.bias.data = torch.zeros(4)

class Replaces(Base):
    def train_round(self, model, this):
        model.bias = nn.Parameter(torch.zeros(3))

class Grows(Base):
    def train_round(self, model, this):
        model.extra = nn.Linear(1, 1)

class Freezes(Base):
    def train_round(self, model, this):
        model.bias.requires_grad_(False)

class Exits(Base):
    def train_round(self, model, this):
        raise SystemExit("Smith, John")

class Starves(Base):
    def train_round(self, model, this):
        torch.empty(2**60, dtype=torch.uint8)

class Eats(Base):
    def train_round(self, model, this):
        raise MemoryError("Smith, John")
"""
)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Raises", DropReason.TASK_RAISED),
        ("NotANumber", DropReason.NOT_FINITE),
        ("Infinite", DropReason.NOT_FINITE),
        ("Reshapes", DropReason.WRONG_SHAPE),
        ("Replaces", DropReason.WRONG_SHAPE),
        ("Grows", DropReason.WRONG_SHAPE),
        ("Freezes", DropReason.WRONG_SHAPE),
        ("Exits", DropReason.TASK_RAISED),
        ("Starves", DropReason.OUT_OF_MEMORY),
        ("Eats", DropReason.OUT_OF_MEMORY),
    ],
)
def test_a_round_that_goes_wrong_is_a_drop_with_a_reason_and_leaves_no_trace(trainer_of, task_module, name, reason, monkeypatch, capsys):
    module = task_module(FAULTS)
    trainer, start = trainer_of(f"{module}:{name}")
    for _ in range(2):
        with pytest.raises(TaskFailure) as caught:
            trainer.train(start, 0)
        assert caught.value.drop.reason is reason
        assert caught.value.drop.client == "tenant-a/visits"
        assert "Smith" not in repr(caught.value.drop) + str(caught.value)
    fault, base = getattr(sys.modules[module], name), sys.modules[module].Base
    monkeypatch.setattr(fault, "loss", base.loss)
    monkeypatch.setattr(fault, "train_round", base.train_round)
    sound, _ = trainer_of(f"{module}:Base")
    capsys.readouterr()

    np.testing.assert_array_equal(trainer.train(start, 0).values, sound.train(start, 0).values)


NAMED = """
class Patient(Base):
    def train_round(self, model, this):
        model.add_module("Smith, John", nn.Linear(31415, 1))

class Counted(Base):
    def train_round(self, model, this):
        model.bias = nn.Parameter(torch.zeros(31415))

class Stored(Base):
    def train_round(self, model, this):
        model.register_buffer("Smith, John", torch.zeros(31415).to_sparse())
"""


@pytest.mark.parametrize(("name", "told"), [("Patient", ""), ("Counted", ": tensor 'bias'"), ("Stored", "")])
def test_what_a_model_became_stays_in_the_pod_but_for_the_layouts_own_name(trainer_of, task_module, capsys, name, told):
    trainer, start = trainer_of(f"{task_module(HEADER + NAMED)}:{name}")

    with pytest.raises(TaskFailure) as caught:
        trainer.train(start, 0)
    drop, log = caught.value.drop, capsys.readouterr().err
    assert str(caught.value) == f"the task's model does not match the job's layout{told}; incident {drop.incident} in the pod's log"
    assert f"incident {drop.incident}: WrongShape" in log
    assert "31415" in log or "Smith, John" in log


@pytest.mark.parametrize("shape", [(8,), (10,), (3, 3), ()])
def test_parameters_of_another_length_are_refused(trainer_of, line, shape):
    trainer, _ = trainer_of(line)

    with pytest.raises(TaskFailure) as caught:
        trainer.train(np.zeros(shape, np.float32), 0)
    assert caught.value.drop.reason is DropReason.WRONG_SHAPE


def test_a_finite_update_whose_sum_overflows_is_not_taken_for_infinite(trainer_of, task_module):
    source = HEADER + "\nclass Huge(Base):\n    def train_round(self, model, this):\n        model.bias.data.fill_(3e38)\n"
    trainer, start = trainer_of(f"{task_module(source)}:Huge")

    assert np.isfinite(trainer.train(start, 0).values).all()


DATA_FAULTS = (
    HEADER
    + """
class Nothing(Base):
    def load_data(self, path, split):
        return torch.empty(0, 2), torch.empty(0, dtype=torch.int64)

class Missing(Base):
    def load_data(self, path, split):
        return torch.load(path / "Smith, John.pt")

class Ragged(Base):
    def load_data(self, path, split):
        return torch.zeros(3, 2), torch.zeros(2)

class Text(Base):
    def load_data(self, path, split):
        return torch.tensor([float("Smith, John")])
"""
)


@pytest.mark.parametrize(
    ("name", "reason", "error_class"),
    [
        ("Nothing", DropReason.NO_DATA, "EmptyDataError"),
        ("Missing", DropReason.NO_DATA, "FileNotFoundError"),
        ("Ragged", DropReason.TASK_RAISED, "ValueError"),
        ("Text", DropReason.TASK_RAISED, "ValueError"),
    ],
)
def test_data_that_cannot_be_used_is_told_when_the_client_starts(trainer_of, task_module, name, reason, error_class):
    with pytest.raises(TaskFailure) as caught:
        trainer_of(f"{task_module(DATA_FAULTS)}:{name}")

    assert (caught.value.drop.reason, caught.value.drop.error_class) == (reason, error_class)
    assert "Smith" not in repr(caught.value.drop) + str(caught.value)


def test_a_client_whose_code_builds_another_model_than_the_job_is_refused(tmp_path, task_module, job_of):
    source = HEADER + "\nclass Wide(Base):\n    def build_model(self, parameters):\n        return nn.Linear(2, 4)\n"
    module = task_module(source)
    made = initialize(tmp_path / "root", job_of(f"{module}:Base"))

    with pytest.raises(TaskFailure, match="does not match the job's layout: tensor 'weight'; incident") as caught:
        Trainer(job_of(f"{module}:Wide"), tmp_path, made.layout, made.model, index=0)
    assert caught.value.drop.reason is DropReason.WRONG_SHAPE


@pytest.mark.parametrize("threads", ["0", "-1", "many", "1.5"])
def test_a_number_of_threads_that_is_none_is_refused(trainer_of, line, monkeypatch, threads):
    monkeypatch.setenv("COTERIE_THREADS", threads)

    with pytest.raises(ValueError, match="COTERIE_THREADS"):
        trainer_of(line)
