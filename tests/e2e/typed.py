"""What the pages tell people to type, typed on the node with the tools that the suite has built."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cluster import binaries
from tests.docs.blocks import REPOSITORY, Block, Kind, blocks, documents, kind_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.docs.checks import Desk
    from tests.e2e.site import Site

DOCKER = "docker "  # there is no registry


def node_blocks() -> list[Block]:
    """Return every block of every page that needs a node, in order."""
    return [block for document in documents() for block in blocks(document) if kind_of(block) is Kind.NODE]


def section(page: str, heading: str) -> list[Block]:
    """Return a page's blocks below a heading of the second level, up to the next. Raises ValueError where there is no such heading."""
    path = REPOSITORY / page
    lines = path.read_text(encoding="utf-8").splitlines()
    begin = lines.index(f"## {heading}") + 1
    end = next((number for number, line in enumerate(lines, 1) if number > begin and line.startswith("## ")), len(lines) + 1)
    return [block for block in blocks(path) if begin < block.line < end]


def can_be_typed(block: Block) -> bool:
    """Whether a block is one that a person types, and that needs no registry."""
    return kind_of(block) in (Kind.SHELL, Kind.CLUSTER, Kind.NODE) and DOCKER not in block.text


def environment(kubeconfig: Path, folder: Path, tools: Mapping[str, Path]) -> dict[str, str]:
    """Return what a shell needs: the tools first on its path, the cluster, and folders of its own for what the tools keep."""
    path = os.pathsep.join(
        [*dict.fromkeys(str(each.parent) for each in tools.values()), str(Path(sys.executable).parent), os.environ["PATH"]]
    )
    helm = {f"HELM_{each}_HOME": str(folder / "helm" / each.lower()) for each in ("CACHE", "CONFIG", "DATA")}
    return {**helm, "PATH": path, "KUBECONFIG": str(kubeconfig), "KUBECACHEDIR": str(folder / "kubectl-cache")}


def type_in(site: Site, desk: Desk, block: Block) -> str:
    """Type a block and return what it printed. Raises BrokenBlockError if it fails."""
    tools = {each.name: binaries.locate(each) for each in (binaries.KUBECTL, binaries.HELM)}
    script = ["bash", "-euo", "pipefail", "-c", block.text]
    return desk.run(block, script, environment(site.cluster.kubeconfig, site.cluster.folder / "reader", tools))
