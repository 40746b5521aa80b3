"""One command in one of our images, by runc alone, as strictly as a cluster may run it: no node, no network, a read-only root.

python -m tests.cluster.image_run worker python -m coterie_worker --help
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any, Final

from tests.cluster import images

ARBITRARY_USER: Final = 1000650000  # of the size that OpenShift gives each namespace
SECONDS: Final = 120
NAMESPACES: Final = ("pid", "mount", "ipc", "uts", "network")


def run(target: str, command: list[str] | None = None, *, user: int = ARBITRARY_USER) -> subprocess.CompletedProcess[str]:
    """Run a command, or the image's own, as that user and group 0; of all paths only /tmp can be written.

    Raises images.ImagesUnavailableError.
    """
    with images.mounted(target) as (root, config), tempfile.TemporaryDirectory(prefix="coterie-run-") as folder:
        arguments = command or [*config.get("Entrypoint", []), *config.get("Cmd", [])]
        spec = _spec(root, arguments, user, config)
        (Path(folder) / "config.json").write_text(json.dumps(spec))
        name = f"coterie-{uuid.uuid4()}"
        begin = ["runc", "--root", f"{folder}/state", "run", "--bundle", folder, name]
        return subprocess.run(begin, capture_output=True, stdin=subprocess.DEVNULL, text=True, check=False, timeout=SECONDS)


def _spec(root: Path, arguments: list[str], user: int, config: dict[str, Any]) -> dict[str, Any]:
    """Return runc's configuration: what Pod Security `restricted` leaves of a container, and the image's own environment."""
    strict = ["nosuid", "noexec", "nodev"]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": user, "gid": 0},
            "args": arguments,
            "env": config.get("Env", []),
            "cwd": config.get("WorkingDir") or "/",
            "noNewPrivileges": True,
            "capabilities": {kind: [] for kind in ("bounding", "effective", "permitted")},
        },
        "root": {"path": str(root), "readonly": True},
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
    done = run(sys.argv[1], sys.argv[2:])
    print(done.stdout, end="")
    print(done.stderr, end="", file=sys.stderr)
    sys.exit(done.returncode)
