"""A cluster as its administrator reaches it: kubectl, and kubeconfigs for others."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.cluster import binaries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.cluster.processes import Process


@dataclass(frozen=True, slots=True)
class Administrator:
    """Where a cluster answers, and with what rights it is asked."""

    folder: Path
    server: str
    authority: Path
    kubeconfig: Path

    def kubectl(self, *arguments: str, stdin: str | None = None, kubeconfig: Path | None = None) -> str:
        """Run kubectl and return what it prints. Raises AssertionError with what kubectl says."""
        done = self.try_kubectl(*arguments, stdin=stdin, kubeconfig=kubeconfig)
        if done.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr}{done.stdout}")
        return done.stdout

    def try_kubectl(self, *arguments: str, stdin: str | None = None, kubeconfig: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run kubectl and return how it ended, for refusals that a test wants to see."""
        command = [str(binaries.locate(binaries.KUBECTL)), f"--kubeconfig={kubeconfig or self.kubeconfig}", *arguments]
        environment = os.environ | {"KUBECACHEDIR": str(self.folder / "kubectl-cache")}
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=300, env=environment)

    def get(self, *arguments: str) -> Any:
        """Return what `kubectl get … -o json` shows."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def programs(self) -> Sequence[Process]:
        """Return the cluster's programs that whoever waits for something should watch: none where they look after themselves."""
        return ()

    def kubeconfig_of(self, namespace: str, service_account: str) -> Path:
        """Write a kubeconfig that holds a service account's own token and nothing else."""
        token = self.kubectl("create", "token", service_account, "-n", namespace, "--duration=2h").strip()
        path = self.folder / f"{namespace}-{service_account}.kubeconfig"
        write_kubeconfig(path, self.server, self.authority, token)
        return path


def write_kubeconfig(path: Path, server: str, authority: Path, token: str) -> None:
    """Write a kubeconfig for one bearer token, readable by its owner alone."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": server, "certificate-authority": str(authority)}}],
        "users": [{"name": "test", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(content, indent=1))
