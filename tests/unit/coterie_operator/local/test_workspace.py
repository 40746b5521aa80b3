from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.local.workspaces import TENANTS, dataset, job, write

from coterie_operator.local.identity import KeyPair
from coterie_operator.local.workspace import BadInput, manifest, objects_of, open_workspace

if TYPE_CHECKING:
    from pathlib import Path


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


def test_a_key_whose_private_half_is_missing_is_refused(tmp_path: Path) -> None:
    keyed = dataset("red", identity={"publicKey": KeyPair.generate().public_key, "secretName": "mine"})

    assert "spec.identity.secretName: found mine" in faults(make(tmp_path, job(), keyed, *map(dataset, TENANTS[1:])))


def test_a_key_pair_never_shows_its_private_half() -> None:
    pair = KeyPair.generate()

    assert "PRIVATE" not in repr(pair)
    assert pair.private_pem.decode() not in repr(pair)
