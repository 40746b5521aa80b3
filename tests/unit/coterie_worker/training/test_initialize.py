"""The initial model: made once, whole or not at all, and checked before any tenant's pod starts."""

from __future__ import annotations

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from coterie_api.progress import DropReason
from coterie_worker.layout import InvalidFile, InvalidLayout, pack
from coterie_worker.training import TaskFailure, initialize, load_initial
from coterie_worker.training import initialize as initialize_function

HEADER = """
import torch
from torch import nn
from coterie_worker.training import Task

class Base(Task):
    def build_model(self, parameters):
        return nn.Linear(2, parameters.get("classes", 3))
"""


def files(root):
    folder = root / "checkpoint" / "initial"
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def given(root, tensors) -> str:
    folder = root / "initial-model"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(safetensors.torch.save(tensors))
    return "/initial-model/model.safetensors"


def test_both_files_are_there_and_say_the_same_model(tmp_path, line, job_of):
    made = initialize(tmp_path, job_of(line))

    assert files(tmp_path) == {"layout.json": made.layout.to_json(), "model.safetensors": made.model}
    assert load_initial(tmp_path / "checkpoint") == made
    assert nn.Linear(2, 3).load_state_dict(safetensors.torch.load(made.model), strict=True)


def test_the_seed_decides_the_model_whatever_was_drawn_before(tmp_path, line, job_of):
    one = initialize(tmp_path / "one", job_of(line))
    torch.rand(7)
    two = initialize(tmp_path / "two", job_of(line))
    other = initialize(tmp_path / "other", job_of(line, seed=4))

    assert one == two
    assert other.layout == one.layout
    assert other.model != one.model


def test_a_second_run_changes_nothing(tmp_path, line, job_of):
    initialize(tmp_path, job_of(line))
    folder = tmp_path / "checkpoint" / "initial"
    before = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    initialize(tmp_path, job_of(line))

    assert {file.name: file.stat().st_mtime_ns for file in folder.iterdir()} == before
    assert [entry.name for entry in (tmp_path / "checkpoint").iterdir()] == ["initial"]


def test_a_model_that_is_there_wins_over_one_made_anew(tmp_path, line, job_of):
    first = initialize(tmp_path, job_of(line))

    assert initialize(tmp_path, job_of(line, seed=99)) == first


def test_what_a_killed_run_left_behind_is_swept_away(tmp_path, line, job_of):
    draft = tmp_path / "checkpoint" / "initial.tmp"
    draft.mkdir(parents=True)
    (draft / "layout.json").write_text("half a lay")
    made = initialize(tmp_path, job_of(line))

    assert not draft.exists()
    assert load_initial(tmp_path / "checkpoint") == made


def test_a_kill_between_the_two_files_leaves_no_initial_model(tmp_path, line, job_of, monkeypatch):
    class Killed(BaseException):
        pass

    class Disk:
        def write(self, path, parts):
            if path.name == "model.safetensors":
                raise Killed
            path.write_bytes(b"".join(parts))

    import sys

    monkeypatch.setattr(sys.modules[initialize_function.__module__], "DISK", Disk())
    with pytest.raises(Killed):
        initialize(tmp_path, job_of(line))
    assert not (tmp_path / "checkpoint" / "initial").exists()


def test_a_given_model_takes_the_place_of_the_seeded_one(tmp_path, line, job_of):
    tensors = {"weight": torch.arange(6.0).reshape(3, 2), "bias": torch.ones(3)}
    made = initialize(tmp_path, job_of(line, initial_model=given(tmp_path, tensors)))

    assert pack(made.model, made.layout).tolist() == [0, 1, 2, 3, 4, 5, 1, 1, 1]


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"weight": torch.zeros(3, 2)}, "'bias' is missing"),
        ({"weight": torch.zeros(3, 2), "bias": torch.zeros(4)}, r"'bias' is float32\[4\], the layout needs float32\[3\]"),
        ({"weight": torch.zeros(3, 2), "bias": torch.zeros(3).double()}, r"'bias' is float64\[3\]"),
        ({"weight": torch.zeros(3, 2), "bias": torch.zeros(3), "extra": torch.zeros(1)}, "'extra' is not in the task's model"),
    ],
)
def test_a_given_model_that_does_not_fit_is_refused_by_name(tmp_path, line, job_of, tensors, message):
    with pytest.raises(TaskFailure, match=message) as caught:
        initialize(tmp_path, job_of(line, initial_model=given(tmp_path, tensors)))
    assert caught.value.termination.reason == "WrongShape"
    assert not (tmp_path / "checkpoint").exists()


def test_a_given_model_that_holds_nan_is_refused(tmp_path, line, job_of):
    tensors = {"weight": torch.full((3, 2), torch.nan), "bias": torch.zeros(3)}

    with pytest.raises(TaskFailure) as caught:
        initialize(tmp_path, job_of(line, initial_model=given(tmp_path, tensors)))
    assert caught.value.drop.reason is DropReason.NOT_FINITE


def test_a_given_model_that_is_no_file_is_refused(tmp_path, line, job_of):
    (tmp_path / "garbage").write_bytes(b"PK\x03\x04 a pickle")

    with pytest.raises(TaskFailure, match="the header claims"):
        initialize(tmp_path, job_of(line, initial_model="/garbage"))


def test_a_checkpoint_of_another_task_is_refused(tmp_path, task_module, job_of):
    module = task_module(HEADER)
    initialize(tmp_path, job_of(f"{module}:Base"))
    before = files(tmp_path)

    with pytest.raises(TaskFailure, match="another model's layout"):
        initialize(tmp_path, job_of(f"{module}:Base", parameters={"classes": 4}))
    assert files(tmp_path) == before


@pytest.mark.parametrize(("name", "error"), [("layout.json", InvalidLayout), ("model.safetensors", InvalidFile)])
def test_a_damaged_initial_model_is_not_loaded(tmp_path, line, job_of, name, error):
    initialize(tmp_path, job_of(line))
    file = tmp_path / "checkpoint" / "initial" / name
    file.write_bytes(file.read_bytes()[:-3])

    with pytest.raises(error):
        load_initial(tmp_path / "checkpoint")


def test_no_initial_model_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_initial(tmp_path)


FAULTS = (
    HEADER
    + """
class NoModel(Base):
    def build_model(self, parameters):
        return [1, 2]

class Raises(Base):
    def build_model(self, parameters):
        raise ValueError("Smith, John")

class Undefined(Task):
    pass

class Lazy(Base):
    def build_model(self, parameters):
        return nn.LazyLinear(2)

class Infinite(Base):
    def build_model(self, parameters):
        model = nn.Linear(2, 3)
        model.bias.data.fill_(float("inf"))
        return model

class Misfit(Base):
    def synthetic(self, n, generator):
        return torch.rand(n, 5, generator=generator), torch.zeros(n, dtype=torch.int64)

class Tried(Base):
    def synthetic(self, n, generator):
        return torch.rand(n, 2, generator=generator), torch.zeros(n, dtype=torch.int64)

class Vector(Tried):
    def loss(self, model, batch):
        return model(batch[0]).sum(dim=1)

class Detached(Tried):
    def loss(self, model, batch):
        return super().loss(model, batch).detach()

class Number(Tried):
    def loss(self, model, batch):
        return super().loss(model, batch).item()

class NotANumber(Tried):
    def loss(self, model, batch):
        return super().loss(model, batch) * float("nan")

class Broken(Tried):
    def synthetic(self, n, generator):
        return Rows()

class Rows:
    def __len__(self):
        return 8

    def __getitem__(self, position):
        raise KeyError("Smith, John")
"""
)


@pytest.mark.parametrize(
    ("name", "reason", "error_class"),
    [
        ("NoModel", DropReason.TASK_RAISED, "TypeError"),
        ("Raises", DropReason.TASK_RAISED, "ValueError"),
        ("Undefined", DropReason.TASK_RAISED, "TypeError"),
        ("Lazy", DropReason.WRONG_SHAPE, ""),
        ("Infinite", DropReason.NOT_FINITE, ""),
        ("Misfit", DropReason.TASK_RAISED, "RuntimeError"),
        ("Vector", DropReason.TASK_RAISED, "ValueError"),
        ("Detached", DropReason.TASK_RAISED, "RuntimeError"),
        ("Number", DropReason.TASK_RAISED, "TypeError"),
        ("NotANumber", DropReason.TASK_RAISED, "ValueError"),
        ("Broken", DropReason.TASK_RAISED, "KeyError"),
        ("Absent", DropReason.TASK_IMPORT_FAILED, "AttributeError"),
    ],
)
def test_a_task_that_cannot_work_is_told_before_any_tenants_pod_starts(tmp_path, task_module, job_of, name, reason, error_class):
    with pytest.raises(TaskFailure) as caught:
        initialize(tmp_path, job_of(f"{task_module(FAULTS)}:{name}"))

    assert (caught.value.drop.reason, caught.value.drop.error_class) == (reason, error_class)
    assert "Smith" not in str(caught.value)
    assert not (tmp_path / "checkpoint").exists()


@pytest.mark.parametrize("name", ["Vector", "Detached", "Number", "NotANumber"])
def test_a_loss_that_has_no_gradient_is_told_by_the_part_of_the_work_that_found_it(tmp_path, task_module, job_of, name, capsys):
    with pytest.raises(TaskFailure, match=r"at coterie_worker\.training\.check\.differentiate:\d+\); incident"):
        initialize(tmp_path, job_of(f"{task_module(FAULTS)}:{name}"))

    assert "Traceback" in capsys.readouterr().err, "the pod's log says the rest"


def test_synthetic_examples_leave_no_trace_in_the_model(tmp_path, task_module, job_of):
    source = (
        HEADER
        + """
class Normed(Base):
    def build_model(self, parameters):
        return nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 3))

class Tried(Normed):
    def synthetic(self, n, generator):
        return torch.rand(n, 2, generator=generator), torch.zeros(n, dtype=torch.int64)
"""
    )
    module = task_module(source)

    assert initialize(tmp_path / "a", job_of(f"{module}:Tried")) == initialize(tmp_path / "b", job_of(f"{module}:Normed"))
    assert np.isfinite(pack(load_initial(tmp_path / "a" / "checkpoint").model, load_initial(tmp_path / "a" / "checkpoint").layout)).all()
