"""The committed code of the wire format is what `make proto` makes of the .proto files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

API = Path(__file__).parents[3] / "api"
WIRE = "coterie_api/wire/v1"
GENERATED = ("rounds_pb2.py", "rounds_pb2.pyi", "rounds_pb2_grpc.py")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wire")
    arguments = [f"--python_out={out}", f"--pyi_out={out}", f"--grpc_python_out={out}", f"{WIRE}/rounds.proto"]

    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", "-I", str(API), *arguments], check=True, cwd=API)

    return out / WIRE


@pytest.mark.parametrize("name", GENERATED)
def test_the_committed_wire_code_is_what_protoc_makes(fresh: Path, name: str) -> None:
    assert (API / WIRE / name).read_text() == (fresh / name).read_text()


def test_every_proto_file_is_covered() -> None:
    assert [path.name for path in sorted((API / WIRE).glob("*.proto"))] == ["rounds.proto"]
