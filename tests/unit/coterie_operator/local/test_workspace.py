from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from tests.local.workspaces import TENANTS, dataset, job, write

from coterie_operator.local.consent import refuse_without_quorum
from coterie_operator.local.embedded import SETTINGS
from coterie_operator.local.identity import KeyPair
from coterie_operator.local.workspace import BadInput, manifest, objects_of, open_workspace

if TYPE_CHECKING:
    from pathlib import Path


NOW = datetime(2026, 8, 1, tzinfo=UTC)


def make(folder: Path, *objects: dict[str, Any]) -> Path:
    """A workspace whose data is there, so that nothing has to be run."""
    write(folder, *objects)
    (folder / "prepare.py").unlink()
    for claim in ("research/test", *(f"{tenant}/data" for tenant in TENANTS)):
        (folder / "volumes" / claim).mkdir(parents=True)
    return folder


def test_a_workspace_has_a_job_its_data_sets_and_all_that_they_need(tmp_path: Path) -> None:
    found = open_workspace(make(tmp_path), {})
    names = {(obj["kind"], obj["metadata"].get("namespace"), obj["metadata"]["name"]) for _, obj in objects_of(found)}

    assert found.job.metadata.name == "line"
    assert [data.metadata.namespace for data in found.datasets] == list(TENANTS)
    assert {("Namespace", None, name) for name in ("research", *TENANTS)} <= names
    assert ("Secret", "red", "coterie-identity-data") in names
    assert ("PersistentVolumeClaim", "research", "test") in names
    assert ("PersistentVolumeClaim", "research", "coterie-output") in names


def test_a_data_set_without_a_key_gets_one_of_its_own(tmp_path: Path) -> None:
    found = open_workspace(make(tmp_path), {})

    assert len({data.spec.identity.public_key for data in found.datasets}) == 3


def test_a_key_of_the_manifests_is_kept(tmp_path: Path) -> None:
    pair = KeyPair.generate()
    keyed = dataset("red", identity={"publicKey": pair.public_key, "secretName": "mine"})
    found = open_workspace(make(tmp_path, job(), keyed, *map(dataset, TENANTS[1:]), pair.secret("red", "mine")), {})

    assert found.datasets[0].spec.identity.public_key == pair.public_key
    assert [obj["metadata"]["name"] for _, obj in objects_of(found) if obj["kind"] == "Secret"].count("mine") == 1


def test_a_job_that_names_an_output_keeps_it(tmp_path: Path) -> None:
    output = {"persistentVolumeClaim": {"claimName": "models"}, "path": "here"}
    found = open_workspace(make(tmp_path, job(output=output), *map(dataset, TENANTS)), {})

    assert manifest(found.job)["spec"]["output"] == output


def test_an_applied_manifest_has_no_status_and_no_server_fields(tmp_path: Path) -> None:
    applied = manifest(open_workspace(make(tmp_path), {}).job)

    assert set(applied) == {"apiVersion", "kind", "metadata", "spec"}
    assert applied["metadata"] == {"name": "line", "namespace": "research"}


def test_given_data_takes_the_place_of_a_source(tmp_path: Path) -> None:
    imaged = dataset("red", source={"image": {"reference": "registry.example/data:1"}})
    (tmp_path / "else").mkdir()
    found = open_workspace(make(tmp_path / "w", job(), imaged, *map(dataset, TENANTS[1:])), {"red/data": tmp_path / "else"})

    assert found.claim_folder("red", "data") == (tmp_path / "else").resolve()


def test_other_kinds_are_passed_over_with_a_note(tmp_path: Path) -> None:
    other = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}, "spec": {}}
    found = open_workspace(make(tmp_path, job(), *map(dataset, TENANTS), other), {})

    assert any("Deployment" in note for note in found.notes)


def faults(path: Path, data: dict[str, Path] | None = None) -> str:
    with pytest.raises(BadInput) as caught:
        open_workspace(path, data or {})
    return str(caught.value)


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    assert "no such folder" in faults(tmp_path / "nowhere")


def test_a_folder_without_a_job_is_refused(tmp_path: Path) -> None:
    assert "found 0 FederatedJobs" in faults(make(tmp_path, *map(dataset, TENANTS)))


def test_two_jobs_are_refused_by_name(tmp_path: Path) -> None:
    second = {**job(), "metadata": {"name": "other", "namespace": "research"}}

    assert "research/other" in faults(make(tmp_path, job(), second, *map(dataset, TENANTS)))


def test_a_suspended_job_is_refused(tmp_path: Path) -> None:
    assert "spec.suspend" in faults(make(tmp_path, job(suspend=True), *map(dataset, TENANTS)))


def test_a_field_that_is_wrong_is_told_with_file_object_and_what_is_allowed(tmp_path: Path) -> None:
    said = faults(make(tmp_path, job(rounds=0), *map(dataset, TENANTS)))

    assert "job.yaml:1" in said
    assert "FederatedJob research/line" in said
    assert "spec.rounds: found 0" in said


def test_what_is_not_built_yet_is_refused_and_never_ignored(tmp_path: Path) -> None:
    private = {"mode": "RecordLocal", "epsilon": 3, "delta": 1e-5, "clippingNorm": 1.0}

    assert "spec.privacy.mode" in faults(make(tmp_path, job(privacy=private), *map(dataset, TENANTS)))


def test_yaml_that_does_not_parse_is_refused_with_its_line(tmp_path: Path) -> None:
    folder = make(tmp_path)
    (folder / "broken.yaml").write_text("a: [1,\nb: 2")

    assert "broken.yaml:" in faults(folder)


def test_missing_data_is_refused_with_the_folder_and_the_way_out(tmp_path: Path) -> None:
    folder = make(tmp_path)
    (folder / "volumes" / "red" / "data").rmdir()
    said = faults(folder)

    assert str(folder / "volumes" / "red" / "data") in said
    assert "the data of red/data" in said
    assert "--data" in said


def test_a_prepare_that_fails_is_told_with_its_last_words(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "prepare.py").write_text("raise SystemExit('install the data first')")
    said = faults(folder)

    assert "exit status 1" in said
    assert "install the data first" in said


def test_a_prepare_that_makes_nothing_is_told(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "prepare.py").write_text("")

    assert "did not make it" in faults(folder)


def test_given_data_for_no_data_set_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    said = faults(make(tmp_path), {"red/other": tmp_path})

    assert "red/other" in said
    assert "blue/data" in said


def test_given_data_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    assert "is no folder" in faults(make(tmp_path), {"red/data": tmp_path / "nowhere"})


SOURCES = {
    "an image": ({"image": {"reference": "registry.example/data:1"}}, "source.image registry.example/data:1"),
    "a ConfigMap that is nowhere": ({"configMap": {"name": "numbers"}}, "source.configMap numbers"),
}


@pytest.mark.parametrize(("source", "says"), SOURCES.values(), ids=SOURCES.keys())
def test_a_source_that_can_not_be_mounted_here_is_refused_with_the_way_out(tmp_path: Path, source: dict[str, Any], says: str) -> None:
    public = {"evaluation": {"public": {"source": source}, "selectBy": "accuracy"}}
    told = faults(make(tmp_path, job(**public), dataset("red", source=source), *map(dataset, TENANTS[1:]))).splitlines()

    assert [line.split(":")[0] for line in told] == ["the data of red/data", "the public test data"]
    assert all(f"found {says}" in line and "--data NAMESPACE/NAME=FOLDER" in line for line in told)


def test_a_config_map_of_the_manifests_is_a_source(tmp_path: Path) -> None:
    numbers = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "numbers", "namespace": "red"}, "data": {"x": "1"}}
    mapped = dataset("red", source={"configMap": {"name": "numbers"}})

    found = open_workspace(make(tmp_path / "there", job(), mapped, *map(dataset, TENANTS[1:]), numbers), {})
    numbers["metadata"] = {"name": "numbers", "namespace": "blue"}

    assert found.datasets[0].spec.source.config_map is not None
    assert "namespace red" in faults(make(tmp_path / "elsewhere", job(), mapped, *map(dataset, TENANTS[1:]), numbers))


IMAGE = "registry.example/train:1"


def no_quorum(folder: Path, *objects: dict[str, Any]) -> list[str]:
    with pytest.raises(BadInput) as caught:
        refuse_without_quorum(open_workspace(make(folder, *objects), {}), SETTINGS, NOW)
    head, *lines = caught.value.lines
    assert head.startswith("FederatedJob research/line would wait for ever: ")
    return [head.split(": ", 1)[1], *lines]


def granting(**grant: Any) -> dict[str, Any]:
    return {"grants": [{"jobs": {"namespaces": ["research"]}, "images": ["*"], **grant}]}


def test_a_job_that_all_grant_can_start(tmp_path: Path) -> None:
    refuse_without_quorum(open_workspace(make(tmp_path), {}), SETTINGS, NOW)


def test_a_data_set_that_a_quorum_can_do_without_may_stand_aside(tmp_path: Path) -> None:
    asked = {"participants": {"datasets": [{"namespace": name, "name": "data"} for name in (*TENANTS, "nobody")]}}

    refuse_without_quorum(open_workspace(make(tmp_path, job(**asked), *map(dataset, TENANTS)), {}), SETTINGS, NOW)


STANDS_ASIDE: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "a grant of another image than the default": (
        {},
        granting(images=[IMAGE]),
        f"no grant of it is in force for the job's namespace research and its clients' image {SETTINGS.worker_image}",
    ),
    "a grant of another image than the job's": (
        {"clients": {"image": "registry.example/train:2"}},
        granting(images=[IMAGE]),
        "no grant of it is in force for the job's namespace research and its clients' image registry.example/train:2",
    ),
    "a grant of another namespace": (
        {},
        granting(jobs={"namespaces": ["other"]}),
        f"no grant of it is in force for the job's namespace research and its clients' image {SETTINGS.worker_image}",
    ),
    "a grant that has expired": (
        {},
        granting(expires="2026-01-01T00:00:00Z"),
        f"no grant of it is in force for the job's namespace research and its clients' image {SETTINGS.worker_image}",
    ),
    "a job without secure aggregation": (
        {"secureAggregation": {"protocol": "None"}, "participants": {"minClients": 3, **job()["spec"]["participants"]}},
        {},
        "the data set asks for secure aggregation and the job's protocol is None",
    ),
    "a data set that asks for more company": (
        {},
        {"requirements": {"minClients": 4}},
        "the data set asks for 4 clients and only 3 can take part",
    ),
}


@pytest.mark.parametrize(("spec", "red", "says"), STANDS_ASIDE.values(), ids=STANDS_ASIDE.keys())
def test_a_job_that_could_never_start_is_refused_with_a_line_for_each_data_set(
    tmp_path: Path, spec: dict[str, Any], red: dict[str, Any], says: str
) -> None:
    free = {"requirements": {"secureAggregation": False}}
    told = no_quorum(tmp_path, job(**spec), dataset("red", **red), *(dataset(name, **free) for name in TENANTS[1:]))

    assert told == ["2 of 3 data sets can take part; 3 are needed", f"red/data: {says}"]


def test_a_data_set_without_a_manifest_is_named(tmp_path: Path) -> None:
    told = no_quorum(tmp_path, job(), *map(dataset, TENANTS[1:]))

    assert told[1:] == [f"red/data: no FederatedDataset of this name in {tmp_path}"]


def test_a_key_whose_private_half_is_missing_is_refused(tmp_path: Path) -> None:
    keyed = dataset("red", identity={"publicKey": KeyPair.generate().public_key, "secretName": "mine"})

    assert "spec.identity.secretName: found mine" in faults(make(tmp_path, job(), keyed, *map(dataset, TENANTS[1:])))


def test_a_key_pair_never_shows_its_private_half() -> None:
    pair = KeyPair.generate()

    assert "PRIVATE" not in repr(pair)
    assert pair.private_pem.decode() not in repr(pair)
