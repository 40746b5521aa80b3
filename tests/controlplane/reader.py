"""A reader who types what a page says, block by block, against a real API server."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Final

from tests.cluster import binaries
from tests.controlplane import scenario
from tests.docs.blocks import REPOSITORY, Block, Kind, blocks, kind_of

if TYPE_CHECKING:
    from tests.cluster.controlplane import ControlPlane
    from tests.docs.checks import Desk

# Images can't be built or pulled here, and nobody can step into a pod that is a process. Both are parsed by tests/docs.
NEED_IMAGES: Final = ("docker ", "kubectl cp ", "kubectl logs check ")
SLOW: Final = "coterie run"  # tests/docs runs these


class Reader:
    """Follows a page, block by block."""

    def __init__(self, plane: ControlPlane, desk: Desk) -> None:
        tools = [str(binaries.locate(each).parent) for each in (binaries.KUBECTL, binaries.HELM)]
        path = os.pathsep.join([*tools, str(REPOSITORY / ".venv" / "bin"), os.environ["PATH"]])
        helm = {f"HELM_{each}_HOME": str(desk.folder / "helm") for each in ("CACHE", "CONFIG", "DATA")}
        self.environment = {**helm, "PATH": path, "KUBECONFIG": str(plane.kubeconfig), "KUBECACHEDIR": str(plane.folder / "kubectl-cache")}
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
        elif kind in (Kind.CLUSTER, Kind.NODE):
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
