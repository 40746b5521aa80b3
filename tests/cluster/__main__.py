"""A contributor's cluster: python -m tests.cluster up | down | status

What a shell may evaluate goes to standard output, everything else to standard error: eval "$(python -m tests.cluster up)".
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from typing import TYPE_CHECKING

from tests.cluster import images
from tests.cluster.active import Active
from tests.cluster.binaries import HELM, KUBECTL, BinariesUnavailableError, locate
from tests.cluster.cluster import Cluster, ClusterInUseError
from tests.cluster.daemons import DaemonDiedError
from tests.cluster.images import ImagesUnavailableError
from tests.cluster.layout import FolderTooLongError
from tests.cluster.needs import NeedsError

if TYPE_CHECKING:
    from pathlib import Path

# What a person can act on: the message says how.
REFUSALS = (
    BinariesUnavailableError,
    ClusterInUseError,
    DaemonDiedError,
    FolderTooLongError,
    ImagesUnavailableError,
    NeedsError,
    TimeoutError,
)


def main(words: list[str]) -> int:
    """Do what the first word says; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description="A single-node Kubernetes cluster on this machine.")
    parser.add_argument("action", choices=("up", "down", "status"))
    parser.add_argument("--fresh", action="store_true", help="up: begin with an empty cluster")
    parser.add_argument("--without-images", action="store_true", help="up: don't load Coterie's own images, which are built first")
    chosen = parser.parse_args(words)
    try:
        if chosen.action == "up":
            return _up(fresh=chosen.fresh, with_images=not chosen.without_images)
        return _down() if chosen.action == "down" else _status()
    except REFUSALS as error:
        print(error, file=sys.stderr)
        return 1


def _up(*, fresh: bool, with_images: bool) -> int:
    cluster = Cluster.up(fresh=fresh, say=_say)
    status = _load(cluster) if with_images else 0
    _give_to_user(cluster.kubeconfig)
    _print_exports(cluster)
    return status


def _load(cluster: Cluster) -> int:
    """Build and load Coterie's images; without them, the cluster is one all the same."""
    try:
        loaded = cluster.load_images(images.archives())
    except ImagesUnavailableError as error:
        _say(f"the cluster runs without Coterie's images: {error}")
        return 1
    _say(f"loaded {', '.join(loaded) or 'no image that was not there'}")
    return 0


def _down() -> int:
    _say("ended" if Cluster.down() else "no cluster is here")
    return 0


def _status() -> int:
    """Say what runs. 0: all does; 1: something has ended, or no cluster is here."""
    active = Active.read()
    if active is None:
        _say("no cluster is here")
        return 1
    cluster = Cluster.at(active.place)
    names = cluster.daemons.names()
    dead = [name for name in names if not cluster.daemons.is_alive(name)]
    for name in names:
        state = "ended" if name in dead else f"runs as process {cluster.daemons.identity(name).pid}"
        _say(f"{name}: {state}; log {cluster.daemons.log(name)}")
    _print_exports(cluster)
    return 1 if dead or not names else 0


def _print_exports(cluster: Cluster) -> None:
    """Print what makes kubectl and helm of the cluster's own version use it."""
    print(f"export KUBECONFIG={cluster.kubeconfig}")
    print(f"export PATH={locate(KUBECTL).parent}:{locate(HELM).parent}:$PATH")


def _give_to_user(kubeconfig: Path) -> None:
    """Let whoever called through sudo read it."""
    if user := os.environ.get("SUDO_USER"):
        shutil.chown(kubeconfig, user)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
