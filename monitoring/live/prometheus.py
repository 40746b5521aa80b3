"""A Prometheus of one's own: scrapes each second, evaluates the chart's rules, and is asked over loopback."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import yaml

from monitoring.files import ROOT

if TYPE_CHECKING:
    from types import TracebackType

PROGRAM: Final = shutil.which("prometheus")
HOST: Final = "127.0.0.1"
RULES: Final = ROOT / "charts" / "coterie" / "rules" / "coterie.yaml"
WINDOW: Final = "10s"  # what Grafana would take for $__rate_interval
START_SECONDS: Final = 30
Sample = dict[str, Any]


@dataclass(slots=True)
class Prometheus:
    """Runs while it is entered.

    Attributes:
      folder: of its configuration, data and log.
      operators: addresses that have the operator's metrics.
      aggregators: a file that lists the aggregators.
    """

    folder: Path
    operators: Sequence[str]
    aggregators: Path
    _address: str = ""
    _process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if PROGRAM is None:
            raise FileNotFoundError("prometheus is not installed (Debian: apt-get install prometheus)")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._configure()
        self._address = f"{HOST}:{_free_port()}"
        log = self.folder / "prometheus.log"
        with log.open("wb") as output:
            self._process = subprocess.Popen(self._command(), stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)  # noqa: S603
        self._await_start(log)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def now(self, expr: str, at: float | None = None) -> list[Sample]:
        """Return the newest values of an expression, or those of a moment."""
        found: list[Sample] = self.api("query", query=expr, **({} if at is None else {"time": str(at)}))["result"]
        return found

    def over(self, expr: str, start: float, end: float, step: float) -> list[Sample]:
        """Return the values of an expression over time."""
        found: list[Sample] = self.api("query_range", query=expr, start=str(start), end=str(end), step=str(step))["result"]
        return found

    def api(self, path: str, **query: str) -> Any:
        """Ask its API."""
        url = f"http://{self._address}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def _command(self) -> list[str]:
        options = {"config.file": self.folder / "prometheus.yml", "storage.tsdb.path": self.folder / "data"}
        return [str(PROGRAM), *(f"--{name}={value}" for name, value in options.items()), f"--web.listen-address={self._address}"]

    def _configure(self) -> None:
        every = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
        scrapes = [
            {"job_name": "coterie", "static_configs": [{"targets": list(self.operators)}]},
            {"job_name": "coterie-aggregators", "file_sd_configs": [{"files": [str(self.aggregators)], "refresh_interval": "1s"}]},
        ]
        text = yaml.safe_dump({"global": every, "rule_files": [str(RULES)], "scrape_configs": scrapes})
        (self.folder / "prometheus.yml").write_text(text)

    def _await_start(self, log: Path) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while True:
            with suppress(OSError):
                self.now("up")
                return
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__(None, None, None)
                raise RuntimeError(f"prometheus didn't start:\n{log.read_text()[-2000:]}")
            time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind((HOST, 0))
        port: int = found.getsockname()[1]
        return port
