"""Light calls stay in the event loop's thread, heavy ones leave it; their results and errors are the same."""

from __future__ import annotations

import threading

import pytest

from coterie_worker.offload import SHORT, offload


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
