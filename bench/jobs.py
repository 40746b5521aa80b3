"""Jobs made for measurements, run by `coterie run` as a user would."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import psutil
import yaml

if TYPE_CHECKING:
    from collections.abc import Callable

LOOK_SECONDS: Final = 0.005
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


class Job:
    """`coterie run` on a folder, started at once; its processes end with the block."""

    def __init__(self, folder: Path, output: Path) -> None:
        self._output = output
        self._command = [str(Path(sys.executable).with_name("coterie")), "run", str(folder), "--output", str(output), "--overwrite"]

    def __enter__(self) -> Self:
        self._said = tempfile.TemporaryFile("w+")
        self._process = psutil.Popen(self._command, stdout=self._said, stderr=subprocess.STDOUT)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            each(self._process, psutil.Process.resume)
            self._process.terminate()
            self._process.wait()
        self._said.close()

    def next_round(self) -> float:
        """Let it run to the end of one more round, then stand still; return the seconds. Raises CalledProcessError if it ended."""
        done, begin = self.rounds_done(), time.perf_counter()
        each(self._process, psutil.Process.resume)
        while self.rounds_done() <= done:
            if self._process.poll() is not None:
                raise self._failed()
            time.sleep(LOOK_SECONDS)
        each(self._process, psutil.Process.suspend)
        return time.perf_counter() - begin  # with what it has done of the next round until it stood still

    def rounds_done(self) -> int:
        """By the aggregator's own history, each line of which is written once more when its model is evaluated."""
        found = next(self._output.glob("volumes/*/*-aggregator-*/history.jsonl"), None)
        lines = found.read_bytes().split(b"\n")[:-1] if found is not None else []
        return max((json.loads(line)["round"] for line in lines), default=0)

    def finish(self) -> Outcome:
        """Let it run to its end. Raises CalledProcessError."""
        each(self._process, psutil.Process.resume)
        peak = _PeakOfAggregator(self._process.pid)
        self._process.wait()
        peak.stop()
        if self._process.returncode:
            raise self._failed()
        result = json.loads((self._output / "result.json").read_text())
        lines = [json.loads(line) for line in (self._output / "history.jsonl").read_text().splitlines()]
        return Outcome(result, lines, peak.bytes)

    def _failed(self) -> subprocess.CalledProcessError:
        self._said.seek(0)
        return subprocess.CalledProcessError(self._process.returncode, self._command, self._said.read())


def each(process: psutil.Process, how: Callable[[psutil.Process], None]) -> None:
    """Resume or suspend a process and all that it started, directly or not: itself first, for it might start more."""
    for one in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            how(one)


def run(folder: Path, output: Path) -> Outcome:
    """Run a folder's job to its end; raises CalledProcessError with what it said."""
    with Job(folder, output) as job:
        return job.finish()


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
