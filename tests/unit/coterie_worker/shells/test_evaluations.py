"""The evaluator's files are read once each, and none of them can hurt the job."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from coterie_api.progress import Drop, DropReason
from coterie_api.v1alpha1.job import SelectBy
from coterie_worker.aggregator.evaluations import Evaluation, follow, new_files, numbers, read
from coterie_worker.aggregator.status import is_operator

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"version": 3, "accuracy": 0.9, "loss": 0.2}', Evaluation(3, 0.9, 0.2)),
        ('{"version": 3, "accuracy": 1, "loss": null}', Evaluation(3, 1.0, None)),
        ('{"accuracy": 1, "metrics": {"a": 2, "b": NaN, "c": "x"}}', Evaluation(3, 1.0, None, {"a": 2.0, "b": None, "c": None})),
        ('{"accuracy": 1, "metrics": [1]}', Evaluation(3, 1.0, None)),
        ('{"accuracy": NaN, "loss": Infinity}', Evaluation(3, None, None)),
        ('{"accuracy": "high", "loss": [1]}', Evaluation(3, None, None)),
        ('{"version": 9, "accuracy": 0.9}', Evaluation(3, 0.9, None)),  # the name says which, as for the reader of the folder
        ("[1, 2]", None),
        ("", None),
        ('{"accuracy": 0.', None),
        ("x" * 100_000, None),
    ],
)
def test_a_file_gives_its_finite_numbers_or_nothing(tmp_path: Path, content: str, expected: Evaluation | None) -> None:
    path = tmp_path / "3.json"
    path.write_text(content)

    assert read(path) == expected


FAILED = Drop("", DropReason.NO_DATA, "FileNotFoundError", "task.py:12", "a1b2c3")


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (asdict(FAILED), FAILED),
        (None, Drop("", DropReason.TASK_RAISED)),  # of an older evaluator
        ("Smith, John", Drop("", DropReason.TASK_RAISED)),
        ({"client": "x", "reason": "Smith", "error_class": "Smith, John", "where": ["a"], "incident": 7}, Drop("", DropReason.TASK_RAISED)),
        ({"reason": "NoData", "error_class": "A" * 141, "where": "a b:1", "incident": "\n"}, Drop("", DropReason.NO_DATA)),
    ],
)
def test_a_failed_evaluation_is_told_by_the_catalog_and_by_names_of_code(tmp_path: Path, failure: object, expected: Drop) -> None:
    path = tmp_path / "3.json"
    path.write_text(json.dumps({"version": 3, "error": "Smith, John", "failure": failure}))

    assert read(path) == Evaluation(3, None, None, failure=expected)


@pytest.mark.parametrize(
    ("evaluation", "by_accuracy", "by_loss"),
    [
        (Evaluation(1, 0.5, 0.2, {"accuracy": 0.5, "loss": 0.2}), "0.5", "0.2"),
        (Evaluation(1, None, 0.2, {"accuracy": None, "loss": 0.2}), "nan", "0.2"),
        (Evaluation(1, 0.5, None, {"accuracy": 0.5}), "0.5", "None"),
        (Evaluation(1, None, None, {}, FAILED), "None", "None"),
    ],
    ids=["both", "a model that gives none", "a task that has none", "an evaluator that failed"],
)
def test_a_model_without_a_number_is_no_failure_of_the_evaluator(evaluation: Evaluation, by_accuracy: str, by_loss: str) -> None:
    assert (str(evaluation.value(SelectBy.ACCURACY)), str(evaluation.value(SelectBy.LOSS))) == (by_accuracy, by_loss)
    assert str(evaluation.value(None)) == by_accuracy


def test_of_many_metrics_and_of_long_names_some_are_kept() -> None:
    found = numbers({f"m{n}": n for n in range(1000)} | {"x" * 65: 1}), numbers({"x" * 65: 1, "y" * 64: 2})

    assert found == ({f"m{n}": float(n) for n in range(32)}, {"y" * 64: 2.0})


def test_other_files_are_not_looked_at(tmp_path: Path) -> None:
    for name in ("1.json", "2.json.tmp", "x.json", "-1.json", "3.txt"):
        (tmp_path / name).touch()

    assert [path.name for path in new_files(tmp_path, set())] == ["1.json"]
    assert new_files(tmp_path, {1}) == []
    assert new_files(tmp_path / "absent", set()) == []


async def test_each_evaluation_is_told_once_and_in_order(tmp_path: Path) -> None:
    told: asyncio.Queue[Evaluation] = asyncio.Queue()
    for version in (10, 9):
        (tmp_path / f"{version}.json").write_text('{"loss": 1}')
    following = asyncio.create_task(follow(tmp_path, told.put_nowait))

    first = [(await told.get()).version for _ in range(2)]
    (tmp_path / "11.json").write_text('{"loss": 1}')
    then = (await told.get()).version
    following.cancel()

    assert (first, then) == ([9, 10], 11)
    assert told.empty()


@pytest.mark.parametrize(
    ("certificate", "expected"),
    [
        ({"subjectAltName": (("URI", "coterie://operator"),)}, True),
        ({"subjectAltName": (("DNS", "coterie://operator"),)}, False),
        ({"subjectAltName": (("URI", "coterie://operator/"),)}, False),
        ({"subjectAltName": (("URI", "coterie://job/u/aggregator"),)}, False),
        ({"subject": ((("commonName", "coterie://operator"),),)}, False),
        ({}, False),
        (None, False),
    ],
)
def test_only_the_operators_uri_reads_the_status(certificate: dict[str, object] | None, expected: bool) -> None:
    assert is_operator(certificate) is expected
