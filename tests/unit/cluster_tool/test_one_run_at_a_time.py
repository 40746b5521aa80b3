"""Tests of the real node begin with an empty cluster of their own, whatever a run that was killed has left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.cluster import layout
from tests.cluster.active import Active
from tests.cluster.cluster import Cluster, ClusterInUseError
from tests.e2e.site import alone

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """The folders whose clusters were taken down; the machine's own record isn't read."""
    monkeypatch.setattr(layout, "ACTIVE", tmp_path / "active.json")
    taken: list[Path] = []
    monkeypatch.setattr(Cluster, "down", taken.append)
    return taken


@pytest.mark.parametrize(("left_in", "goes"), [("own", True), ("a-persons", False), (None, False)])
def test_only_what_an_earlier_run_has_left_is_taken_down(ended: list[Path], tmp_path: Path, left_in: str | None, goes: bool) -> None:
    if left_in is not None:
        Active(str(tmp_path / left_in), "boot", {}, []).write()

    with alone(tmp_path / "own"):
        assert ended == [tmp_path / "own"] * goes


def test_a_second_run_is_refused_and_takes_nothing_down(ended: list[Path], tmp_path: Path) -> None:
    with alone(tmp_path / "own"):
        Active(str(tmp_path / "own"), "boot", {}, []).write()
        with pytest.raises(ClusterInUseError, match="another run of these tests"), alone(tmp_path / "own"):
            pytest.fail("both were let in")

    assert ended == []


def test_the_next_run_may_begin_when_one_has_ended(ended: list[Path], tmp_path: Path) -> None:
    with alone(tmp_path / "own"):
        pass
    with alone(tmp_path / "own"):
        assert ended == []
