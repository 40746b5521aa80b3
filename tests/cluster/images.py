"""The images of the Dockerfile as archives, for a node without a registry: `ctr image import` takes them.

Built by buildah, as root and without a daemon, into a store of their own below the cache folder, so that a change of source reuses
the layers of dependencies. The cache is keyed by all that the images are made of, and keeps the newest archive of each.

    python -m tests.cluster.images            builds what is missing; prints names, paths, sizes and seconds
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.cluster import base_image

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY: Final = Path(__file__).parents[2]
VERSION: Final = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
CONTEXT: Final = (".dockerignore", "Dockerfile", "LICENSE", "README.md", "api", "constraints.txt", "operator", "pyproject.toml", "worker")
# What decides about the layers of dependencies; with another of them, the store starts anew, or it would grow by gigabytes each time.
DEPENDENCIES: Final = ("Dockerfile", "constraints.txt")
TARGETS: Final = ("operator", "worker")
# Nodes of the tests have no GPU. Both take a third of the size, and so of the time to import.
ARGUMENTS: Final = ("--build-arg", "GPU=false", "--build-arg", f"VERSION={VERSION}")


class ImagesUnavailableError(Exception):
    """The images can't be built on this machine; the message says why."""


def name_of(target: str) -> str:
    """Return the name under which a pod asks for a target: the chart's default."""
    return f"ghcr.io/coterie/{target}:{VERSION}"


def archives() -> dict[str, Path]:
    """Return the OCI archive of each image by its full name, building what is missing. Raises ImagesUnavailableError."""
    folder = _cache()
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / ".lock"), tempfile.TemporaryDirectory(prefix="coterie-images-") as temporary:
        context = _snapshot(Path(temporary))
        key = _hash(context, CONTEXT, Path(__file__).read_bytes())
        wanted = {target: folder / f"{target}-{key}.tar" for target in TARGETS}
        missing = [target for target in TARGETS if not wanted[target].exists()]
        if missing:
            builder = Builder.prepare(folder, context)
            for target in missing:
                builder.build(target, wanted[target])
                _keep_only(wanted[target], f"{target}-*.tar")
    return {name_of(target): path for target, path in wanted.items()}


@contextmanager
def mounted(target: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Mount a target's file system; yield it and the image's configuration (Env, Entrypoint, Cmd, WorkingDir, Labels, User).

    Raises ImagesUnavailableError.
    """
    archive = archives()[name_of(target)]
    with _locked(_cache() / ".lock"), tempfile.TemporaryDirectory(prefix="coterie-images-") as temporary:
        builder = Builder.prepare(_cache(), _snapshot(Path(temporary)))
        container = builder.container(target, archive)
    try:
        yield Path(builder.run("mount", container).strip()), builder.configuration(target)
    finally:
        builder.run("rm", container)


@dataclass(frozen=True, slots=True)
class Builder:
    """buildah with a store of its own, the base image in it, and what is built."""

    store: Path
    base: str
    context: Path

    @classmethod
    def prepare(cls, folder: Path, context: Path) -> Builder:
        """Open the store, removing older ones, and put the base into it. Raises ImagesUnavailableError."""
        if os.geteuid() != 0:
            raise ImagesUnavailableError("building images without a daemon needs root")
        if shutil.which("buildah") is None:
            raise ImagesUnavailableError("buildah is not installed (on Debian: apt-get install buildah)")
        store = folder / f"store-{_hash(context, DEPENDENCIES)}"
        for older in folder.glob("store-*"):
            if older != store:
                _remove_store(older)
        builder = cls(store, f"localhost/coterie-base:{base_image.key()}", context)
        builder._prepare_base(folder)
        return builder

    def build(self, target: str, archive: Path) -> None:
        """Build a target of the Dockerfile and write it as an OCI archive."""
        name = name_of(target)
        options = ["--isolation", "chroot", "--layers", "--force-rm", "--pull=false", "--format", "oci", "--target", target, "--tag", name]
        self.run("bud", *options, "--build-arg", f"PYTHON_IMAGE={self.base}", *ARGUMENTS, str(self.context))
        unfinished = archive.with_suffix(".part")
        unfinished.unlink(missing_ok=True)
        # zstd at its fastest: half the bytes to write and to read again, for a few seconds of work.
        compression = ["--compression-format", "zstd", "--compression-level", "1"]
        self.run("push", "--quiet", *compression, name, f"oci-archive:{unfinished}:{name}")
        unfinished.rename(archive)

    def container(self, target: str, archive: Path) -> str:
        """Return a new container of a target's image, which is read from its archive if the store has started anew since."""
        if not self._has(name_of(target)):
            self.run("pull", "--quiet", f"oci-archive:{archive}")
        return self.run("from", "--pull=false", name_of(target)).strip()

    def configuration(self, target: str) -> dict[str, Any]:
        """Return the configuration in a target's image."""
        return json.loads(self.run("inspect", "--type", "image", "--format", "{{json .OCIv1.Config}}", name_of(target)))

    def _has(self, name: str) -> bool:
        return bool(self.run("images", "--quiet", "--filter", f"reference={name}").strip())

    def _prepare_base(self, folder: Path) -> None:
        tree = folder / f"base-{base_image.key()}.tar"
        try:
            if not tree.exists():
                _say("making the base image by debootstrap")
                base_image.make(tree)
                _keep_only(tree, "base-*.tar")
        except base_image.BaseImageError as error:
            raise ImagesUnavailableError(str(error)) from error
        if not self._has(self.base):
            container = self.run("from", "scratch").strip()
            self.run("add", "--quiet", container, str(tree), "/")
            self.run("commit", "--quiet", "--rm", container, self.base)

    def run(self, *arguments: str) -> str:
        where = ["--root", str(self.store), "--runroot", f"/run/coterie-images/{self.store.name}", "--storage-driver", "overlay"]
        _say(f"buildah {' '.join(arguments)}")
        begin = time.monotonic()
        done = subprocess.run(["nice", "buildah", *where, *arguments], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ImagesUnavailableError(
                f"buildah {arguments[0]}: exit status {done.returncode}: {(done.stdout + done.stderr).strip()[-3000:]}"
            )
        _say(f"  {time.monotonic() - begin:.1f} s")
        return done.stdout


def _snapshot(folder: Path) -> Path:
    """Copy what is built, so that an edit during the minutes of a build can't part an archive from its key."""
    for name in CONTEXT:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder


def _hash(context: Path, names: tuple[str, ...], recipe: bytes = b"") -> str:
    """Return a hash of files and folders of the context, of the base's recipe and of the one given."""
    digest = hashlib.sha256(base_image.key().encode() + recipe)
    for path in sorted(file for name in names for file in [context / name, *(context / name).rglob("*")] if file.is_file()):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(context)} {path.stat().st_mode & 0o111:o} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def _keep_only(newest: Path, pattern: str) -> None:
    for path in newest.parent.glob(pattern):
        if path != newest:
            path.unlink()


def _remove_store(store: Path) -> None:
    """Remove a store of buildah's; it mounts a folder of it on itself, and leaves that behind."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for mount in sorted((each for each in mounts if Path(each).is_relative_to(store)), reverse=True):
        subprocess.run(["umount", mount], check=True)
    shutil.rmtree(store)


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "coterie" / "images"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an advisory lock: test runs in parallel share one build. The kernel drops it when the holder dies."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


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
