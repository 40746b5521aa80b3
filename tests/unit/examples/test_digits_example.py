"""The digits example: the same shards for everyone, and a plain federated average of them that learns."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import yaml

from coterie_api.fields import parse
from coterie_api.podconfig import Aggregation, JobConfig, RosterEntry
from coterie_api.v1alpha1.types import FederatedDataset, FederatedJob
from coterie_api.v1alpha1.validate import validate_dataset, validate_job
from coterie_worker.layout import pack
from coterie_worker.training import Scorer, Trainer, check_data, initialize

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parents[3] / "examples" / "digits"
KEY = "A" * 43 + "="  # `coterie run` and `coterie keygen` make real ones


@pytest.fixture(scope="module", autouse=True)
def _code() -> Iterator[None]:
    before = set(sys.modules)
    sys.path.insert(0, str(HERE))
    yield
    sys.path.remove(str(HERE))
    for name in {"prepare", "digits_task"} - before:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def shards(tmp_path_factory, _code) -> Path:
    import prepare

    folder = tmp_path_factory.mktemp("digits")
    prepare.prepare(folder)
    return folder / "volumes"


def manifests() -> tuple[FederatedJob, list[FederatedDataset], list[dict]]:
    documents = list(yaml.safe_load_all((HERE / "digits.yaml").read_text()))
    datasets = [document for document in documents if document["kind"] == "FederatedDataset"]
    for document in datasets:
        assert "identity" not in document["spec"]
        document["spec"]["identity"] = {"publicKey": KEY}
    (job,) = [document for document in documents if document["kind"] == "FederatedJob"]
    others = [document for document in documents if document["kind"] not in {"FederatedJob", "FederatedDataset"}]
    return parse(FederatedJob, job, ""), [parse(FederatedDataset, document, "") for document in datasets], others


def test_the_manifests_are_valid_once_each_tenant_has_a_key():
    job, datasets, _ = manifests()

    assert validate_job(job) == ()
    assert [validate_dataset(dataset) for dataset in datasets] == [()] * 5
    assert {(ref.namespace, ref.name) for ref in job.spec.participants.datasets} == {
        (d.metadata.namespace, d.metadata.name) for d in datasets
    }
    assert all(dataset.grants_to("research", "any/image") for dataset in (d.spec for d in datasets))


def test_every_claim_that_is_used_is_declared():
    job, datasets, others = manifests()
    claims = {(o["metadata"]["namespace"], o["metadata"]["name"]) for o in others if o["kind"] == "PersistentVolumeClaim"}
    used = {(d.metadata.namespace, d.spec.source.persistent_volume_claim.claim_name) for d in datasets}
    used |= {(d.metadata.namespace, d.spec.state.persistent_volume_claim.claim_name) for d in datasets}
    used |= {
        ("research", job.spec.evaluation.public.source.persistent_volume_claim.claim_name),
        ("research", job.spec.output.persistent_volume_claim.claim_name),
    }

    assert used == claims
    assert {o["metadata"]["name"] for o in others if o["kind"] == "Namespace"} == {"research", *(d.metadata.namespace for d in datasets)}


def test_the_shards_are_where_the_claims_say_and_the_same_each_time(shards, tmp_path):
    import prepare

    prepare.prepare(tmp_path)
    _, datasets, _ = manifests()
    expected = {f"{d.metadata.namespace}/{d.spec.source.persistent_volume_claim.claim_name}/train.npz" for d in datasets} | {
        "research/digits-test/test.npz"
    }
    found = {file.relative_to(shards).as_posix(): file.read_bytes() for file in shards.rglob("*.*")}

    assert found.keys() == expected
    assert found == {file.relative_to(tmp_path / "volumes").as_posix(): file.read_bytes() for file in tmp_path.rglob("*.npz")}


def test_no_image_is_in_two_places_and_none_is_lost(shards):
    images = np.concatenate([np.load(file)["images"] for file in shards.rglob("*.npz")])

    assert images.shape == (1797, 64)
    from sklearn.datasets import load_digits

    everything = (load_digits().data / 16).astype(np.float32)
    assert sorted(map(bytes, images)) == sorted(map(bytes, everything))


def test_tenants_see_different_digits(shards):
    shares = [
        np.bincount(np.load(file)["labels"], minlength=10) / len(np.load(file)["labels"]) for file in sorted(shards.rglob("train.npz"))
    ]

    for number, share in enumerate(shares):
        assert np.abs(share - 0.1).sum() > 0.4  # about 0.1 were they dealt alike
        assert all(np.abs(share - other).sum() > 0.3 for other in shares[:number])


def test_the_owners_check_finds_nothing_wrong(shards):
    assert check_data("digits_task:Digits", {}, shards / "hospital-a" / "digits") == ()
    assert check_data("digits_task:Digits", {}, shards / "hospital-b") != ()


@pytest.mark.parametrize("task", ["digits/digits_task.py", "fashion-mnist/fashion_task.py"])
def test_a_task_is_less_than_forty_lines_of_pytorch(task):
    lines = (HERE.parent / task).read_text().splitlines()

    assert len([line for line in lines if line.strip()]) < 40


def config(job: FederatedJob) -> JobConfig:
    spec = job.spec
    return JobConfig(
        job_uid="uid",
        job_namespace=job.metadata.namespace,
        job_name=job.metadata.name,
        rounds=spec.rounds,
        seed=spec.seed,
        task=spec.task,
        training=spec.training,
        strategy=spec.strategy,
        aggregation=Aggregation("None", 4, 0, 4),
        roster=tuple(RosterEntry(ref.namespace, ref.name, KEY) for ref in spec.participants.datasets),
        min_clients=4,
        round_deadline_seconds=60,
        assembly_deadline_seconds=60,
        evaluation=spec.evaluation,
    )


def test_a_plain_federated_average_passes_95_percent(shards, tmp_path):
    job = config(manifests()[0])
    made = initialize(tmp_path, job)
    trainers = [Trainer(job, shards / e.namespace / e.dataset, made.layout, made.model, index=i) for i, e in enumerate(job.roster)]
    total = sum(trainer.examples for trainer in trainers)
    vector = pack(made.model, made.layout)
    for round_index in range(job.rounds):
        updates = [trainer.train(vector, round_index) for trainer in trainers]
        vector = vector + sum(update.values * np.float32(update.examples / total) for update in updates)
    accuracy = Scorer(job, shards / "research" / "digits-test", made.layout, made.model).score(vector).accuracy

    assert accuracy is not None
    assert accuracy >= 0.95
