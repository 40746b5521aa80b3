from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.cluster.__main__ import REFUSALS
from tests.e2e.site import Site, alone

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session", autouse=True)
def only_run() -> Iterator[None]:
    """No other run is at the tests' cluster, and nothing is left of one that was killed."""
    if os.geteuid() != 0:
        yield  # no cluster can be had at all: the tests say so
        return
    with alone():
        yield


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """A cluster of one node with the example's images."""
    try:
        with Site.up() as found:
            yield found
    except REFUSALS as error:
        if os.environ.get("CI", "").lower() in {"true", "1"}:
            pytest.fail(f"no cluster, and CI must have one: {error}")
        pytest.skip(f"no cluster: {error}")
