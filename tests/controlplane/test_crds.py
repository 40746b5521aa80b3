from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cluster.controlplane import ControlPlane

Manifest = dict[str, Any]

JOB: Manifest = {
    "apiVersion": "coterie.dev/v1alpha1",
    "kind": "FederatedJob",
    "metadata": {"name": "good", "namespace": "research"},
    "spec": {
        "rounds": 3,
        "task": {"entrypoint": "digits_task:Digits", "parameters": {"hidden": 32, "nested": {"list": [1, 2.5, "x"]}}},
        "participants": {
            "datasets": [{"namespace": "hospital-a", "name": "visits"}, {"namespace": "hospital-b", "name": "visits"}],
            "minClients": 2,
        },
        "privacy": {"mode": "None"},
    },
}
DATASET: Manifest = {
    "apiVersion": "coterie.dev/v1alpha1",
    "kind": "FederatedDataset",
    "metadata": {"name": "good", "namespace": "hospital-a"},
    "spec": {
        "source": {"persistentVolumeClaim": {"claimName": "visits"}},
        "grants": [{"jobs": {"namespaces": ["research"]}, "images": ["registry.example/train:1"]}],
        "identity": {"publicKey": "A" * 43 + "=", "secretName": "coterie-identity"},
    },
}


def changed(manifest: Manifest, path: str, value: object) -> Manifest:
    """Return a copy with one field set (None: removed); `path` is dotted, digits are indices."""
    copied = copy.deepcopy(manifest)
    place: Any = copied
    *parents, last = path.split(".")
    for part in parents:
        place = place[int(part)] if part.isdigit() else place.setdefault(part, {})
    if value is None:
        del place[last]
    else:
        place[last] = value
    return copied


def refusal(plane: ControlPlane, manifest: Manifest) -> str:
    done = plane.try_kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(manifest))
    assert done.returncode != 0, f"accepted: {manifest}"
    return done.stderr


BAD_JOBS: dict[str, tuple[str, object, str]] = {
    "rounds is no number": ("spec.rounds", "three", "spec.rounds"),
    "rounds is zero": ("spec.rounds", 0, "spec.rounds"),
    "rounds is missing": ("spec.rounds", None, "spec.rounds"),
    "rounds is beyond reason": ("spec.rounds", 10**9, "spec.rounds"),
    "the task is missing": ("spec.task", None, "spec.task"),
    "the privacy mode is not written down": ("spec.privacy", None, "spec.privacy"),
    "the privacy mode is unknown": ("spec.privacy.mode", "Some", "spec.privacy.mode"),
    "a budget that nothing would hold to": ("spec.privacy.epsilon", 3, "another mode than None"),
    "a mode without its budget": ("spec.privacy.mode", "RecordLocal", "epsilon, delta and clippingNorm given"),
    "more clients are needed than there are data sets": ("spec.participants.minClients", 3, "at most the number of datasets"),
    "no data set": ("spec.participants.datasets", [], "spec.participants.datasets"),
    "a data set twice": (
        "spec.participants.datasets",
        [{"namespace": "a", "name": "x"}, {"namespace": "a", "name": "x"}],
        "Duplicate value",
    ),
    "more data sets than are allowed": (
        "spec.participants.datasets",
        [{"namespace": f"n{index}", "name": "x"} for index in range(1001)],
        "must have at most 1000 items",
    ),
    "a namespace that can't exist": ("spec.participants.datasets.0.namespace", "Not A Namespace", "namespace"),
    "a cohort larger than the population": ("spec.strategy.cohortSize", 3, "at most the number of participants.datasets"),
    "the protocol is unknown": ("spec.secureAggregation.protocol", "TrustMe", "spec.secureAggregation.protocol"),
    "epochs and steps at once": ("spec.training", {"localEpochs": 1, "localSteps": 1}, "only one of localEpochs and localSteps"),
    "the name is too long for its children": ("metadata.name", "a" * 41, "at most 40 characters"),
    "the name begins with a digit": ("metadata.name", "1st", "a letter, then"),
    "the name has a dot": ("metadata.name", "a.b", "a letter, then"),
    "model selection without numbers": ("spec.evaluation", {"selectBy": "accuracy"}, "only with public or federated evaluation"),
    "patience without selection": (
        "spec.evaluation",
        {"public": {"source": {"configMap": {"name": "x"}}}, "patience": 3},
        "only with selectBy",
    ),
    "two sources of evaluation data": (
        "spec.evaluation.public.source",
        {"configMap": {"name": "x"}, "persistentVolumeClaim": {"claimName": "y"}},
        "exactly one of",
    ),
    "a reserved variable": ("spec.clients.env", [{"name": "COTERIE_ROOT", "value": "/"}], "COTERIE_"),
    "a field that doesn't exist": ("spec.privcay", {"mode": "None"}, "unknown field"),
}


@pytest.mark.parametrize("case", BAD_JOBS)
def test_the_api_server_refuses_a_job_when(case: str, plane: ControlPlane) -> None:
    path, value, expected = BAD_JOBS[case]

    assert expected in refusal(plane, changed(JOB, path, value))


BAD_DATASETS: dict[str, tuple[str, object, str]] = {
    "the source is missing": ("spec.source", None, "spec.source"),
    "there are two sources": ("spec.source.configMap", {"name": "x"}, "exactly one of"),
    "there is no source in the source": ("spec.source", {}, "exactly one of"),
    "the public key is no key": ("spec.identity.publicKey", "short", "spec.identity.publicKey"),
    "the records are no number": ("spec.declaredRecords", "many", "spec.declaredRecords"),
    "a grant for no image": ("spec.grants.0.images", None, "spec.grants[0].images"),
    "the name has a dot": ("metadata.name", "a.b", "lower case letters"),
    "a field that doesn't exist": ("spec.grant", [], "unknown field"),
}


@pytest.mark.parametrize("case", BAD_DATASETS)
def test_the_api_server_refuses_a_data_set_when(case: str, plane: ControlPlane) -> None:
    path, value, expected = BAD_DATASETS[case]

    assert expected in refusal(plane, changed(DATASET, path, value))


@pytest.mark.parametrize("manifest", [JOB, DATASET], ids=["job", "data set"])
def test_the_api_server_takes_a_good_object(manifest: Manifest, plane: ControlPlane) -> None:
    plane.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(manifest))


def test_free_parameters_survive_as_they_are(plane: ControlPlane) -> None:
    created = json.loads(plane.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", stdin=json.dumps(JOB)))

    assert created["spec"]["task"]["parameters"] == JOB["spec"]["task"]["parameters"]


@pytest.fixture
def job(plane: ControlPlane) -> Any:
    plane.kubectl("apply", "-f", "-", stdin=json.dumps(JOB))
    yield JOB
    plane.kubectl("delete", "fjob", "good", "-n", "research", "--ignore-not-found")


CHANGES: dict[str, Callable[[], Manifest]] = {
    "rounds": lambda: changed(JOB, "spec.rounds", 4),
    "task": lambda: changed(JOB, "spec.task.entrypoint", "other:Task"),
    "participants": lambda: changed(JOB, "spec.participants.minClients", 1),
    "privacy": lambda: changed(JOB, "spec.privacy", {"mode": "Client", "epsilon": 1, "delta": 1e-5, "clippingNorm": 1}),
    "secureAggregation": lambda: changed(JOB, "spec.secureAggregation.protocol", "None"),
    "training": lambda: changed(JOB, "spec.training.batchSize", 7),
    "seed": lambda: changed(JOB, "spec.seed", 99),
    "output": lambda: changed(JOB, "spec.output", {"persistentVolumeClaim": {"claimName": "models"}}),
}


@pytest.mark.parametrize("field", CHANGES)
def test_what_a_job_promised_can_not_be_changed(field: str, job: Manifest, plane: ControlPlane) -> None:
    done = plane.try_kubectl("apply", "-f", "-", stdin=json.dumps(CHANGES[field]()))

    assert done.returncode != 0
    assert "can't be" in done.stderr
    assert field in done.stderr


def test_a_job_can_be_suspended(job: Manifest, plane: ControlPlane) -> None:
    plane.kubectl("apply", "-f", "-", stdin=json.dumps(changed(JOB, "spec.suspend", True)))

    assert plane.get("fjob", "good", "-n", "research")["spec"]["suspend"] is True


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("fjob", "FederatedJob"),
        ("fjob.spec.privacy", "adds noise"),
        ("fjob.spec.participants.datasets", "one for each"),
        ("fjob.spec.secureAggregation.protocol", "SecAggPlus"),
        ("fjob.status.conditions", "DESCRIPTION"),
        ("fds.spec.grants", "DESCRIPTION"),
        ("fds.spec.identity", "base64"),
    ],
)
def test_kubectl_explains_every_field(field: str, expected: str, plane: ControlPlane) -> None:
    text = " ".join(plane.kubectl("explain", field).split())

    assert expected in text
    assert "<no description>" not in plane.kubectl("explain", field)


def test_no_field_lacks_a_description(plane: ControlPlane) -> None:
    for kind in ("federatedjobs", "federateddatasets"):
        schema = plane.get("crd", f"{kind}.coterie.dev")["spec"]["versions"][0]["schema"]["openAPIV3Schema"]

        assert list(_undescribed(schema, kind)) == []


def _undescribed(schema: Manifest, path: str) -> list[str]:
    found = [] if schema.get("description") or path.endswith(("metadata", "[]")) else [path]
    for name, child in schema.get("properties", {}).items():
        found += _undescribed(child, f"{path}.{name}")
    if isinstance(schema.get("items"), dict):
        found += _undescribed(schema["items"], f"{path}[]")
    return found


def test_both_kinds_are_established_and_accepted_as_structural(plane: ControlPlane) -> None:
    for kind in ("federatedjobs", "federateddatasets"):
        conditions = {each["type"]: each["status"] for each in plane.get("crd", f"{kind}.coterie.dev")["status"]["conditions"]}

        assert (conditions["Established"], conditions["NamesAccepted"]) == ("True", "True")
        assert conditions.get("NonStructuralSchema", "False") == "False"


def test_short_names_and_columns_are_there(job: Manifest, plane: ControlPlane) -> None:
    header, line = plane.kubectl("get", "fjob", "-n", "research").splitlines()[:2]

    assert header.split() == ["NAME", "STATE", "ROUND", "SURVIVORS", "ACCURACY", "EPSILON", "AGE"]
    assert line.split()[0] == "good"
