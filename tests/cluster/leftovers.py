"""What a node leaves behind when its programs end: containers and their shims, mounts, control groups, links."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.cluster.configuration import CGROUP, NETWORK
from tests.cluster.daemons import PROC, Identity, identity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.cluster.layout import Layout

_CGROUPS: Final = Path("/sys/fs/cgroup")
_SECONDS: Final = 20.0
FOLDERS: Final = ("/var/lib/cni", "/var/lib/kubelet", "/var/log/containers")  # made by programs that can't be told another place


def remove(place: Layout) -> None:
    """End every container of the cluster and remove all that is its, but for the network."""
    _end(running(place))
    for path in mounts(place.folder, (PROC / "self/mountinfo").read_text()):
        subprocess.run(["umount", "--lazy", path], check=True)
    _remove_cgroups()
    _remove_links(place)
    for path in Path("/var/lib/cni/results").glob(f"{NETWORK}-*"):
        path.unlink()
    remove_folder(place.folder)


def running(place: Layout) -> list[Identity]:
    """Return what containerd has started: shims, and all that runs in containers."""
    return [*shims(place), *_contained()]


def shims(place: Layout) -> list[Identity]:
    """Return the shims of this cluster's containerd, told by its socket in their arguments."""
    socket = str(place.containerd_socket)
    folders = (folder for folder in PROC.iterdir() if folder.name.isdigit() and is_shim_of(_arguments(folder), socket))
    return [found for folder in folders if (found := identity(int(folder.name)))]


def is_shim_of(arguments: list[str], socket: str) -> bool:
    """Whether a process with these arguments is a shim that serves the containerd at `socket`."""
    return bool(arguments) and Path(arguments[0]).name.startswith("containerd-shim") and socket in arguments


def _arguments(folder: Path) -> list[str]:
    try:
        return (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return []


def _contained() -> Iterator[Identity]:
    """Yield every process in the kubelet's control groups."""
    for folder in cgroup_folders():
        with suppress(FileNotFoundError):
            for line in (folder / "cgroup.procs").read_text().split():
                if found := identity(int(line)):
                    yield found


def cgroup_folders() -> list[Path]:
    """Return the kubelet's control groups of every hierarchy, the innermost first."""
    tops = {path for pattern in (CGROUP, f"*/{CGROUP}") for path in _CGROUPS.glob(pattern)}
    return [Path(folder) for top in tops for folder, _, _ in os.walk(top, topdown=False)]


def _end(processes: Iterable[Identity]) -> None:
    waiting = set(processes)
    for each in waiting:
        each.signal(signal.SIGKILL)
    deadline = time.monotonic() + _SECONDS
    while alive := {each for each in waiting if each.is_alive()}:
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {sorted(each.pid for each in alive)} don't end")
        time.sleep(0.02)


def mounts(folder: Path, mountinfo: str) -> list[str]:
    """Return the mount points at and below a folder, the last mounted first."""
    points = [_unescape(line.split()[4]) for line in mountinfo.splitlines()]
    return [point for point in reversed(points) if Path(point).is_relative_to(folder)]


def _unescape(point: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), point)


def _remove_cgroups() -> None:
    deadline = time.monotonic() + _SECONDS
    while left := cgroup_folders():
        for folder in left:
            with suppress(FileNotFoundError, OSError):  # busy while the kernel still buries its processes
                folder.rmdir()
        if time.monotonic() > deadline:
            raise TimeoutError(f"control groups stay busy: {left[0]}")
        time.sleep(0.02)


def _remove_links(place: Layout) -> None:
    """Remove the links that the kubelet makes to its pods' logs."""
    folder = Path("/var/log/containers")
    if folder.is_dir():
        for link in folder.iterdir():
            if link.is_symlink() and Path(link.readlink()).is_relative_to(place.folder):
                link.unlink()


def absent() -> list[str]:
    """Return which of `FOLDERS` aren't there."""
    return [folder for folder in FOLDERS if not Path(folder).exists()]


def remove_folder(folder: Path) -> None:
    """Remove a folder with all in it, none of which may be a mount."""
    if folder.exists():
        if left := mounts(folder, (PROC / "self/mountinfo").read_text()):  # removing files below a mount could remove another's
            raise OSError(f"{left[0]} is still mounted")
        shutil.rmtree(folder)
