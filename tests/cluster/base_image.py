"""A Python image for machines without a registry: Debian's, made by debootstrap, in place of `python:…-slim`.

It holds what the Dockerfile asks of PYTHON_IMAGE: a Python with venv, a shell for the build's steps, certificates. The machine's
own certificates and package index come along, since pip runs inside of the build.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

SUITE: Final = "bookworm"
PACKAGES: Final = ("python3", "python3-venv", "ca-certificates")
CERTIFICATES: Final = "etc/ssl/certs/ca-certificates.crt"
NOT_NEEDED: Final = ("var/cache/apt", "var/lib/apt/lists", "var/log", "usr/share/doc", "usr/share/man", "usr/share/locale")
TREE_SIZE: Final = "1g"


class BaseImageError(Exception):
    """The base can't be made here; the message says why."""


def key() -> str:
    """Return what the tree depends on, as a hash: the recipe, the machine's certificates, its package index."""
    digest = hashlib.sha256(repr((SUITE, PACKAGES, NOT_NEEDED)).encode())
    digest.update(_certificates().read_bytes())
    digest.update(_pip_conf().encode())
    return digest.hexdigest()[:16]


def make(archive: Path) -> None:
    """Write the tree as a tar archive. Raises BaseImageError."""
    if shutil.which("debootstrap") is None:
        raise BaseImageError("debootstrap is not installed (on Debian: apt-get install debootstrap)")
    unfinished = archive.with_suffix(".part")
    with _memory(archive.with_suffix(".tree")) as tree:
        _run("debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(tree))
        for folder in NOT_NEEDED:
            shutil.rmtree(tree / folder, ignore_errors=True)
        shutil.copyfile(_certificates(), tree / CERTIFICATES)
        (tree / "etc" / "pip.conf").write_text(_pip_conf())
        _run("tar", "--create", "--file", str(unfinished), "--directory", str(tree), "--exclude=./dev/*", "--exclude=./proc/*", ".")
    unfinished.rename(archive)


@contextmanager
def _memory(folder: Path) -> Iterator[Path]:
    """Mount a file system in memory: dpkg syncs each file, which on a disk takes longer than all the rest."""
    folder.mkdir(parents=True, exist_ok=True)
    _run("mount", "--types", "tmpfs", "--options", f"size={TREE_SIZE},mode=755", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        _run("umount", "--recursive", str(folder))
        folder.rmdir()


def _certificates() -> Path:
    named = os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE")
    return Path(named) if named else Path("/") / CERTIFICATES


def _pip_conf() -> str:
    """Return pip's configuration inside of the build: the certificates, and the index that this machine asks."""
    lines = ["[global]", f"cert = /{CERTIFICATES}", "timeout = 180"]
    if index := os.environ.get("PIP_INDEX_URL"):
        lines.append(f"index-url = {index}")
    return "\n".join(lines) + "\n"


def _run(*command: str) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise BaseImageError(f"{' '.join(command)}: exit status {done.returncode}: {done.stdout.strip()[-1000:]}")
