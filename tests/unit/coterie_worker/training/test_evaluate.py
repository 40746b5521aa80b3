"""Scores: the task's sums and counts over all batches, whatever the size of the last one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from coterie_api.progress import DropReason
from coterie_worker.layout import pack
from coterie_worker.training import Scorer, TaskFailure, initialize

HEADER = """
import torch
from torch import nn
from coterie_worker.training import Task

class Base(Task):
    def build_model(self, parameters):
        return nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 3))

    def load_data(self, path, split):
        assert split == "test"
        generator = torch.Generator().manual_seed(5)
        return torch.randn(600, 2, generator=generator), torch.randint(3, (600,), generator=generator)
"""


@pytest.fixture
def scorer_of(tmp_path, job_of):
    def make(entrypoint: str):
        job = job_of(entrypoint)
        made = initialize(tmp_path, job)
        return Scorer(job, tmp_path, made.layout, made.model), made

    return make


def test_a_score_is_that_of_the_whole_split_in_one_batch(task_module, scorer_of):
    scorer, made = scorer_of(f"{task_module(HEADER)}:Base")
    score = scorer.score(pack(made.model, made.layout))
    import safetensors.torch

    model = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 3)).eval()
    model.load_state_dict(safetensors.torch.load(made.model))
    generator = torch.Generator().manual_seed(5)
    images, targets = torch.randn(600, 2, generator=generator), torch.randint(3, (600,), generator=generator)
    logits = model(images)

    assert score.examples == 600
    assert score.accuracy == pytest.approx((logits.argmax(1) == targets).float().mean().item())
    assert score.loss == pytest.approx(functional.cross_entropy(logits, targets).item(), rel=1e-5)
    assert score.metrics == {"accuracy": score.accuracy, "loss": score.loss}


def test_scoring_changes_nothing(task_module, scorer_of):
    scorer, made = scorer_of(f"{task_module(HEADER)}:Base")
    vector = pack(made.model, made.layout)

    assert scorer.score(vector) == scorer.score(vector)
    np.testing.assert_array_equal(vector, pack(made.model, made.layout))


OTHERS = (
    HEADER
    + """
class Own(Base):
    def metrics(self, model, batch):
        return {"error": (2.0 * len(batch[1]), len(batch[1])), "none": (0.0, 0)}

class Infinite(Base):
    def metrics(self, model, batch):
        return {"loss": (float("inf"), 1), "accuracy": (torch.tensor(float("nan")), torch.tensor(1))}

class Raises(Base):
    def metrics(self, model, batch):
        raise KeyError("Smith, John")

class Misshapen(Base):
    def metrics(self, model, batch):
        return {"loss": 3.0}

class Empty(Base):
    def load_data(self, path, split):
        return torch.empty(0, 2), torch.empty(0, dtype=torch.int64)
"""
)


def test_a_task_without_accuracy_has_none_and_keeps_its_own_metrics(task_module, scorer_of):
    scorer, made = scorer_of(f"{task_module(OTHERS)}:Own")
    score = scorer.score(pack(made.model, made.layout))

    assert (score.accuracy, score.loss) == (None, None)
    assert score.metrics == {"error": 2.0, "none": None}


def test_what_is_not_finite_is_no_number(task_module, scorer_of):
    scorer, made = scorer_of(f"{task_module(OTHERS)}:Infinite")
    score = scorer.score(pack(made.model, made.layout))

    assert score.metrics == {"loss": None, "accuracy": None}


@pytest.mark.parametrize(("name", "error_class"), [("Raises", "KeyError"), ("Misshapen", "TypeError")])
def test_metrics_that_raise_are_a_failure_without_text(task_module, scorer_of, name, error_class):
    scorer, made = scorer_of(f"{task_module(OTHERS)}:{name}")

    with pytest.raises(TaskFailure) as caught:
        scorer.score(pack(made.model, made.layout))
    assert (caught.value.drop.reason, caught.value.drop.error_class) == (DropReason.TASK_RAISED, error_class)
    assert "Smith" not in str(caught.value)


def test_no_test_data_is_told_at_the_start(task_module, scorer_of):
    with pytest.raises(TaskFailure) as caught:
        scorer_of(f"{task_module(OTHERS)}:Empty")
    assert caught.value.drop.reason is DropReason.NO_DATA


def test_a_vector_of_another_length_is_refused(task_module, scorer_of):
    scorer, _ = scorer_of(f"{task_module(HEADER)}:Base")

    with pytest.raises(TaskFailure) as caught:
        scorer.score(np.zeros(3, np.float32))
    assert caught.value.drop.reason is DropReason.WRONG_SHAPE
