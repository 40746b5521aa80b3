"""buildah, as root and without a daemon, with a store of its own in which layers are cached."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

BUILD: Final = ("--isolation", "chroot", "--layers", "--force-rm", "--pull=false", "--format", "oci")
# zstd at its fastest: half the bytes to write and to read again, for a few seconds of work.
COMPRESSION: Final = ("--compression-format", "zstd", "--compression-level", "1")


class BuildahError(Exception):
    """buildah is not to be had, or refuses; the message says why."""


@dataclass(frozen=True, slots=True)
class Store:
    """A folder of buildah's, used by no one else."""

    folder: Path

    def run(self, *arguments: str) -> str:
        """Run buildah, saying what and how long; return its standard output. Raises BuildahError."""
        if os.geteuid() != 0:
            raise BuildahError("building images without a daemon needs root")
        if shutil.which("buildah") is None:
            raise BuildahError("buildah is not installed (on Debian: apt-get install buildah)")
        where = ["--root", str(self.folder), "--runroot", f"/run/coterie-images/{self.folder.name}", "--storage-driver", "overlay"]
        _say(f"buildah {' '.join(arguments)}")
        begin = time.monotonic()
        done = subprocess.run(["buildah", *where, *arguments], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BuildahError(f"buildah {arguments[0]}: exit status {done.returncode}: {(done.stdout + done.stderr).strip()[-3000:]}")
        _say(f"  {time.monotonic() - begin:.1f} s")
        return done.stdout

    def has(self, name: str) -> bool:
        return bool(self.run("images", "--quiet", "--filter", f"reference={name}").strip())

    def build(self, context: Path, name: str, *options: str) -> None:
        """Build the Dockerfile of a folder, reusing what layers it can."""
        self.run("bud", *BUILD, "--tag", name, *options, str(context))

    def unpack(self, tree: Path, name: str) -> None:
        """Make an image of a tar archive of a whole file system."""
        container = self.run("from", "scratch").strip()
        self.run("add", "--quiet", container, str(tree), "/")
        self.run("commit", "--quiet", "--rm", container, name)

    def export(self, name: str, archive: Path) -> None:
        """Write an image as an OCI archive, which appears whole or not at all."""
        unfinished = archive.with_suffix(".part")
        unfinished.unlink(missing_ok=True)
        self.run("push", "--quiet", *COMPRESSION, name, f"oci-archive:{unfinished}:{name}")
        unfinished.rename(archive)

    def configuration(self, name: str) -> dict[str, Any]:
        """Return an image's Env, Entrypoint, Cmd, WorkingDir, User and Labels."""
        found: dict[str, Any] = json.loads(self.run("inspect", "--type", "image", name))
        return dict(found["OCIv1"]["config"])

    def remove(self) -> None:
        """Delete the store; buildah mounts a folder of it on itself, and leaves that behind."""
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        for mount in sorted((each for each in mounts if Path(each).is_relative_to(self.folder)), reverse=True):
            subprocess.run(["umount", mount], check=True)
        shutil.rmtree(self.folder)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
