"""The images of the Dockerfile as archives, for a node without a registry: `ctr image import` takes them.

Built by buildah into a store below the cache folder, so that a change of source reuses the layers of dependencies. Archives are
keyed by all that they are made of; of each image the newest is kept.

    python -m tests.cluster.images            builds what is missing; prints names, paths, sizes and seconds
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
import tempfile
import time
import tomllib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.cluster import base_image
from tests.cluster.buildah import BuildahError, Store

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY: Final = Path(__file__).parents[2]
VERSION: Final = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
CONTEXT: Final = (".dockerignore", "Dockerfile", "LICENSE", "README.md", "api", "constraints.txt", "operator", "pyproject.toml", "worker")
# What decides about the layers of dependencies; with another of them, the store starts anew, or it would grow by gigabytes each time.
DEPENDENCIES: Final = ("Dockerfile", "constraints.txt")
TARGETS: Final = ("operator", "worker")
# Nodes of the tests have no GPU; without its libraries an image is half as large, and loaded twice as fast.
ARGUMENTS: Final = ("--build-arg", "GPU=false", "--build-arg", f"VERSION={VERSION}")
# What lies beside a task's code without belonging to it.
DATA: Final = ("volumes", "out", "__pycache__")


class ImagesUnavailableError(Exception):
    """The images can't be built on this machine; the message says why."""


def name_of(target: str) -> str:
    """Return the name under which a pod asks for a target: the chart's default."""
    return f"ghcr.io/coterie/{target}:{VERSION}"


def archives(*targets: str) -> dict[str, Path]:
    """Return the OCI archives of targets, all if none is named, by full name, building what is missing.

    Raises ImagesUnavailableError.
    """
    with _workshop() as workshop:
        return {name_of(target): workshop.archive(target) for target in targets or TARGETS}


def on_top(folder: Path, name: str) -> Path:
    """Return the OCI archive of an image whose Dockerfile stands in `folder` and begins with the worker's.

    Raises ImagesUnavailableError.
    """
    with _workshop() as workshop:
        return workshop.archive_on_top(folder, name)


@contextmanager
def mounted(target: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Mount a target's file system; yield it and the image's Env, Entrypoint, Cmd, WorkingDir, User and Labels.

    Raises ImagesUnavailableError.
    """
    with _workshop() as workshop:
        name, store = workshop.built(target), workshop.open()
        container = store.run("from", "--pull=false", name).strip()
    # The cache is free again: whoever looks at an image may want another one too.
    try:
        yield Path(store.run("mount", container).strip()), store.configuration(name)
    finally:
        store.run("rm", container)


@dataclass(frozen=True, slots=True)
class Workshop:
    """The cache folder, and a copy of all that the images are made of."""

    cache: Path
    context: Path
    key: str

    def archive(self, target: str) -> Path:
        """Return a target's archive."""
        wanted = self.cache / f"{target}-{self.key}.tar"
        if not wanted.exists():
            self.open().export(self.built(target), wanted)
            _keep_only(wanted, f"{target}-*.tar")
        return wanted

    def archive_on_top(self, folder: Path, name: str) -> Path:
        """Return the archive of an image on top of the worker's."""
        with tempfile.TemporaryDirectory(prefix="coterie-task-") as temporary:
            task = Path(temporary)
            shutil.copytree(folder, task, ignore=shutil.ignore_patterns(*DATA), dirs_exist_ok=True)
            prefix = f"task-{folder.name}"
            wanted = self.cache / f"{prefix}-{_hash(task, self.key, name)}.tar"
            if not wanted.exists():
                self.built("worker")
                self.open().build(task, name)
                self.open().export(name, wanted)
                _keep_only(wanted, f"{prefix}-*.tar")
        return wanted

    def built(self, target: str) -> str:
        """Return the name of a target that is in the store, in its newest state."""
        store, name = self.open(), name_of(target)
        store.build(self.context, name, "--target", target, "--build-arg", f"PYTHON_IMAGE={self._base(store)}", *ARGUMENTS)
        return name

    def open(self) -> Store:
        """Return the store, which has no older ones beside it."""
        names = [self.context / name for name in DEPENDENCIES]
        store = Store(self.cache / f"store-{_hash(self.context, base_image.key(), only=names)}")
        for older in self.cache.glob("store-*"):
            if older != store.folder:
                Store(older).remove()
        return store

    def _base(self, store: Store) -> str:
        name = f"localhost/coterie-base:{base_image.key()}"
        tree = self.cache / f"base-{base_image.key()}.tar"
        if not store.has(name):
            if not tree.exists():
                print("making the base image by debootstrap", file=sys.stderr, flush=True)
                base_image.make(tree)
                _keep_only(tree, "base-*.tar")
            store.unpack(tree, name)
        return name


@contextmanager
def _workshop() -> Iterator[Workshop]:
    """Hold the cache folder: test runs in parallel share one build. Raises ImagesUnavailableError.

    What is built is copied first, so that an edit during the minutes of a build can't part an archive from its key.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "coterie" / "images"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w") as lock, tempfile.TemporaryDirectory(prefix="coterie-images-") as temporary:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel drops it when the holder dies
        context = Path(temporary)
        for name in CONTEXT:
            source = REPOSITORY / name
            if source.is_dir():
                shutil.copytree(source, context / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, context / name)
        try:
            yield Workshop(cache, context, _hash(context, base_image.key(), *ARGUMENTS))
        except (BuildahError, base_image.BaseImageError) as error:
            raise ImagesUnavailableError(str(error)) from error


def _hash(folder: Path, *more: str, only: list[Path] | None = None) -> str:
    """Return a hash of the files of a folder, or of some of them, and of texts."""
    digest = hashlib.sha256("\0".join(more).encode())
    for path in sorted(file for file in (folder.rglob("*") if only is None else only) if file.is_file()):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder)} {path.stat().st_mode & 0o111:o} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def _keep_only(newest: Path, pattern: str) -> None:
    for path in newest.parent.glob(pattern):
        if path != newest:
            path.unlink()


def main() -> int:
    """Say where each archive is, building what is missing: minutes the first time, so not inside of a test."""
    begin = time.monotonic()
    try:
        for name, path in archives().items():
            print(f"{name}: {path} ({path.stat().st_size / 1e6:.0f} MB)")
    except ImagesUnavailableError as error:
        print(f"the images can't be built: {error}", file=sys.stderr)
        return 1
    print(f"{time.monotonic() - begin:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
