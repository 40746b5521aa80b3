"""The Fashion-MNIST example, on made-up pictures: what its code does before and without Debian's files."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import yaml

from coterie_api.fields import parse
from coterie_api.v1alpha1.types import FederatedDataset, FederatedJob
from coterie_api.v1alpha1.validate import validate_dataset, validate_job
from coterie_worker.training import check_data

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parents[3] / "examples" / "fashion-mnist"
PARTS = {"train-images-idx3": 16, "train-labels-idx1": 8, "t10k-images-idx3": 16, "t10k-labels-idx1": 8}


@pytest.fixture(scope="module")
def prepare() -> Iterator[object]:
    before = set(sys.modules)
    sys.path.insert(0, str(HERE))
    import prepare

    yield prepare
    sys.path.remove(str(HERE))
    for name in {"prepare", "fashion_task"} - before:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """Twenty thousand pictures of noise in the format of the real files."""
    folder = tmp_path_factory.mktemp("source")
    rng = np.random.default_rng(1)
    for split, size in (("train", 20_000), ("t10k", 50)):
        pixels = rng.integers(0, 256, size * 784, dtype=np.uint8).tobytes()
        labels = (np.arange(size) % 10).astype(np.uint8).tobytes()
        (folder / f"{split}-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(16) + pixels, 1))
        (folder / f"{split}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(bytes(8) + labels, 1))
    return folder


@pytest.fixture(scope="module")
def shards(prepare, source, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("fashion")
    prepare.prepare(folder, source)
    return folder / "volumes"


def documents() -> list[dict]:
    return list(yaml.safe_load_all((HERE / "fashion-mnist.yaml").read_text()))


def test_the_manifests_are_valid_once_each_tenant_has_a_key(prepare):
    (job,) = [parse(FederatedJob, d, "") for d in documents() if d["kind"] == "FederatedJob"]
    datasets = [d for d in documents() if d["kind"] == "FederatedDataset"]
    for document in datasets:
        document["spec"]["identity"] = {"publicKey": "A" * 43 + "="}

    assert validate_job(job) == ()
    assert [validate_dataset(parse(FederatedDataset, d, "")) for d in datasets] == [()] * 10
    assert tuple(ref.namespace for ref in job.spec.participants.datasets) == prepare.TENANTS


def test_every_picture_goes_to_one_tenant_and_no_tenant_starves(prepare, shards):
    sizes = [len(np.load(shards / tenant / "fashion" / "train-labels.npy")) for tenant in prepare.TENANTS]

    assert sum(sizes) == 20_000
    assert min(sizes) >= prepare.SMALLEST_SHARD
    assert len(np.load(shards / "research" / "fashion-test" / "test-labels.npy")) == 50


def test_pictures_keep_their_labels(shards, source):
    everything = np.frombuffer(gzip.decompress((source / "train-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
    label_of = {picture.tobytes(): number % 10 for number, picture in enumerate(everything.reshape(-1, 784))}
    folder = shards / "shop-01" / "fashion"

    for picture, label in zip(np.load(folder / "train-images.npy"), np.load(folder / "train-labels.npy"), strict=True):
        assert label_of[picture.tobytes()] == label


def test_the_owners_check_finds_nothing_wrong(shards):
    assert check_data("fashion_task:FashionMnist", {"channels": 2}, shards / "shop-10" / "fashion") == ()


def test_missing_files_are_said_with_the_command_that_installs_them(prepare, tmp_path):
    with pytest.raises(FileNotFoundError, match="apt-get install dataset-fashion-mnist"):
        prepare.prepare(tmp_path, tmp_path / "absent")
    assert not (tmp_path / "volumes").exists()


def test_the_script_ends_with_one_line_and_no_traceback_when_files_are_missing(tmp_path):
    script = (
        "import runpy, sys, unittest.mock\n"
        "with unittest.mock.patch('pathlib.Path.is_file', lambda _: False):\n"
        "    runpy.run_path(sys.argv.pop(1), run_name='__main__')"
    )
    run = subprocess.run([sys.executable, "-c", script, HERE / "prepare.py", tmp_path], capture_output=True, text=True, check=False)

    assert run.returncode == 1
    assert "apt-get install dataset-fashion-mnist" in run.stderr
    assert "Traceback" not in run.stderr
