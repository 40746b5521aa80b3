"""Reading manifests from files: what is found, and how faults are told."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from coterie_api.v1alpha1.load import Report, lines, refuse_nothing, validate_files

if TYPE_CHECKING:
    from pathlib import Path

    from coterie_api.errors import FieldError

Manifest = Callable[..., dict[str, Any]]
NAMESPACE = "{apiVersion: v1, kind: Namespace, metadata: {name: a}}"
JOB = """\
apiVersion: coterie.dev/v1alpha1
kind: FederatedJob
metadata:
  name: digits
  namespace: research
spec:
  rounds: 3
  task: {entrypoint: "digits:Digits", parameters: {rate: 1e-5, when: 2027-01-01}}
  participants:
    datasets:
    - {namespace: a, name: x}
    - {namespace: b, name: x}
    - namespace: c
      name: x
    - {namespace: d, name: x}
  privacy: {mode: None}
"""


@pytest.fixture
def report(tmp_path: Path) -> Callable[..., Report]:
    def judge(*texts: str) -> Report:
        paths = []
        for index, text in enumerate(texts):
            paths.append(tmp_path / f"{index}.yaml")
            paths[-1].write_text(text)
        return validate_files(paths)

    return judge


def told(found: Report) -> list[str]:
    return [
        str(finding).split("/")[-1] if finding.object == "" else str(finding)[str(finding).rindex(".yaml:") + 1 :]
        for finding in found.errors
    ]


def test_a_valid_job_is_read_without_a_word(report: Callable[..., Report]) -> None:
    found = report(JOB)

    assert (found.errors, found.warnings, found.is_valid) == ((), (), True)
    assert found.jobs[0].metadata.name == "digits"


def test_numbers_and_times_are_read_as_kubectl_reads_them(report: Callable[..., Report]) -> None:
    assert report(JOB).jobs[0].spec.task.parameters == {"rate": 1e-5, "when": "2027-01-01"}


def test_objects_of_other_groups_are_passed_on_as_they_stand(report: Callable[..., Report]) -> None:
    found = report("apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\n" + JOB)

    assert found.others == ({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}},)
    assert len(found.jobs) == 1


def test_an_object_without_a_namespace_is_in_the_default_one(report: Callable[..., Report]) -> None:
    assert report(JOB.replace("  namespace: research\n", "")).jobs[0].metadata.namespace == "default"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("rounds: 3", "rounds: 0", "yaml:7: FederatedJob research/digits: spec.rounds: found 0, allowed: a whole number from 1 to 100000"),
        (
            "rounds: 3",
            "round: 3",
            "yaml:6: FederatedJob research/digits: spec.rounds: found nothing, allowed: a whole number from 1 to 100000",
        ),
        (
            "mode: None",
            "mode: none",
            'yaml:16: FederatedJob research/digits: spec.privacy.mode: found "none", allowed: one of None, RecordLocal, ',
        ),
        ("namespace: c", "namespace: b", None),
        ("name: digits", "name: Digits", None),
        (
            "kind: FederatedJob",
            "kind: FederatedJobs",
            'yaml:2: FederatedJobs research/digits: kind: found "FederatedJobs", allowed: did you mean FederatedJob?',
        ),
        (
            "dev/v1alpha1",
            "dev/v1",
            'yaml:1: FederatedJob research/digits: apiVersion: found "coterie.dev/v1", allowed: coterie.dev/v1alpha1',
        ),
        (
            "coterie.dev/v1alpha1",
            "kubeflow.org/v1",
            'yaml:1: FederatedJob research/digits: apiVersion: found "kubeflow.org/v1", allowed: coterie.dev/v1alpha1',
        ),
        ("kind: FederatedJob\n", "", None),
        ("rounds: 3", "rounds: 3\n  rounds: 4", None),
        ("rounds: 3", "rounds: 3\n  task: {}", None),
        ("rounds: 3", "rounds: [", None),
        ("rounds: 3", "rounds: !!python/object:os.system 3", None),
        ("rounds: 3", "rounds: 3\n  ? [a, b]\n  : 1", None),
    ],
)
def test_a_fault_is_told_with_line_object_field_found_and_allowed(
    report: Callable[..., Report], before: str, after: str, expected: str | None
) -> None:
    found = report(JOB.replace(before, after))

    assert not found.is_valid
    assert expected is None or any(line.startswith(expected) for line in told(found))


@pytest.mark.parametrize(
    "text",
    [
        "- 1\n",
        "just text\n",
        "3\n",
        "\x00",
        "a: b: c\n",
        "{apiVersion: 1, kind: 2}\n",
        "[" * 3000,
        "&a [*a]\n",
        "a: &a {b: *a}\n",
        "a: " + "9" * 5000,
    ],
)
def test_no_file_is_so_odd_that_it_raises(report: Callable[..., Report], text: str) -> None:
    assert not report(text).is_valid


def test_an_object_that_holds_itself_is_refused(report: Callable[..., Report]) -> None:
    found = report(JOB.replace("parameters: {rate: 1e-5, when: 2027-01-01}", "parameters: &p {again: *p}"))

    assert [finding.error.field for finding in found.errors] == ["spec.task.parameters"]


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\x00\x01")

    assert len(validate_files([tmp_path / "a.yaml"]).errors) == 1


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    found = validate_files([tmp_path / "none.yaml"])

    assert [finding.line for finding in found.errors] == [0]
    assert "No such file" in str(found.errors[0])


def test_a_folder_is_read_file_by_file_in_order(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(JOB.replace("name: digits", "name: second"))
    (tmp_path / "a.yml").write_text(JOB.replace("name: digits", "name: first"))
    (tmp_path / "readme.txt").write_text("not a manifest")

    assert [job.metadata.name for job in validate_files([tmp_path]).jobs] == ["first", "second"]


def test_an_empty_file_holds_nothing_and_is_no_fault(report: Callable[..., Report]) -> None:
    assert report("", "---\n---\n") == Report()


@pytest.mark.parametrize("files", [{}, {"a.yaml": "---\n"}, {"job.yaml.txt": JOB}, {"a.yaml": NAMESPACE}])
def test_a_check_that_saw_no_object_of_ours_is_no_success(tmp_path: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)

    found = refuse_nothing(validate_files([tmp_path]), [tmp_path])

    assert not found.is_valid
    assert str(found.errors[0]).startswith(f"{tmp_path}: object: found none of this API, allowed: a FederatedJob or a FederatedDataset")


def test_one_object_of_ours_is_enough_beside_files_of_others(report: Callable[..., Report]) -> None:
    found = report(NAMESPACE, JOB)

    assert refuse_nothing(found, ["0.yaml", "1.yaml"]) is found


def test_what_is_wrong_is_not_hidden_by_there_being_nothing_else(report: Callable[..., Report]) -> None:
    found = report("a: b: c\n")

    assert refuse_nothing(found, ["0.yaml"]) is found


def test_the_words_of_yaml_are_not_told_as_found_twice(report: Callable[..., Report]) -> None:
    (line,) = told(report("a:\n\t- b\n"))

    assert "file: found character '\\t' that cannot start any token, allowed: a readable file" in line


def test_two_objects_of_one_name_are_refused(report: Callable[..., Report]) -> None:
    found = report(JOB, JOB)

    assert [finding.error.field for finding in found.errors] == ["metadata.name"]
    assert "0.yaml:1" in found.errors[0].error.allowed


def test_a_data_set_that_does_not_grant_the_job_is_doubtful(report: Callable[..., Report], manifest: Manifest) -> None:
    data = manifest("FederatedDataset", {"metadata.name": "x", "metadata.namespace": "c"})
    data["spec"]["grants"][0]["jobs"]["namespaces"] = ["elsewhere"]

    found = report(JOB, yaml.safe_dump(data))

    assert [finding.line for finding in found.warnings] == [13]
    assert "c/x, which does not grant the namespace research" in str(found.warnings[0])


def test_a_data_set_that_grants_the_job_is_not(report: Callable[..., Report], manifest: Manifest) -> None:
    assert report(JOB, yaml.safe_dump(manifest("FederatedDataset", {"metadata.name": "x", "metadata.namespace": "c"}))).warnings == ()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"spec.participants.datasets": [{"namespace": name, "name": "x"} for name in "abc"]}, "spec.participants"),
        ({"spec.secureAggregation": {"protocol": "None"}}, "spec.secureAggregation.protocol"),
        ({"spec.activeDeadlineSeconds": 5}, "spec.activeDeadlineSeconds"),
        ({"spec.strategy.cohortSize": 3}, "spec.strategy.cohortSize"),
    ],
)
def test_what_is_allowed_but_hardly_meant_is_a_warning(
    report: Callable[..., Report], manifest: Manifest, changes: dict[str, Any], field: str
) -> None:
    found = report(yaml.safe_dump(manifest("FederatedJob", changes)))

    assert found.is_valid
    assert [finding.error.field for finding in found.warnings] == [field]


@pytest.mark.parametrize(
    ("name", "found"),
    [("My_Job", '"My_Job"'), ("a.b", '"a.b"'), ("4you", '"4you"'), ("a" * 41, '"' + "a" * 41 + '"'), ("", '""'), (None, "nothing")],
)
def test_a_bad_name_is_told_by_the_rule_of_its_kind(
    report: Callable[..., Report], manifest: Manifest, name: str | None, found: str
) -> None:
    (finding,) = report(yaml.safe_dump(manifest("FederatedJob", {"metadata.name": name}))).errors

    assert (finding.error.field, finding.error.found) == ("metadata.name", found)
    assert finding.error.allowed == "a letter, then lower case letters, digits and '-', the last one no '-', at most 40 characters"


def test_a_bad_name_of_a_data_set_is_told_by_the_rule_of_data_sets(report: Callable[..., Report], manifest: Manifest) -> None:
    (finding,) = report(yaml.safe_dump(manifest("FederatedDataset", {"metadata.name": "My_Data"}))).errors

    assert finding.error.allowed == "lower case letters, digits and '-' between them, at most 63 characters"


def test_a_bad_name_does_not_hide_what_else_is_wrong(report: Callable[..., Report]) -> None:
    found = report(JOB.replace("rounds: 3", "rounds: 0").replace("name: digits", "name: My_Job"))

    assert [finding.error.field for finding in found.errors] == ["metadata.name", "spec.rounds"]


UNREAD = {
    "strategy.proximalMu": ({"name": "FedAvg", "proximalMu": 0.1}, {"name": "FedProx", "proximalMu": 0.1}),
    "strategy.momentum": ({"name": "FedAdam", "momentum": 0.5}, {"name": "FedAvgM", "momentum": 0.5}),
    "strategy.beta1": ({"beta1": 0.5}, {"name": "FedAdagrad", "beta1": 0.5}),
    "strategy.beta2": ({"name": "FedAdagrad", "beta2": 0.5}, {"name": "FedYogi", "beta2": 0.5}),
    "strategy.tau": ({"name": "FedProx", "tau": 0.5}, {"name": "FedAdagrad", "tau": 0.5}),
    "strategy.weightCap": ({"weightCap": 5000}, {"weighting": "Examples", "weightCap": 5000}),
    "training.optimizer.momentum": ({"name": "Adam", "momentum": 0.5}, {"name": "SGD", "momentum": 0.5}),
    "training.optimizer.nesterov": ({"name": "AdamW", "nesterov": True}, {"nesterov": True}),
    "training.optimizer.beta1": ({"beta1": 0.5}, {"name": "Adam", "beta1": 0.5}),
    "training.optimizer.beta2": ({"name": "SGD", "beta2": 0.5}, {"name": "AdamW", "beta2": 0.5}),
    "training.optimizer.epsilon": ({"epsilon": 0.5}, {"name": "Adam", "epsilon": 0.5}),
    "training.schedule.finalFactor": ({"name": "Constant", "finalFactor": 0.1}, {"name": "Cosine", "finalFactor": 0.1}),
    "training.schedule.stepRounds": ({"name": "Linear", "stepRounds": 5}, {"name": "Step", "stepRounds": 5}),
    "training.schedule.stepFactor": ({"name": "Cosine", "stepFactor": 0.5}, {"name": "Step", "stepFactor": 0.5}),
}
DEFAULTS = {
    "strategy": {"momentum": 0.9, "proximalMu": 0.01, "beta1": 0.9, "beta2": 0.99, "tau": 0.001, "weightCap": 8192},
    "training.optimizer": {"name": "Adam", "momentum": 0.9, "nesterov": False},
    "training.schedule": {"name": "Constant", "finalFactor": 0, "stepRounds": 10, "stepFactor": 0.1, "warmupRounds": 1},
}


@pytest.fixture
def warned(report: Callable[..., Report], manifest: Manifest) -> Callable[[str, dict[str, Any]], list[FieldError]]:
    def warn(section: str, value: dict[str, Any]) -> list[FieldError]:
        found = report(yaml.safe_dump(manifest("FederatedJob", {f"spec.{section}": value})))
        assert found.is_valid
        return [finding.error for finding in found.warnings]

    return warn


@pytest.mark.parametrize("field", UNREAD)
def test_a_field_of_another_choice_is_a_warning(warned: Callable[..., list[FieldError]], field: str) -> None:
    silent, heard = UNREAD[field]
    section, _, name = field.rpartition(".")

    (error,) = warned(section, silent)

    assert (error.field, error.found) == (f"spec.{field}", json.dumps(silent[name]))
    assert re.fullmatch(r"nothing with (name|weighting) \w+, where it has no effect; it is for \w+( or \w+)*", error.allowed)
    assert warned(section, heard) == []


@pytest.mark.parametrize("section", DEFAULTS)
def test_a_default_that_is_written_down_is_no_warning(warned: Callable[..., list[FieldError]], section: str) -> None:
    assert warned(section, DEFAULTS[section]) == []


def test_a_cohort_that_can_lose_a_client_is_no_warning(report: Callable[..., Report], manifest: Manifest) -> None:
    assert report(yaml.safe_dump(manifest("FederatedJob", {"spec.strategy.cohortSize": 4}))).warnings == ()


def test_a_job_that_can_lose_nobody_anyway_is_told_so_once(report: Callable[..., Report], manifest: Manifest) -> None:
    three = [{"namespace": name, "name": "x"} for name in "abc"]
    found = report(yaml.safe_dump(manifest("FederatedJob", {"spec.participants.datasets": three, "spec.strategy.cohortSize": 3})))

    assert [finding.error.field for finding in found.warnings] == ["spec.participants"]


@pytest.mark.parametrize(
    ("images", "field"), [(["registry.example/train:latest"], "spec.grants[0].images"), (["*"], "spec.grants[0].images")]
)
def test_a_grant_that_others_can_move_to_new_code_is_a_warning(
    report: Callable[..., Report], manifest: Manifest, images: list[str], field: str
) -> None:
    found = report(yaml.safe_dump(manifest("FederatedDataset", {"spec.grants": [{"jobs": {"namespaces": ["a"]}, "images": images}]})))

    assert (found.is_valid, [finding.error.field for finding in found.warnings]) == (True, [field])


def test_a_data_set_without_grants_is_a_warning(report: Callable[..., Report], manifest: Manifest) -> None:
    assert [finding.error.field for finding in report(yaml.safe_dump(manifest("FederatedDataset", {"spec.grants": None}))).warnings] == [
        "spec.grants"
    ]


def test_a_data_set_without_a_key_is_a_warning_in_a_file(report: Callable[..., Report], manifest: Manifest) -> None:
    """`coterie run` makes a pair, and on a cluster the owner adds the public half."""
    found = report(yaml.safe_dump(manifest("FederatedDataset", {"spec.identity": None})))

    assert (found.is_valid, [finding.error.field for finding in found.warnings]) == (True, ["spec.identity.publicKey"])


def test_a_document_can_be_completed_before_it_is_judged(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(JOB.replace("rounds: 3", "rounds: 0"))

    found = validate_files([tmp_path], lambda obj: obj | {"spec": obj["spec"] | {"rounds": 4}})

    assert (found.errors, found.jobs[0].spec.rounds) == ((), 4)


def keyless(manifest: Manifest, *namespaces: str) -> str:
    changes = {"metadata.name": "x", "spec.identity": None}
    return yaml.safe_dump_all([manifest("FederatedDataset", {**changes, "metadata.namespace": name}) for name in namespaces])


def test_what_is_found_alike_in_several_objects_of_a_file_is_one_line_that_counts_them(
    report: Callable[..., Report], manifest: Manifest
) -> None:
    found = report(keyless(manifest, "a", "b", "c"))
    (line,) = lines(found.warnings)

    assert len(found.warnings) == 3, "machines are told each"
    assert "FederatedDataset a/x and 2 more like it: spec.identity.publicKey: found nothing" in line
    assert line.startswith(str(found.warnings[0]).partition(": ")[0])


def test_what_is_found_in_two_files_is_two_lines(report: Callable[..., Report], manifest: Manifest) -> None:
    told = lines(report(keyless(manifest, "a"), keyless(manifest, "b")).warnings)

    assert len(told) == 2
    assert not any("more like it" in line for line in told)


def test_what_differs_by_field_or_value_is_never_folded(report: Callable[..., Report], manifest: Manifest) -> None:
    grants = {name: [{"jobs": {"namespaces": ["research"]}, "images": [image]}] for name, image in (("a", "x:1"), ("b", "x:2"))}
    objects = [manifest("FederatedDataset", {"metadata.namespace": name, "spec.grants": grant}) for name, grant in grants.items()]
    found = report(yaml.safe_dump_all(objects))

    assert len(lines(found.warnings)) == len(found.warnings) == 2
