"""A replica of the operator as a process, as its Deployment would start it."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.cluster.controlplane import HOST, free_ports
from tests.cluster.processes import Process, Processes, wait_until

COMMAND: Final = (Path(sys.executable).with_name("coterie"), "operator")
# Small waits: a test's rounds take seconds, where a hospital's take minutes.
QUICK: Final[Mapping[str, str]] = {
    "COTERIE_PROBE_SECONDS": "0.5",
    "COTERIE_SETTLE_SECONDS": "5",
    "COTERIE_CLIENT_BACKOFF_SECONDS": "1",
    "COTERIE_CLIENT_BACKOFF_MAX_SECONDS": "5",
    "COTERIE_ASSEMBLY_RETRY_SECONDS": "2",
    "COTERIE_RETRY_MAX_SECONDS": "5",
}


@dataclass(slots=True)
class Replica:
    """One operator process; it can be killed and started again."""

    processes: Processes
    kubeconfig: Path
    name: str = "operator"
    settings: Mapping[str, str] = field(default_factory=lambda: QUICK)
    port: int = 0
    metrics_port: int = 0
    process: Process | None = None

    def start(self) -> None:
        """Start it and wait until it watches."""
        self.port, self.metrics_port = free_ports(2)
        ports = {"COTERIE_LISTEN": HOST, "COTERIE_HEALTH_PORT": str(self.port), "COTERIE_METRICS_PORT": str(self.metrics_port)}
        environment = {**self.settings, **ports, "KUBECONFIG": str(self.kubeconfig), "COTERIE_IDENTITY": self.name}
        self.process = self.processes.start(self.name, COMMAND, environment)
        wait_until(self.readiness, f"{self.name} is ready", watched=[self.process])

    def is_alive(self) -> bool:
        """Whether it has been started and not ended."""
        return self.process is not None and self.process.popen.poll() is None

    def readiness(self) -> str:
        """Return what `/readyz` says: `leading` or `standing by`; empty while it isn't ready."""
        try:
            with urllib.request.urlopen(f"http://{HOST}:{self.port}/readyz", timeout=2) as answer:
                return str(answer.read().decode().strip())
        except (urllib.error.URLError, OSError):
            return ""

    def lead(self, timeout_seconds: float = 30) -> None:
        """Wait until it leads."""
        assert self.process is not None
        wait_until(lambda: self.readiness() == "leading", f"{self.name} leads", timeout_seconds, [self.process])

    def kill(self) -> None:
        """SIGKILL: the lease is not handed back."""
        assert self.process is not None
        self.process.kill()

    def end(self) -> int:
        """SIGTERM; return the exit status."""
        assert self.process is not None
        return self.process.end()
