"""What a cluster could leave on the machine, looked at before and after."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from tests.cluster import leftovers, network


def traces() -> dict[str, list[str]]:
    """Return links, network rules, kernel settings, mounts, control groups and folders that a cluster touches."""
    mounted = Path("/proc/self/mountinfo").read_text().splitlines()
    return {
        "links": sorted(path.name for path in Path("/sys/class/net").iterdir()),
        "rules": [rule for family in ("iptables", "ip6tables") for rule in _rules(family)],
        "settings": [f"{name}={value}" for name, value in network.settings().items()],
        "mounts": sorted(line.split()[4] for line in mounted if "/coterie-" in line.split()[4]),
        "control groups": [str(folder) for folder in leftovers.cgroup_folders()],
        "folders": sorted(set(leftovers.FOLDERS) - set(leftovers.absent())),
        "state": sorted(str(path) for path in Path("/var/lib").glob("coterie-*")),
    }


def _rules(family: str) -> list[str]:
    """Return rules and own chains, without counters and the tables' built-in chains, which appear when somebody looks."""
    if shutil.which(f"{family}-save") is None:
        return []
    saved = subprocess.run([f"{family}-save"], capture_output=True, text=True, check=True).stdout
    return [re.sub(r" \[\d+:\d+\]", "", line) for line in saved.splitlines() if re.match(r"-A|:\S+ -", line)]
