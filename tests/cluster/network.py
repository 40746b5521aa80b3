"""The bridge that the cluster's addresses lie on, the kernel's settings it needs, and how both go again."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Final

from tests.cluster import layout

# What the kubelet, kube-proxy and this tool set; the values before are put back.
SETTINGS: Final = (
    "net/ipv4/ip_forward",
    "net/ipv4/conf/all/route_localnet",
    "net/bridge/bridge-nf-call-iptables",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
_OURS: Final = ["-s", layout.POD_RANGE, "!", "-d", layout.POD_RANGE, "-m", "comment", "--comment", "coterie", "-j", "MASQUERADE"]
_CHAIN: Final = re.compile(r"^:(KUBE-\S+) ")
_JUMP: Final = re.compile(r"^-A (?!KUBE-)(\S+ .*-j KUBE-\S+.*)$")


def settings() -> dict[str, str]:
    """Return the kernel's settings as they are now."""
    paths = {name: Path("/proc/sys") / name for name in SETTINGS}
    return {name: path.read_text().strip() for name, path in paths.items() if path.exists()}


def put_back(before: dict[str, str]) -> None:
    """Set the kernel's settings to what they were."""
    now = settings()
    for name, value in before.items():
        if now.get(name) != value:
            (Path("/proc/sys") / name).write_text(value)


def up() -> None:
    """Make the bridge and let pods reach what the machine reaches; what is there already stays."""
    if not _has_link(layout.BRIDGE):
        _run("ip", "link", "add", layout.BRIDGE, "type", "bridge")
    if layout.ADDRESS not in _run("ip", "-4", "addr", "show", "dev", layout.BRIDGE):
        _run("ip", "addr", "add", f"{layout.ADDRESS}/24", "dev", layout.BRIDGE)
    _run("ip", "link", "set", layout.BRIDGE, "up")
    for name in ("net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables"):
        if (path := Path("/proc/sys") / name).exists():
            path.write_text("1")
    if _try("iptables", "-w", "-t", "nat", "-C", "POSTROUTING", *_OURS).returncode != 0:
        _run("iptables", "-w", "-t", "nat", "-A", "POSTROUTING", *_OURS)


def down() -> None:
    """Remove the bridge with the pods' links on it, and every rule of the node's programs; nothing there is fine."""
    if _has_link(layout.BRIDGE):
        for link in json.loads(_run("ip", "-j", "link", "show", "master", layout.BRIDGE) or "[]"):
            _run("ip", "link", "delete", link["ifname"])
        _run("ip", "link", "delete", layout.BRIDGE)
    while _try("iptables", "-w", "-t", "nat", "-D", "POSTROUTING", *_OURS).returncode == 0:
        pass
    for family in ("iptables", "ip6tables"):
        if wanted := removal(_try(f"{family}-save").stdout):
            _run(f"{family}-restore", "--noflush", "-w", stdin=wanted)


def removal(saved: str) -> str:
    """Return the input of `iptables-restore --noflush` that takes Kubernetes' chains out of `iptables-save`'s output; empty if none is."""
    tables: list[str] = []
    for table in re.findall(r"^\*.*?^COMMIT$", saved, re.MULTILINE | re.DOTALL):
        lines = table.splitlines()
        chains = [found[1] for line in lines if (found := _CHAIN.match(line))]
        if chains:
            jumps = [f"-D {found[1]}" for line in lines if (found := _JUMP.match(line))]
            flushes = [f":{chain} - [0:0]" for chain in chains]
            tables += [lines[0], *flushes, *jumps, *(f"-X {chain}" for chain in chains), "COMMIT"]
    return "".join(f"{line}\n" for line in tables)


def has_foreign_rules() -> bool:
    """Whether another Kubernetes node's rules are here, while no cluster of ours is."""
    if layout.ACTIVE.exists():
        return False
    try:
        saved = _try("iptables-save", "-t", "nat").stdout
    except FileNotFoundError:
        return False
    return removal(saved) != ""


def _has_link(name: str) -> bool:
    return (Path("/sys/class/net") / name).exists()


def _run(*command: str, stdin: str | None = None) -> str:
    done = _try(*command, stdin=stdin)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def _try(*command: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PATH": layout.PROGRAMS_PATH}
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, env=environment)
