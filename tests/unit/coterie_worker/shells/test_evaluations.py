"""The evaluator's files are read once each, and none of them can hurt the job."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from coterie_worker.aggregator.evaluations import Evaluation, follow, new_files, read
from coterie_worker.aggregator.status import is_operator

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"version": 3, "accuracy": 0.9, "loss": 0.2}', Evaluation(3, 0.9, 0.2)),
        ('{"version": 3, "accuracy": 1, "loss": null}', Evaluation(3, 1.0, None)),
        ('{"version": 3, "error": "the task failed"}', Evaluation(3, None, None)),
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
