"""A contributor's cluster: python -m tests.cluster up | down | status | load FOLDER NAME

What a shell may evaluate goes to standard output, everything else to standard error: eval "$(python -m tests.cluster up)".
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from tests.cluster import images
from tests.cluster.active import Active
from tests.cluster.binaries import HELM, KUBECTL, BinariesUnavailableError, locate
from tests.cluster.cluster import Cluster, ClusterInUseError
from tests.cluster.daemons import DaemonDiedError
from tests.cluster.images import ImagesUnavailableError
from tests.cluster.layout import FolderTooLongError
from tests.cluster.needs import NeedsError

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
    chosen = _parser().parse_args(words)
    try:
        match chosen.action:
            case "up":
                return _up(fresh=chosen.fresh, with_images=not chosen.without_images)
            case "down":
                return _down()
            case "status":
                return _status()
            case _:
                return _load_task(chosen.folder, chosen.name)
    except REFUSALS as error:
        print(error, file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description="A single-node Kubernetes cluster on this machine.")
    actions = parser.add_subparsers(dest="action", required=True)
    up = actions.add_parser("up", help="start it, or what of it has ended")
    up.add_argument("--fresh", action="store_true", help="begin with an empty cluster")
    up.add_argument("--without-images", action="store_true", help="don't load Coterie's own images, which are built first")
    actions.add_parser("down", help="end it and remove all that it made")
    actions.add_parser("status", help="say what runs and where its log is")
    load = actions.add_parser("load", help="build a task's image on top of the worker's and load it: there is no registry")
    load.add_argument("folder", type=Path, help="with the task's code and its Dockerfile")
    load.add_argument("name", help="for manifests to ask for, such as registry.example/research/digits:1")
    return parser


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


def _load_task(folder: Path, name: str) -> int:
    """Build the image of a task's folder and load it. 0: the node has it; 1: the message says why not."""
    if not (folder / "Dockerfile").is_file():
        _say(f"{folder}: there is no Dockerfile in it")
        return 1
    if ":" not in name.rpartition("/")[2]:
        _say(f"{name}: a name with a tag is needed, such as {name}:1")
        return 1
    active = Active.read()
    if active is None:
        _say("no cluster is here: python -m tests.cluster up")
        return 1
    loaded = Cluster.at(active.place).load_images({name: images.on_top(folder, name)})
    _say(f"loaded {', '.join(loaded) or f'nothing: {name} is there already'}")
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
