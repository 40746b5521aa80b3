"""The evaluator: the newest model wins, each is scored at most once, and a failure is said in place of a score."""

from __future__ import annotations

import json
import sys
import textwrap
from typing import TYPE_CHECKING

import numpy as np
import pytest

from coterie_api.podconfig import Aggregation, JobConfig, RosterEntry
from coterie_api.v1alpha1.types import Evaluation, Strategy, Task, Training
from coterie_worker.evaluator.loop import follow, newest
from coterie_worker.layout import pack
from coterie_worker.training import TaskFailure, initialize

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SOURCE = """
import torch
from torch import nn
from coterie_worker.training import Task

class Line(Task):
    def build_model(self, parameters):
        return nn.Linear(2, 3)

    def load_data(self, path, split):
        if not (path / split).exists():
            raise FileNotFoundError("Smith, John")
        return torch.ones(4, 2), torch.tensor([0, 0, 0, 1])

class Raises(Line):
    def metrics(self, model, batch):
        raise ValueError("Smith, John")
"""


class Pod:
    """A pod's folders, and a clock that stops after a script of steps."""

    def __init__(self, root: Path, name: str) -> None:
        self.root, self.models = root, root / "checkpoint" / "models"
        self.job = job(f"task_of_evaluator:{name}")
        made = initialize(root, self.job)
        self.vector = pack(made.model, made.layout)
        for folder in (self.models, root / "evaluation", root / "data"):
            folder.mkdir()
        (root / "data" / "test").touch()

    def publish(self, version: int, size: int = 9) -> None:
        draft = self.models / f"{version}.f32.tmp"
        draft.write_bytes(np.resize(self.vector, size).astype("<f4").tobytes())
        draft.rename(self.models / f"{version}.f32")

    def run(self, *steps: Callable[[], None]) -> None:
        """One step before each pause; then it is time to stop."""
        script = iter(steps)

        def wait(seconds: float) -> bool:
            assert 0 <= seconds <= 0.05
            if not seconds:
                return False
            step = next(script, None)
            if step is not None:
                step()
            return step is None

        follow(self.root, self.job, wait)

    def scores(self) -> dict[int, dict]:
        return {int(file.stem): json.loads(file.read_text()) for file in (self.root / "evaluation").iterdir()}


def job(entrypoint: str) -> JobConfig:
    return JobConfig(
        job_uid="uid",
        job_namespace="research",
        job_name="job",
        rounds=10,
        seed=3,
        task=Task(entrypoint),
        training=Training(),
        strategy=Strategy(),
        aggregation=Aggregation("None", 1, 0, 1),
        roster=(RosterEntry("tenant-a", "visits", ""),),
        min_clients=1,
        round_deadline_seconds=60,
        assembly_deadline_seconds=60,
        evaluation=Evaluation(),
    )


@pytest.fixture
def pod_of(tmp_path, monkeypatch):
    code = tmp_path / "code"
    code.mkdir()
    (code / "task_of_evaluator.py").write_text(textwrap.dedent(SOURCE))
    monkeypatch.syspath_prepend(code)
    yield lambda name="Line": Pod(tmp_path, name)
    sys.modules.pop("task_of_evaluator", None)


def test_each_model_that_comes_is_scored(pod_of):
    pod = pod_of()
    pod.run(lambda: pod.publish(1), lambda: pod.publish(2))
    scores = pod.scores()

    assert scores.keys() == {1, 2}
    assert scores[1].keys() == {"version", "accuracy", "loss", "metrics", "examples"}
    assert (scores[1]["version"], scores[1]["examples"]) == (1, 4)
    assert scores[1]["accuracy"] in {0, 0.25, 0.75}
    assert scores[1]["loss"] > 0


def test_of_several_models_only_the_newest_is_scored(pod_of):
    pod = pod_of()

    def three() -> None:
        for version in (9, 10, 2):
            pod.publish(version)

    pod.run(three)

    assert pod.scores().keys() == {10}


def test_an_older_model_that_comes_back_is_passed_over(pod_of):
    pod = pod_of()
    pod.run(lambda: pod.publish(5), (pod.models / "5.f32").unlink, lambda: pod.publish(3))

    assert pod.scores().keys() == {5}


def test_a_restarted_evaluator_does_not_score_a_model_again(pod_of):
    pod = pod_of()
    pod.run(lambda: pod.publish(1))
    (pod.root / "evaluation" / "1.json").write_text('{"kept": true}')
    pod.run(lambda: None)

    assert pod.scores()[1] == {"kept": True}


def test_drafts_and_other_files_are_not_models(pod_of):
    pod = pod_of()
    for name in ("7.f32.tmp", "best.f32", "-3.f32", "8.json", ".f32", "9", "1.5.f32", "²f32"):
        (pod.models / name).touch()

    assert newest(pod.models) == -1
    pod.run(lambda: None)
    assert pod.scores() == {}


def test_no_folder_of_models_yet_is_no_model(tmp_path):
    assert newest(tmp_path / "absent") == -1


def test_a_model_that_is_replaced_before_it_is_read_is_passed_over(pod_of, monkeypatch):
    pod = pod_of()

    def gone(*_: object, **__: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr("coterie_worker.evaluator.loop.np.fromfile", gone)
    pod.run(lambda: pod.publish(1))

    assert pod.scores() == {}


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [("Raises", 9, "the task's code raised an exception (ValueError at task_of_evaluator.py:"), ("Line", 4, "parameters of shape (4,)")],
)
def test_a_model_that_cannot_be_scored_is_said_so_and_the_next_one_is_tried(pod_of, name, size, message):
    pod = pod_of(name)
    pod.run(lambda: pod.publish(1, size), lambda: pod.publish(2, size))
    scores = pod.scores()

    assert scores.keys() == {1, 2}
    for score in scores.values():
        assert (score["accuracy"], score["loss"], score["examples"]) == (None, None, 0)
        assert message in score["error"]
        assert "Smith" not in json.dumps(score)
        assert score["failure"]["reason"] == ("TaskRaised" if name == "Raises" else "WrongShape")


def test_an_evaluator_without_data_says_so_at_once(pod_of):
    pod = pod_of()
    (pod.root / "data" / "test").unlink()

    with pytest.raises(TaskFailure) as caught:
        pod.run()
    assert caught.value.termination.reason == "NoData"
    assert "Smith" not in str(caught.value)
    (score,) = pod.scores().values()
    assert (score["version"], score["failure"]["reason"], score["failure"]["error_class"]) == (0, "NoData", "FileNotFoundError")
    assert "Smith" not in json.dumps(score)


def test_an_evaluator_without_an_initial_model_fails_rather_than_waits(tmp_path, pod_of):
    pod = pod_of()
    (tmp_path / "checkpoint" / "initial" / "layout.json").unlink()

    with pytest.raises(FileNotFoundError):
        pod.run()
