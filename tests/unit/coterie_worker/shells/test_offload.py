"""Light calls stay in the event loop's thread, heavy ones leave it, with the same results and errors; and cores as a container has them."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from coterie_worker.offload import SHORT, cores, offload

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("elements", "is_here"), [(0, True), (SHORT, True), (SHORT + 1, False)])
async def test_only_a_long_call_goes_to_another_thread(elements: int, is_here: bool) -> None:
    thread = await offload(elements, threading.get_ident)

    assert (thread == threading.get_ident()) is is_here


@pytest.mark.parametrize("elements", [1, SHORT + 1])
async def test_arguments_and_results_go_through(elements: int) -> None:
    assert await offload(elements, int, "1f", base=16) == 31


@pytest.mark.parametrize("elements", [1, SHORT + 1])
async def test_errors_come_back(elements: int) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        await offload(elements, int, "x")


class TestCores:
    @pytest.mark.parametrize(
        ("limit", "expected"),
        [
            ("max 100000", 8),  # no limit
            ("200000 100000", 2),
            ("150000 100000", 1),  # a core and a half
            ("10000 100000", 1),
            ("50000 200000", 1),
            ("1600000 100000", 8),  # more than there are
        ],
    )
    def test_a_limit_of_the_container_counts(self, tmp_path: Path, eight: None, limit: str, expected: int) -> None:
        (tmp_path / "cpu.max").write_text(limit + "\n")

        assert cores(tmp_path / "cpu.max") == expected

    @pytest.mark.parametrize("content", ["", "nonsense", "1 2 3", None])
    def test_where_none_can_be_read_all_cores_count(self, tmp_path: Path, eight: None, content: str | None) -> None:
        if content is not None:
            (tmp_path / "cpu.max").write_text(content)

        assert cores(tmp_path / "cpu.max") == 8

    def test_cores_that_this_process_may_not_run_on_do_not(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "cpu_count", lambda: 64)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5}, raising=False)

        assert cores(tmp_path / "none") == 2

    def test_a_system_without_affinity_has_its_count(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delattr(os, "sched_getaffinity", raising=False)
        monkeypatch.setattr(os, "cpu_count", lambda: 3)

        assert cores(tmp_path / "none") == 3


@pytest.fixture
def eight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
