"""A Prometheus on this machine that scrapes what the chart's monitors would: the pods that the cluster has now.

Debian's build knows no clusters, so the test looks pods up and tells it by a file.
"""

from __future__ import annotations

import json
import shutil
import urllib.parse
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.cluster import chart
from tests.cluster.controlplane import HOST, free_ports
from tests.cluster.processes import Process, Processes, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.site import Site

PROGRAM: Final = shutil.which("prometheus")
RULES: Final = chart.CHART / "rules" / "coterie.yaml"
PODS: Final = "app.kubernetes.io/part-of=coterie"
LABELS: Final = ("job_namespace", "job_name")  # as the chart's PodMonitor takes them from a pod's own


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running Prometheus."""

    address: str
    process: Process
    targets: Path

    def discover(self, site: Site) -> None:
        """Scrape the pods that there are now and that name a port `metrics`."""
        groups = []
        for pod in site.cluster.get("pods", "--all-namespaces", "-l", PODS)["items"]:
            ports = [port for each in pod["spec"]["containers"] for port in each.get("ports", ()) if port.get("name") == "metrics"]
            if ports and (address := pod["status"].get("podIP")):
                own = pod["metadata"]["labels"]
                labels = {each: own[key] for each in LABELS if (key := f"coterie.dev/{each.replace('_', '-')}") in own}
                groups.append({"targets": [f"{address}:{ports[0]['containerPort']}"], "labels": labels})
        unfinished = self.targets.with_suffix(".new")
        unfinished.write_text(json.dumps(groups))
        unfinished.rename(self.targets)

    def sees(self, site: Site, expr: str, what: str) -> None:
        """Wait until an expression has a value."""

        def has_value() -> bool:
            self.discover(site)
            return bool(self._api("query", query=expr)["result"])

        site.waits(has_value, what)

    def rules(self) -> list[dict[str, Any]]:
        """Return every rule with its health."""
        return [rule for group in self._api("rules")["groups"] for rule in group["rules"]]

    def _api(self, path: str, **query: str) -> Any:
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]


@contextmanager
def running(folder: Path) -> Iterator[Prometheus]:
    """Run one with the chart's rules."""
    processes = Processes(folder)
    try:
        yield _start(folder, processes)
    finally:
        processes.end()


def _start(folder: Path, processes: Processes) -> Prometheus:
    assert PROGRAM is not None
    targets, config = folder / "targets.json", folder / "prometheus.json"
    targets.write_text("[]")
    discovery = {"files": [str(targets)], "refresh_interval": "2s"}
    scrape = {"job_name": "coterie", "honor_labels": True, "file_sd_configs": [discovery]}
    timing = {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "2s"}
    config.write_text(json.dumps({"global": timing, "rule_files": [str(RULES)], "scrape_configs": [scrape]}))
    address = f"{HOST}:{free_ports(1)[0]}"
    flags = [f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={address}"]
    found = Prometheus(address, processes.start("prometheus", [PROGRAM, *flags]), targets)
    wait_until(lambda: _answers(found), "Prometheus answers", watched=[found.process])
    return found


def _answers(prometheus: Prometheus) -> bool:
    try:
        with urllib.request.urlopen(f"http://{prometheus.address}/-/ready", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
