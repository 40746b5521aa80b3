"""Laws of the pods that the operator starts."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from tests.unit.coterie_operator import builders
from tests.unit.coterie_operator.manifests.pod_security import containers, violations
from tests.unit.coterie_operator.manifests.started_parts import KEY, parts, tenant

from coterie_api.fields import canonical
from coterie_api.names import EXIT_TERMINAL, PATH_IDENTITY, PATH_TERMINATION
from coterie_api.podconfig import ClientRole, Role
from coterie_operator.manifests.aggregator import aggregator_job, certificate_secret, standing_children
from coterie_operator.manifests.client import client_job
from coterie_operator.manifests.client import standing_children as client_children
from coterie_operator.manifests.naming import DatasetKey, JobKey, child_name
from coterie_operator.settings import Settings

PVC = {"persistentVolumeClaim": {"claimName": "data"}}
WISHES = {
    "serviceAccountName": "training",
    "nodeSelector": {"gpu": "yes"},
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
    "priorityClassName": "low",
    "imagePullSecrets": [{"name": "pull"}],
    "resources": {"limits": {"nvidia.com/gpu": "1"}},
}
JOBS: dict[str, Any] = {
    "a plain client": client_job(parts(), tenant(), 0),
    "a client with a state volume": client_job(parts(), tenant(state=PVC), 0),
    "a client of an image volume": client_job(parts(), tenant(source={"image": {"reference": "registry.example/data@sha256:0"}}), 0),
    "a client of a ConfigMap": client_job(parts(), tenant(source={"configMap": {"name": "tiny"}}), 0),
    "a client with all of its owner's wishes": client_job(parts(), tenant(pod=WISHES), 3),
    "a client with environment": client_job(
        parts(clients={"env": [{"name": "POD_IP", "value": "1.2.3.4"}, {"name": "A", "value": "b"}]}), tenant(), 0
    ),
    "a plain aggregator": aggregator_job(parts(), 0),
    "an aggregator with evaluator, output and initial model": aggregator_job(
        parts(evaluation={"public": {"source": PVC}}, output={**PVC, "path": "fashion"}, initialModel={"source": PVC}), 2
    ),
    "an aggregator without a group": aggregator_job(parts(Settings(fs_group=None)), 0),
}
SPECS = {name: job["spec"]["template"]["spec"] for name, job in JOBS.items()}
each_pod = pytest.mark.parametrize("pod", SPECS.values(), ids=SPECS.keys())
each_job = pytest.mark.parametrize("job", JOBS.values(), ids=JOBS.keys())


@each_pod
def test_every_pod_passes_the_restricted_standard(pod: dict[str, Any]) -> None:
    assert violations(pod) == []


BROKEN: dict[str, Any] = {
    "a privileged container": lambda pod: pod["containers"][0]["securityContext"].update(privileged=True),
    "an escalating container": lambda pod: pod["containers"][0]["securityContext"].pop("allowPrivilegeEscalation"),
    "a capability": lambda pod: pod["containers"][0]["securityContext"].update(capabilities={"drop": ["ALL"], "add": ["SYS_ADMIN"]}),
    "kept capabilities": lambda pod: pod["containers"][0]["securityContext"].pop("capabilities"),
    "a root user": lambda pod: pod["containers"][0]["securityContext"].update(runAsUser=0),
    "a host path": lambda pod: pod["volumes"].append({"name": "host", "hostPath": {"path": "/"}}),
    "the host's network": lambda pod: pod.update(hostNetwork=True),
    "a host port": lambda pod: pod["containers"][0].update(ports=[{"containerPort": 1, "hostPort": 1}]),
    "an unconfined container": lambda pod: pod["containers"][0]["securityContext"].update(seccompProfile={"type": "Unconfined"}),
}


@pytest.mark.parametrize("spoil", BROKEN.values(), ids=BROKEN.keys())
def test_the_checker_of_the_standard_sees(spoil: Any) -> None:
    pod = copy.deepcopy(SPECS["a plain client"])
    spoil(pod)

    assert violations(pod) != []


@each_pod
def test_no_pod_holds_a_token_for_the_cluster_or_names_a_uid(pod: dict[str, Any]) -> None:
    assert pod["automountServiceAccountToken"] is False
    assert not any("projected" in volume for volume in pod["volumes"])
    assert "runAsUser" not in str(pod)


@each_pod
def test_every_container_has_requests_and_limits_for_cpu_and_memory(pod: dict[str, Any]) -> None:
    for container in containers(pod):
        for bound in ("requests", "limits"):
            assert {"cpu", "memory"} <= set(container["resources"][bound])


@each_pod
def test_every_mount_has_its_volume_and_every_volume_is_mounted(pod: dict[str, Any]) -> None:
    mounted = {mount["name"] for container in containers(pod) for mount in container["volumeMounts"]}
    assert mounted | {"evaluation"} == {volume["name"] for volume in pod["volumes"]} | {"evaluation"}
    assert mounted <= {volume["name"] for volume in pod["volumes"]}


@each_pod
def test_no_log_ever_becomes_a_termination_message(pod: dict[str, Any]) -> None:
    assert {(container["terminationMessagePolicy"], container["terminationMessagePath"]) for container in containers(pod)} == {
        ("File", PATH_TERMINATION)
    }


@each_pod
def test_the_root_file_system_is_read_only_and_data_and_secrets_are(pod: dict[str, Any]) -> None:
    for container in containers(pod):
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        for mount in container["volumeMounts"]:
            if mount["name"] in ("config", "tls", "identity", "data", "initial-model"):
                assert mount["readOnly"] is True


@each_pod
def test_every_container_runs_its_role_on_its_own_address(pod: dict[str, Any]) -> None:
    for container in containers(pod):
        assert container["command"] == ["python", "-m", "coterie_worker"]
        assert container["args"] == [container["name"], "--host=$(POD_IP)"]
        assert [entry for entry in container["env"] if entry["name"] == "POD_IP"] == [
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}}}
        ]


def test_no_client_offers_a_port_and_every_aggregator_does() -> None:
    offers = {name: any("ports" in container for container in containers(pod)) for name, pod in SPECS.items()}

    assert offers == {name: "aggregator" in name for name in SPECS}


@each_job
def test_a_batch_job_retries_only_what_a_retry_can_help(job: dict[str, Any]) -> None:
    spec = job["spec"]
    assert (spec["completions"], spec["parallelism"], spec["podReplacementPolicy"]) == (1, 1, "Failed")
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    ignore, fail = spec["podFailurePolicy"]["rules"]
    assert ignore == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    assert fail == {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [EXIT_TERMINAL]}}


@each_job
def test_a_batch_job_is_never_created_suspended(job: dict[str, Any]) -> None:
    assert "suspend" not in job["spec"]


def test_the_evaluator_is_a_sidecar_after_initialize_so_that_its_failure_fails_nothing() -> None:
    pod = SPECS["an aggregator with evaluator, output and initial model"]

    initialize, evaluator = pod["initContainers"]
    assert (initialize["name"], initialize.get("restartPolicy")) == ("initialize", None)
    assert (evaluator["name"], evaluator["restartPolicy"]) == ("evaluator", "Always")
    assert [container["name"] for container in pod["containers"]] == ["aggregator"]


def test_only_the_aggregator_sees_its_key_and_only_the_client_its_identity() -> None:
    pod = SPECS["an aggregator with evaluator, output and initial model"]
    holders = [container["name"] for container in containers(pod) if any(mount["name"] == "tls" for mount in container["volumeMounts"])]
    assert holders == ["aggregator"]
    secrets = [volume["secret"]["secretName"] for volume in SPECS["a plain client"]["volumes"] if "secret" in volume]
    assert secrets == ["coterie-identity"]
    assert any(mount["mountPath"] == PATH_IDENTITY for mount in SPECS["a plain client"]["containers"][0]["volumeMounts"])


def test_the_evaluator_can_not_write_to_the_checkpoint() -> None:
    evaluator = SPECS["an aggregator with evaluator, output and initial model"]["initContainers"][1]
    assert {mount["name"]: mount.get("readOnly", False) for mount in evaluator["volumeMounts"]}["checkpoint"] is True


def test_a_data_set_owners_wishes_can_not_weaken_the_pod() -> None:
    pod = SPECS["a client with all of its owner's wishes"]

    assert pod["serviceAccountName"] == "training"
    assert pod["automountServiceAccountToken"] is False
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert pod["containers"][0]["resources"]["requests"]["nvidia.com/gpu"] == "1"


def test_children_in_a_tenants_namespace_are_owned_by_that_tenants_data_set() -> None:
    for obj in [*client_children(parts(), tenant()), client_job(parts(), tenant(), 0)]:
        (owner,) = obj["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["uid"], owner["blockOwnerDeletion"]) == (
            "FederatedDataset",
            "visits",
            "uid-of-hospital-a",
            False,
        )
        assert obj["metadata"]["namespace"] == "hospital-a"
        assert obj["metadata"]["labels"]["coterie.dev/job-uid"] == KEY.uid


def test_children_in_the_jobs_namespace_are_owned_by_the_job() -> None:
    for obj in [*standing_children(parts()), aggregator_job(parts(), 0), certificate_secret(parts(), 0)]:
        (owner,) = obj["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["blockOwnerDeletion"]) == ("FederatedJob", KEY.uid, False)
        assert obj["metadata"]["namespace"] == "research"


def test_the_only_secret_is_of_our_own_type_and_immutable() -> None:
    secret = certificate_secret(parts(), 0)
    assert (secret["type"], secret["immutable"]) == ("coterie.dev/tls", True)


def test_job_json_is_the_same_in_every_pod_and_its_hash_is_frozen() -> None:
    started = parts()
    maps = [
        obj
        for obj in [*standing_children(started), *client_children(started, tenant()), *client_children(started, tenant("hospital-b", 1))]
        if obj["kind"] == "ConfigMap"
    ]

    assert len({obj["data"]["job.json"] for obj in maps}) == 1
    assert {obj["metadata"]["annotations"]["coterie.dev/spec-hash"] for obj in maps} == {started.frozen.spec_hash}
    assert all(obj["immutable"] for obj in maps)
    assert not any("PRIVATE" in str(obj["data"]) for obj in maps)


@pytest.mark.parametrize("name", ["a", "fashion", "x" * 40, "x" * 29 + "-" + "y" * 10])
@pytest.mark.parametrize("role", list(Role))
def test_names_of_children_are_labels_of_dns(name: str, role: Role) -> None:
    child = child_name(JobKey("research", name, "uid"), role, DatasetKey("hospital-a", "visits"), 123456)

    assert len(child) <= 63
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", child)


def test_names_of_children_differ_between_jobs_data_sets_roles_and_attempts() -> None:
    jobs = [JobKey("research", "fashion", "u1"), JobKey("research", "fashion", "u2")]
    sets = [DatasetKey("a", "b-c"), DatasetKey("a-b", "c"), None]
    names = [child_name(job, role, key, attempt) for job in jobs for key in sets for role in Role for attempt in (None, 0, 1)]

    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("asked", "requests", "limits"),
    [
        ({}, {"cpu": "500m", "memory": "1Gi"}, {"cpu": "4", "memory": "4Gi"}),
        ({"limits": {"cpu": "1"}}, {"cpu": "1", "memory": "1Gi"}, {"cpu": "1", "memory": "4Gi"}),
        ({"requests": {"memory": "8Gi"}}, {"cpu": "500m", "memory": "8Gi"}, {"cpu": "4", "memory": "8Gi"}),
        ({"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}, {"cpu": "1", "memory": "1Gi"}, {"cpu": "2", "memory": "4Gi"}),
    ],
)
def test_resources_are_completed_without_contradicting_what_was_asked(asked: Any, requests: Any, limits: Any) -> None:
    job = client_job(parts(clients={"resources": asked}), tenant(), 0)

    assert job["spec"]["template"]["spec"]["containers"][0]["resources"] == {"requests": requests, "limits": limits}


def test_a_pass_over_many_tenants_writes_the_jobs_file_once(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[type] = []
    monkeypatch.setattr("coterie_operator.manifests.parts.canonical", lambda value: written.append(type(value)) or canonical(value))
    started = parts(tenants=5)
    written.clear()

    for index, name in enumerate(builders.TENANTS):
        client_children(started, tenant(name, index))

    assert set(written) == {ClientRole}
