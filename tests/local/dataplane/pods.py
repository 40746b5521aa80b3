"""A job's data plane as real processes on loopback, each with a pod's root folder, written by hand."""

from __future__ import annotations

import base64
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.local.dataplane import dying
from tests.local.dataplane.authority import Authority
from tests.local.dataplane.nursery import Child, Nursery

from coterie_api.fields import canonical, parse
from coterie_api.names import FILE_JOB, FILE_ROLE, PORT_STATUS
from coterie_api.podconfig import Aggregation, AggregatorRole, ClientRole, JobConfig, RosterEntry, TenantPolicy
from coterie_api.progress import Progress, Termination
from coterie_api.v1alpha1.types import Evaluation, Strategy, Task, Training

if TYPE_CHECKING:
    from collections.abc import Callable

TASKS = Path(__file__).parent / "tasks"
DYING = Path(dying.__file__)
PATIENCE_SECONDS = 60.0
JOB_UID = "6a9f0c1e-0000-4000-8000-000000000001"
SERVICE = "tiny-aggregator.research.svc"
_addresses = count(1)


def fresh_address() -> str:
    """A loopback address that no other test of this machine uses."""
    number = next(_addresses)
    return f"127.{64 + os.getpid() % 64}.{os.getpid() // 64 % 256}.{number}"


def job_of(keys: list[Ed25519PrivateKey], **changes: Any) -> JobConfig:
    """A job that trains a line in an instant; the threshold is the least that the protocol allows."""
    n = len(keys)
    roster = tuple(
        RosterEntry(f"tenant-{i}", "line", base64.b64encode(key.public_key().public_bytes_raw()).decode()) for i, key in enumerate(keys)
    )
    threshold = max(3, n // 2 + 1)
    job = JobConfig(
        job_uid=JOB_UID,
        job_namespace="research",
        job_name="tiny",
        rounds=3,
        seed=7,
        task=Task("tiny:Line"),
        training=Training(batch_size=16),
        strategy=Strategy(),
        aggregation=Aggregation("SecAggPlus", threshold, 0, threshold),
        roster=roster,
        min_clients=threshold,
        round_deadline_seconds=60,
        assembly_deadline_seconds=60,
        evaluation=Evaluation(),
    )
    return replace(job, **changes)


def wait_for(holds: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS) -> Any:
    """Wait until `holds` returns something true, and return it."""
    end = time.monotonic() + seconds
    pause = threading.Event()
    while not (found := holds()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        pause.wait(0.01)
    return found


@dataclass
class Pod:
    """One process and its folder."""

    name: str
    root: Path
    role: str
    address: str
    environment: dict[str, str]
    nursery: Nursery | None = None  # None: a process of its own from the first import
    process: subprocess.Popen[bytes] | Child | None = None
    log_level: str = "DEBUG"

    def start(self) -> None:
        arguments = [self.role, f"--host={self.address}", f"--log-level={self.log_level}"]
        if self.nursery is not None:
            self.process = self.nursery.start(arguments, self.environment, str(self.root), str(self.root / "log"))
            return
        with (self.root / "log").open("ab") as log:
            program = [str(DYING)] if dying.VARIABLE in self.environment else ["-m", "coterie_worker"]
            command = [sys.executable, *program, *arguments]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=self.environment, cwd=self.root)

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def dies(self, death: dying.Death) -> None:
        """Let the next process kill itself there."""
        self.environment.update(death.environment)

    def has_died(self) -> None:
        """Wait for that, and let the process after it live."""
        assert self.wait() == -signal.SIGKILL, self.log
        del self.environment[dying.VARIABLE]

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Wait for the exit code."""
        assert self.process is not None
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {seconds} s\n{self.log}") from None

    @property
    def log(self) -> str:
        path = self.root / "log"
        return path.read_text() if path.exists() else ""

    @property
    def last_word(self) -> Termination:
        return parse(Termination, json.loads((self.root / "dev/termination-log").read_bytes()), where="termination")

    def says(self, text: str) -> None:
        """Wait until the log holds a text."""
        wait_for(lambda: text in self.log, f"{self.name} says {text!r}")

    @property
    def reached(self) -> Path:
        """Where the task says that it is training; see tasks/tiny.py."""
        return self.place("/data") / "reached"

    def misbehave(self, how: str) -> None:
        """Tell the task in this pod how; see tasks/tiny.py."""
        (self.place("/data") / "misbehave").write_text(how)

    def behave(self) -> None:
        (self.place("/data") / "misbehave").unlink()

    def place(self, mount: str) -> Path:
        return self.root / mount.lstrip("/")


@dataclass
class DataPlane:
    """All processes of one job."""

    folder: Path
    clients: int = 3
    changes: dict[str, Any] = field(default_factory=dict)
    has_evaluator: bool = False
    policy: TenantPolicy = field(default_factory=TenantPolicy)
    tasks: Path = TASKS
    nursery: Nursery | None = None

    def __post_init__(self) -> None:
        self.authority = Authority()
        self.keys = [Ed25519PrivateKey.generate() for _ in range(self.clients)]
        self.job = job_of(self.keys, **self.changes)
        self.address = fresh_address()
        self.checkpoint = self.folder / "checkpoint"
        self.output = self.folder / "output"
        self.evaluation = self.folder / "evaluation"
        for place in (self.checkpoint, self.output, self.evaluation):
            place.mkdir(parents=True)
        self.operator = self.authority.issue(uri="coterie://operator")
        role = AggregatorRole("tiny", has_output=True, has_evaluator=self.has_evaluator)
        self.aggregator = self._pod("aggregator", role)
        pair = self.authority.issue(dns=SERVICE, uri=f"coterie://job/{JOB_UID}/aggregator")
        (self.aggregator.place("/etc/coterie/tls") / "tls.crt").write_bytes(pair.certificate)
        (self.aggregator.place("/etc/coterie/tls") / "tls.key").write_bytes(pair.key)
        self.sidecars: list[Pod] = []
        self.members = [self._client(i) for i in range(self.clients)]

    def initialize(self) -> None:
        """Run the init container to its end."""
        init = replace(self.aggregator, name="initialize", role="initialize", nursery=self.nursery)
        init.start()
        assert init.wait() == 0, init.log

    def start(self) -> None:
        """Everything at once, as a cluster would."""
        self.initialize()
        self.aggregator.start()
        for member in self.members:
            member.start()

    def evaluator(self) -> Pod:
        """The sidecar, with public data of its own, in the aggregator's pod."""
        pod = replace(self.aggregator, name="evaluator", role="evaluator", process=None, nursery=self.nursery)
        pod.place("/data").mkdir()
        x = np.random.default_rng(99).normal(size=(30, 8)).astype(np.float32)
        np.savez(pod.place("/data") / "test.npz", x=x, y=(x @ np.arange(8, dtype=np.float32) / 8 + 1).reshape(-1, 1))
        self.sidecars.append(pod)
        return pod

    def stop(self) -> None:
        for pod in (self.aggregator, *self.members, *self.sidecars):
            if pod.process is not None and pod.process.poll() is None:
                with suppress(ProcessLookupError):
                    pod.send(signal.SIGCONT)
                pod.kill()

    def status(self) -> Progress | None:
        """What the operator reads; None while the aggregator isn't there."""
        context = ssl.create_default_context(cadata=self.authority.certificate.decode())
        context.check_hostname = False  # urllib verifies the address it dials; the operator's probe verifies the name
        pair = self.folder / "operator.pem"
        pair.write_bytes(self.operator.certificate + self.operator.key)
        context.load_cert_chain(pair)
        try:
            with urllib.request.urlopen(f"https://{self.address}:{PORT_STATUS}/status", context=context, timeout=5) as answer:
                return parse(Progress, json.loads(answer.read()), where="status")
        except OSError:
            return None

    def until(self, holds: Callable[[Progress], Any], what: str) -> Progress:
        """Wait until the status is so."""

        def seen() -> Progress | None:
            progress = self.status()
            return progress if progress is not None and holds(progress) else None

        return wait_for(seen, f"{what}\n{self.aggregator.log}")

    @property
    def slots(self) -> list[int]:
        """Slots that the aggregator has opened, in order."""
        lines = [json.loads(line) for line in (self.checkpoint / "slots.log").read_text().splitlines()]
        return [line["slot"] for line in lines if "slot" in line]

    @property
    def history(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.output / "tiny/history.jsonl").read_text().splitlines()]

    def model(self) -> dict[str, np.ndarray]:
        from safetensors.numpy import load_file

        return load_file(self.output / "tiny/model.safetensors")

    def _client(self, index: int) -> Pod:
        pod = self._pod(f"client-{index}", ClientRole(index, SERVICE, self.policy, has_state=True))
        identity = pod.place("/etc/coterie/identity")
        identity.mkdir()
        pem = self.keys[index].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (identity / "private.pem").write_bytes(pem)
        pod.place("/state").mkdir()
        pod.place("/data").mkdir()
        generator = np.random.default_rng(index)
        x = generator.normal(size=(20 + 4 * index, 8)).astype(np.float32)
        y = (x @ np.arange(8, dtype=np.float32) / 8 + index).reshape(-1, 1)
        np.savez(pod.place("/data") / "train.npz", x=x, y=y)
        pod.place("/etc/hosts").write_text(f"{self.address} {SERVICE}\n")
        return pod

    def _pod(self, name: str, role: Any) -> Pod:
        root = self.folder / name
        config, tls = root / "etc/coterie/config", root / "etc/coterie/tls"
        config.mkdir(parents=True)
        tls.mkdir()
        (root / "dev").mkdir()
        (config / FILE_JOB).write_bytes(canonical(self.job))
        (config / FILE_ROLE).write_bytes(canonical(role))
        (tls / "ca.crt").write_bytes(self.authority.certificate)
        if name == "aggregator":
            for mount in ("checkpoint", "output", "evaluation"):
                (root / mount).symlink_to(self.folder / mount)
        path = os.pathsep.join(filter(None, (str(self.tasks), os.environ.get("PYTHONPATH"))))  # pods run the tree that is tested
        environment = {**os.environ, "COTERIE_ROOT": str(root), "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        address = self.address if name == "aggregator" else "127.0.0.1"
        return Pod(
            name,
            root,
            "aggregator" if name == "aggregator" else "client",
            address,
            environment,
            None if name == "aggregator" else self.nursery,
        )
