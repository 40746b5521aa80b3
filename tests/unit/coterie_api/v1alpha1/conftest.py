from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Callable

OBJECTS = yaml.safe_load((Path(__file__).parent / "objects.yaml").read_text())


@pytest.fixture
def manifest() -> Callable[..., dict[str, Any]]:
    """A valid manifest of a kind, with fields changed by dotted path; None takes a field away."""

    def make(kind: str, changes: dict[str, Any] | None = None) -> dict[str, Any]:
        obj = copy.deepcopy(OBJECTS["valid"][kind])
        for path, value in (changes or {}).items():
            *parents, last = path.split(".")
            node = obj
            for parent in parents:
                node = node.setdefault(parent, {})
            if value is None:
                node.pop(last, None)
            else:
                node[last] = value
        return obj

    return make


@pytest.fixture
def pruned() -> list[tuple[str, dict[str, Any]]]:
    """The cases of the table whose field the API server drops."""
    return [(kind, case) for kind in ("FederatedJob", "FederatedDataset") for case in OBJECTS[kind] if case["by"] == "pruned"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "invalid" in metafunc.fixturenames:
        cases = [(kind, case) for kind in ("FederatedJob", "FederatedDataset") for case in OBJECTS[kind]]
        metafunc.parametrize("invalid", cases, ids=[f"{kind}: {case['law']}" for kind, case in cases])
