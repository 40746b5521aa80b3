"""`coterie run` as a person uses it: a folder in, a model out, and nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING

import psutil
import pytest
from tests.local.workspaces import TENANTS, dataset, job, write

from coterie_api.history import decode
from coterie_operator.local.output import OURS
from coterie_operator.local.run import ExitStatus, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.local

COTERIE = [sys.executable, "-m", "coterie_operator.cli", "run"]
SECONDS = 120.0


def start(workspace: Path, output: Path, *options: str) -> subprocess.Popen[str]:
    argv = [*COTERIE, str(workspace), "--output", str(output), *options]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, error = process.communicate(timeout=SECONDS)
    return process.returncode, out, error


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, tuple[int, str, str]]:
    """A workspace, the output of one run of it, and how the run ended."""
    folder = tmp_path_factory.mktemp("done")
    workspace, output = write(folder / "line"), folder / "out"
    return workspace, output, finish(start(workspace, output))


def test_a_job_succeeds_and_leaves_model_history_result_and_report(done) -> None:
    _, output, (status, out, error) = done
    result = json.loads((output / "result.json").read_text())
    conditions = {c["type"]: c["status"] for c in result["job"]["status"]["conditions"]}

    assert (status, error) == (0, "")
    assert "round 3/3" in out
    assert (result["schema"], result["exitStatus"]) == ("coterie/result/v1", 0)
    assert (conditions["Succeeded"], conditions["Failed"]) == ("True", "False")
    assert result["job"]["kind"] == "FederatedJob"
    assert result["totals"]["rounds"] == 3
    assert len(result["datasets"]) == 3
    told = [dataset["status"] for dataset in result["datasets"]]
    assert [(status["conditions"][0]["reason"], status["activeJobs"]) for status in told] == [("Accepted", 0)] * 3


def test_the_history_has_one_line_for_each_round(done) -> None:
    _, output, _ = done
    lines = [decode(line) for line in (output / "history.jsonl").read_bytes().splitlines(keepends=True)]

    assert [line.round for line in lines] == [1, 2, 3]
    assert all(line.survivors == 3 and line.accuracy is not None for line in lines)


def test_the_report_shows_five_plots_and_asks_for_nothing_from_elsewhere(done) -> None:
    _, output, _ = done
    page = (output / "report.html").read_text()

    assert page.count("<figure>") == page.count("</svg>") == 5
    assert "no values" not in page
    assert not any(word in page for word in ("http:", "https:", "<script", "<link", "<img", "@import", "url("))


def test_the_model_loads_without_coterie(done) -> None:
    _, output, _ = done
    program = (
        "import sys, torch; from safetensors.torch import load_file; "
        "print(torch.nn.Linear(4, 3).load_state_dict(load_file(sys.argv[1]), strict=True)); "
        "assert not any(name.startswith('coterie') for name in sys.modules)"
    )
    argv = [sys.executable, "-c", program, str(output / "model.safetensors")]

    assert "All keys matched" in subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def test_no_private_key_is_left_in_the_output(done) -> None:
    _, output, _ = done
    files = [path for path in output.rglob("*") if path.is_file()]

    assert files
    assert not [path for path in files if b"PRIVATE KEY" in path.read_bytes()]
    assert not (output / ".pods").exists()


def test_a_second_run_in_the_same_folder_is_refused_and_changes_nothing(done) -> None:
    workspace, output, _ = done
    before = {path: path.read_bytes() for path in output.iterdir() if path.is_file()}
    status, out, error = finish(start(workspace, output))

    assert (status, out) == (2, "")
    assert "--overwrite" in error
    assert before == {path: path.read_bytes() for path in output.iterdir() if path.is_file()}


def test_overwriting_replaces_the_earlier_run_and_leaves_other_files_alone(tmp_path: Path) -> None:
    output = tmp_path / "out"
    (output / "logs").mkdir(parents=True)
    (output / "logs" / "old").touch()
    (output / "notes.txt").write_text("mine")
    status, _, _ = finish(start(write(tmp_path / "line", job(rounds=1), *map(dataset, TENANTS)), output, "--overwrite"))

    assert status == 0
    assert not (output / "logs" / "old").exists()
    assert (output / "notes.txt").read_text() == "mine"


def test_a_task_that_raises_fails_the_job_and_tells_no_data(tmp_path: Path) -> None:
    broken = job(task={"entrypoint": "line_task:Line", "parameters": {"behavior": "raise"}})
    status, out, error = finish(start(write(tmp_path / "line", broken, *map(dataset, TENANTS)), tmp_path / "out"))
    result = (tmp_path / "out" / "result.json").read_text()

    assert status == 1
    assert "ValueError" in error
    assert "line_task.py" in error
    assert "Smith" not in out + error + result + (tmp_path / "out" / "report.html").read_text()
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_a_task_that_can_not_be_imported_fails_the_job_before_any_tenants_pod_starts(tmp_path: Path) -> None:
    broken = job(task={"entrypoint": "nowhere:Line"})
    status, _, error = finish(start(write(tmp_path / "line", broken, *map(dataset, TENANTS)), tmp_path / "out"))

    assert status == 1
    assert "could not be imported" in error
    assert not [folder for folder in (tmp_path / "out" / "logs").iterdir() if folder.name.startswith(TENANTS)]


def test_a_job_that_nobody_could_ever_start_is_refused_at_once_with_a_line_for_each_data_set(tmp_path: Path) -> None:
    """On a cluster it waits for its owners; here nobody could grant anything while it does."""
    narrow = dataset("green", grants=[{"jobs": {"namespaces": ["research"]}, "images": ["registry.example/other:1"]}])
    workspace = write(tmp_path / "line", job(clients={"image": "registry.example/train:1"}), narrow, dataset("blue"))
    status, out, error = finish(start(workspace, tmp_path / "out"))
    red, green = error.splitlines()[-2:]

    assert (status, out) == (2, "")
    assert "research/line would wait for ever: 1 of 3 data sets can take part; 3 are needed" in error
    assert f"red/data: no FederatedDataset of this name in {workspace}" in red
    assert "green/data: no grant of it is in force" in green
    assert "registry.example/train:1" in green
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


# -- ends before the job's


def slow(folder: Path) -> Path:
    """A workspace whose job would take minutes."""
    sleepy = job(rounds=500, task={"entrypoint": "line_task:Line", "parameters": {"behavior": "sleep"}})
    return write(folder / "line", sleepy, *map(dataset, TENANTS))


def descendants(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


Running = tuple[subprocess.Popen[str], list[psutil.Process], str]


@contextlib.contextmanager
def in_the_middle(folder: Path) -> Iterator[Running]:
    """A run in the middle of its rounds, the processes that belong to it, and what it has said."""
    process = start(slow(folder), folder / "out")
    said = ""
    while "round 1/500" not in said:
        said += process.stdout.readline()
    processes = descendants(process)
    assert len(processes) >= 5  # spawner, aggregator, three clients
    yield process, processes, said
    for left in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            left.kill()
    process.kill()
    process.communicate()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    with in_the_middle(tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Running]]:
    """Like `running`, with its folder; for tests that leave it as it is."""
    folder = tmp_path_factory.mktemp("busy")
    with in_the_middle(folder) as found:
        yield folder, found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_whole_files_and_no_process(running, tmp_path: Path, number: signal.Signals) -> None:
    process, processes, _ = running
    process.send_signal(number)
    status, _, _ = finish(process)
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    lines = (tmp_path / "out" / "history.jsonl").read_bytes().splitlines(keepends=True)

    assert status == 130
    assert not [left for left in processes if left.is_running()]
    assert result["exitStatus"] == 130
    assert [decode(line).round for line in lines] == list(range(1, len(lines) + 1))
    assert lines
    assert {path.name for path in (tmp_path / "out").iterdir()} <= {*OURS, "volumes", "logs"}


def test_a_killed_run_leaves_no_process_and_its_folder_can_be_used_again(running: Running, tmp_path: Path) -> None:
    process, processes, _ = running
    process.kill()
    process.wait()
    _, left = psutil.wait_procs(processes, timeout=20)
    workspace = write(tmp_path / "line", job(rounds=1), *map(dataset, TENANTS))

    assert not left
    assert finish(start(workspace, tmp_path / "out"))[0] == 2
    assert finish(start(workspace, tmp_path / "out", "--overwrite"))[0] == 0


def test_metrics_are_served_on_loopback_alone(busy) -> None:
    _, (_, _, said) = busy
    url = next(line.removeprefix("metrics: ") for line in said.splitlines() if line.startswith("metrics: "))
    with urllib.request.urlopen(url) as answer:
        page = answer.read().decode()

    assert url.startswith("http://127.0.0.1:")
    assert 'coterie_jobs{state="Running"} 1.0' in page


def test_two_runs_never_share_an_output_folder(busy) -> None:
    folder, _ = busy
    status, _, error = finish(start(folder / "line", folder / "out", "--overwrite"))

    assert status == 2
    assert "another run writes" in error


# -- from Python


async def test_a_notebook_can_run_a_job_in_its_running_loop(tmp_path: Path) -> None:
    assert asyncio.get_running_loop().is_running()
    result = run(write(tmp_path / "line", job(rounds=2), *map(dataset, TENANTS)), output=tmp_path / "out")

    assert result.status is ExitStatus.SUCCEEDED
    assert result.has_succeeded
    assert [line.round for line in result.lines] == [1, 2]
    assert result.model.is_file()
    assert result.job["status"]["state"] == "Succeeded"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_ends_the_run_with_a_sentence_and_no_half_written_result(tmp_path: Path) -> None:
    workspace, output = write(tmp_path / "line"), tmp_path / "out"
    output.mkdir()
    # In a mount namespace of its own, which takes the disk along when its last process ends.
    script = 'mount -t tmpfs -o size=40k tmpfs "$1" && shift && "$@"; status=$?; ls -A "$OUT" >&2; exit $status'
    argv = ["unshare", "--mount", "bash", "-c", script, "-", str(output), *COTERIE, str(workspace), "--output", str(output)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "OUT": str(output)})
    status, _, error = finish(process)

    sentence = f"coterie: {output}: No space left on device; the run has ended without all of its results"
    assert (status, error.splitlines()[-3:]) == (1, [sentence, "logs", "volumes"])
    assert "Traceback" not in error
    assert not [each for each in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(each.info["cmdline"] or [])]


def test_data_may_lie_elsewhere(tmp_path: Path) -> None:
    workspace = write(tmp_path / "line", job(rounds=1), *map(dataset, TENANTS))
    subprocess.run([sys.executable, "prepare.py", str(tmp_path / "other")], cwd=workspace, check=True)
    moved = {f"{tenant}/data": tmp_path / "other" / "volumes" / tenant / "data" for tenant in TENANTS}
    (workspace / "volumes" / "research").mkdir(parents=True)
    (tmp_path / "other" / "volumes" / "research" / "test").rename(workspace / "volumes" / "research" / "test")
    (workspace / "prepare.py").unlink()

    assert run(workspace, output=tmp_path / "out", data=moved).has_succeeded
