"""What the pages for data scientists and data owners tell people to type, typed against a real API server."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Final

import pytest
from tests.cluster import binaries
from tests.controlplane import scenario
from tests.docs.blocks import REPOSITORY, Block, Kind, blocks, kind_of
from tests.docs.checks import Desk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cluster.controlplane import ControlPlane
    from tests.cluster.replica import Replica

# Images can't be built or pulled here, and nobody can step into a pod that is a process. Both are parsed by tests/docs.
NEED_IMAGES: Final = ("docker ", "kubectl cp ", "kubectl logs check ")
SLOW: Final = "coterie run"  # tests/docs runs these


@pytest.fixture
def desk(plane: ControlPlane, tmp_path: Path) -> Iterator[Desk]:
    """A reader's desk; what was applied from it is gone in the end, and the tenants have keys of their own again."""
    desk = Desk.prepare(tmp_path)
    yield desk
    for path in sorted({*tmp_path.glob("*.[yj]*"), *tmp_path.glob("biopsies/*.yaml"), *tmp_path.glob("keys/*.json")}):
        plane.kubectl("delete", "--ignore-not-found", "--wait=false", "-f", str(path))
    for tenant in scenario.TENANTS:
        if plane.try_kubectl("get", "fds", "digits", "-n", tenant).returncode == 0:
            scenario.enroll(plane, tenant)


class Reader:
    """Follows a page, block by block."""

    def __init__(self, plane: ControlPlane, desk: Desk) -> None:
        kubectl = binaries.locate(binaries.KUBECTL).parent
        path = os.pathsep.join([str(kubectl), str(REPOSITORY / ".venv" / "bin"), os.environ["PATH"]])
        self.environment = {"PATH": path, "KUBECONFIG": str(plane.kubeconfig), "KUBECACHEDIR": str(plane.folder / "kubectl-cache")}
        self.volumes = scenario.readers_volumes(plane)
        self.desk = desk
        self.skipped: list[Block] = []
        self.said = ""

    def follow(self, page: str) -> None:
        for block in blocks(REPOSITORY / page):
            self.step(block)

    def step(self, block: Block) -> None:
        kind = kind_of(block)
        self.desk.write(block)
        if kind is Kind.CLUSTER and not any(command in block.text for command in NEED_IMAGES):
            self.put_in_place()
            self.said += self.type(block)
        elif kind is Kind.SHELL and SLOW not in block.text:
            self.said += self.type(block)
        elif kind is Kind.CLUSTER:
            self.skipped.append(block)

    def type(self, block: Block) -> str:
        return self.desk.run(block, ["bash", "-euo", "pipefail", "-c", block.text], self.environment)

    def put_in_place(self) -> None:
        """Do what images and filled claims do on a cluster: the task's code is importable, and the claims hold data."""
        made = self.desk.folder / "biopsies" / "volumes"
        if made.is_dir() and not self.volumes.is_dir():
            shutil.copytree(made, self.volumes)
            shutil.copy(self.desk.folder / "biopsies" / "biopsies_task.py", self.volumes.parent)

    def prepare(self) -> None:
        """Make the data, as `coterie run` has done on the reader's machine."""
        (block,) = (block for block in blocks(REPOSITORY / "docs/data-scientist.md") if str(block.file) == "biopsies/prepare.py")
        self.desk.write(block)
        self.desk.run(block, ["bash", "-c", "cd biopsies && python prepare.py"])


def test_a_data_scientist_gets_a_model(plane: ControlPlane, operator: Replica, desk: Desk) -> None:
    reader = Reader(plane, desk)
    reader.prepare()

    reader.follow("docs/data-scientist.md")

    shown = next(block for block in blocks(REPOSITORY / "docs/data-scientist.md") if block.text.startswith("NAME "))
    model = plane.folder / "node" / "claims" / "research" / "models" / "biopsies" / "model.safetensors"
    assert shown.text.splitlines()[0].split() == next(line for line in reader.said.splitlines() if line.startswith("NAME ")).split()
    assert model.stat().st_size > 1000
    assert len(reader.skipped) == 2, "images, and the pod that fetches the model"


def test_a_data_owner_gets_ready_and_takes_it_back(plane: ControlPlane, operator: Replica, desk: Desk) -> None:
    reader = Reader(plane, desk)

    reader.follow("docs/data-owner.md")

    assert plane.get("fds", "biopsies", "-n", "hospital-a")["spec"]["grants"] == []
    assert len(reader.skipped) == 2, "the pods that fill a claim and check it"
