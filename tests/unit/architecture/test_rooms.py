"""Laws of the house that import-linter can't state."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MAX_LINES = 400


def python_modules() -> list[Path]:
    rooms = ("api", "operator", "worker", "bench", "tests", "examples")
    return [path for room in rooms for path in sorted((ROOT / room).rglob("*.py")) if "_pb2" not in path.name]


def test_the_operator_folder_never_shadows_the_standard_library() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()
    assert not list((ROOT / "tests").rglob("operator/__init__.py"))


@pytest.mark.parametrize("module", ["coterie_operator.cli", "coterie_api.podconfig"])
def test_the_control_plane_starts_without_torch_and_grpc(module: str) -> None:
    code = f"import sys, {module}; print(sorted({{'torch', 'grpc'}} & set(sys.modules)))"

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()

    assert loaded == "[]"


def test_the_aggregator_runs_without_torch() -> None:
    code = "import sys, coterie_worker.cli, coterie_worker.aggregator.shell; print('torch' in sys.modules)"

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()

    assert loaded == "False"


def test_no_module_outgrows_its_reader() -> None:
    too_long = {
        str(path.relative_to(ROOT)): count for path in python_modules() if (count := len(path.read_text().splitlines())) > MAX_LINES
    }

    assert too_long == {}
