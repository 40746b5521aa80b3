"""One command in one of our images, by runc alone, as strictly as a cluster may run it: no node, no network, a read-only root.

python -m tests.cluster.image_run worker python -m coterie_worker --help
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.cluster import images

if TYPE_CHECKING:
    from collections.abc import Iterator

ARBITRARY_USER: Final = 1000650000  # of the size that OpenShift gives each namespace
SECONDS: Final = 120
NAMESPACES: Final = ("pid", "mount", "ipc", "uts", "network")


@dataclass(frozen=True, slots=True)
class Image:
    """A mounted image: its root file system, and its Env, Entrypoint, Cmd, WorkingDir, User and Labels."""

    root: Path
    config: dict[str, Any]

    def run(self, *command: str, user: int = ARBITRARY_USER) -> subprocess.CompletedProcess[str]:
        """Run a command, or the image's own, as that user and group 0; of all paths only /tmp can be written."""
        arguments = list(command) or [*self.config.get("Entrypoint", []), *self.config.get("Cmd", [])]
        with tempfile.TemporaryDirectory(prefix="coterie-run-") as folder:
            (Path(folder) / "config.json").write_text(json.dumps(_spec(self, arguments, user)))
            begin = ["runc", "--root", f"{folder}/state", "run", "--bundle", folder, f"coterie-{uuid.uuid4()}"]
            return subprocess.run(begin, capture_output=True, stdin=subprocess.DEVNULL, text=True, check=False, timeout=SECONDS)


@contextmanager
def image(target: str) -> Iterator[Image]:
    """Mount one of our images, building it first if need be. Raises images.ImagesUnavailableError."""
    with images.mounted(target) as (root, config):
        yield Image(root, config)


def _spec(image: Image, arguments: list[str], user: int) -> dict[str, Any]:
    """Return runc's configuration: what Pod Security `restricted` leaves of a container, and the image's own environment."""
    strict = ["nosuid", "noexec", "nodev"]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": user, "gid": 0},
            "args": arguments,
            "env": image.config.get("Env", []),
            "cwd": image.config.get("WorkingDir") or "/",
            "noNewPrivileges": True,
            "capabilities": {kind: [] for kind in ("bounding", "effective", "permitted")},
        },
        "root": {"path": str(image.root), "readonly": True},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": strict},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": [*strict, "mode=1777", "size=65536k"]},
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "mode=777", "size=262144k"]},
        ],
        "linux": {
            "namespaces": [{"type": kind} for kind in NAMESPACES],
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    }


if __name__ == "__main__":
    with image(sys.argv[1]) as chosen:
        done = chosen.run(*sys.argv[2:])
    print(done.stdout, end="")
    print(done.stderr, end="", file=sys.stderr)
    sys.exit(done.returncode)
