"""Each test's job, in processes of its own or as a world on loopback, gone when the test ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.local.dataplane.loopback import World
from tests.local.dataplane.nursery import Nursery
from tests.local.dataplane.pods import TASKS, DataPlane

import coterie_worker.transport  # noqa: F401 - before anything imports gRPC

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Where workers with torch come from."""
    with Nursery() as made:
        yield made


@pytest.fixture
def plane(tmp_path: Path, nursery: Nursery) -> Iterator[Callable[..., DataPlane]]:
    """Makes data planes; keywords of JobConfig change the job."""
    made: list[DataPlane] = []

    def make(clients: int = 3, *, folder: str = "job", **keywords: Any) -> DataPlane:
        own = {name: keywords.pop(name) for name in ("has_evaluator", "policy", "nursery") if name in keywords}
        made.append(DataPlane(tmp_path / folder, clients, keywords, **{"nursery": nursery, **own}))
        return made[-1]

    yield make
    for each in made:
        each.stop()


@pytest.fixture
def tasks_are_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' tasks, for rounds that are computed by hand in the test's own process."""
    monkeypatch.syspath_prepend(str(TASKS))


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A job of four tenants, for a server and connections in the test's own process."""
    return World(tmp_path, clients=4)
