"""Jobs made for measurements, run by `coterie run` as a user would."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

TASK = '''
import torch
from coterie_worker.training import Task

class Still(Task):
    """A model of `values` parameters that hardly trains: what is left is the federation."""

    def build_model(self, parameters):
        return torch.nn.Linear(parameters["values"] // 1000, 1000, bias=False)

    def load_data(self, path, split):
        return torch.zeros(1, 1), torch.zeros(1)

    @torch.no_grad()
    def train_round(self, model, this):
        next(model.parameters()).add_(0.001)
'''


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run came to; sizes in bytes."""

    result: dict[str, Any]
    rounds: list[dict[str, Any]]
    aggregator_peak: int

    @property
    def seconds(self) -> list[float]:
        """Of each round but the first, which carries the start of every client."""
        return [line["seconds"] for line in self.rounds[1:]]

    @property
    def accuracy(self) -> list[float]:
        return [line["accuracy"] for line in self.rounds]


def still(folder: Path, *, clients: int, values: int, rounds: int) -> Path:
    """Write a job of `clients` tenants whose model has `values` parameters; return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "still_task.py").write_text(TASK)
    tenants = [f"tenant-{number:02d}" for number in range(clients)]
    spec = {
        "rounds": rounds,
        "task": {"entrypoint": "still_task:Still", "parameters": {"values": values}},
        "participants": {"datasets": [{"namespace": tenant, "name": "none"} for tenant in tenants]},
        "privacy": {"mode": "None"},
        "output": {"persistentVolumeClaim": {"claimName": "models"}, "path": "still"},
    }
    objects = [
        {"apiVersion": "coterie.dev/v1alpha1", "kind": "FederatedJob", "metadata": {"name": "still", "namespace": "bench"}, "spec": spec}
    ]
    for tenant in tenants:
        (folder / "volumes" / tenant / "none").mkdir(parents=True, exist_ok=True)
        grant = {
            "source": {"persistentVolumeClaim": {"claimName": "none"}},
            "declaredRecords": 1,
            "grants": [{"jobs": {"namespaces": ["bench"]}, "images": ["*"]}],
        }
        head = {"apiVersion": "coterie.dev/v1alpha1", "kind": "FederatedDataset", "metadata": {"name": "none", "namespace": tenant}}
        objects.append({**head, "spec": grant})
    (folder / "job.yaml").write_text(yaml.safe_dump_all(objects))
    return folder


def run(folder: Path, output: Path) -> Outcome:
    """Run a folder's job to its end; raises CalledProcessError with what it said."""
    command = [str(Path(sys.executable).with_name("coterie")), "run", str(folder), "--output", str(output), "--overwrite"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    peak = _PeakOfAggregator(process.pid)
    said, _ = process.communicate()
    peak.stop()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, said)
    result = json.loads((output / "result.json").read_text())
    lines = [json.loads(line) for line in (output / "history.jsonl").read_text().splitlines()]
    return Outcome(result, lines, peak.bytes)


class _PeakOfAggregator(threading.Thread):
    """Watches the high-water mark of the aggregator's resident memory (VmHWM) among a process's descendants."""

    def __init__(self, root: int) -> None:
        super().__init__(daemon=True)
        self.bytes = 0
        self._root, self._done = psutil.Process(root), threading.Event()
        self.start()

    def run(self) -> None:
        while not self._done.wait(0.2):
            for pid in self._aggregators():
                self.bytes = max(self.bytes, high_water(pid))

    def stop(self) -> None:
        self._done.set()
        self.join()

    def _aggregators(self) -> list[int]:
        try:
            return [process.pid for process in self._root.children(recursive=True) if "aggregator" in process.cmdline()]
        except psutil.Error:
            return []  # processes end while we look


def high_water(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)
