"""What a machine must have before a node can run on it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.cluster import layout, network

# Debian package → a program or file of it.
PACKAGES: Final = {
    "runc": "runc",
    "containernetworking-plugins": str(layout.CNI_BINARIES / "bridge"),
    "iptables": "iptables",
    "iproute2": "ip",
    "mount": "mount",
}


class NeedsError(Exception):
    """This machine can't run a node; the message says all that is missing, and how it is had."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What is asked about a machine."""

    system: str
    user_id: int
    has: Callable[[str], bool]  # a program's name or a file's path
    foreign_node: bool

    @classmethod
    def this(cls) -> Machine:
        return cls(sys.platform, os.geteuid(), _has, os.geteuid() == 0 and network.has_foreign_rules())


def _has(what: str) -> bool:
    return Path(what).exists() if what.startswith("/") else shutil.which(what, path=layout.PROGRAMS_PATH) is not None


def check(machine: Machine) -> None:
    """Return if a node can run here. Raises NeedsError, which names everything that is missing at once."""
    if reasons := missing(machine):
        raise NeedsError("a node can't run on this machine:\n" + "\n".join(f"- {reason}" for reason in reasons))


def missing(machine: Machine) -> list[str]:
    """Return what is missing, one sentence each."""
    if machine.system != "linux":
        return [f"it needs Linux, not {machine.system}: run it in a virtual machine"]
    reasons = []
    if machine.user_id != 0:
        reasons.append("it needs root, since it makes namespaces, mounts and network rules: put sudo before the command")
    if packages := [package for package, proof in PACKAGES.items() if not machine.has(proof)]:
        install = f"apt-get install --no-install-recommends {' '.join(packages)}"
        reasons.append(f"it needs programs that aren't here; on Debian and its kin: {install}")
    if machine.foreign_node:
        reasons.append("it has network rules of another Kubernetes node (chains KUBE-*), which this one would disturb")
    return reasons
