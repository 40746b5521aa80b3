"""What keeps a pod from running, read from what real schedulers, kubelets and Job controllers of Kubernetes 1.31 to 1.37 say."""

# ruff: noqa: E501, ISC004 - the texts of Kubernetes stand here as they are

from __future__ import annotations

from typing import Any

import pytest

from coterie_api.v1alpha1.conditions import Reason
from coterie_operator.observe.obstacles import is_stuck_alone, mount_obstacle, pod_obstacle, refusal_obstacle

IMAGE = "registry.example/train:1"


def pod(status: dict[str, Any], *, going: bool = False, memory: str = "512Mi") -> dict[str, Any]:
    metadata = {"name": "p", "namespace": "hospital-b", **({"deletionTimestamp": "2026-08-01T12:00:00Z"} if going else {})}
    limits = {"resources": {"limits": {"memory": memory}}}
    spec = {"containers": [{"name": "client", **limits}], "initContainers": [{"name": "initialize", **limits}]}
    return {"kind": "Pod", "metadata": metadata, "spec": spec, "status": status}


def waiting(reason: str, message: str, name: str = "client") -> dict[str, Any]:
    return pod({"phase": "Pending", "containerStatuses": [{"name": name, "image": IMAGE, "state": {"waiting": _said(reason, message)}}]})


def ended(reason: str, message: str, exit_code: int, name: str = "client", kind: str = "containerStatuses") -> dict[str, Any]:
    state = {"terminated": {"exitCode": exit_code, **_said(reason, message)}}
    return pod({"phase": "Failed", kind: [{"name": name, "image": IMAGE, "state": state}]})


def unscheduled(message: str) -> dict[str, Any]:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return pod({"phase": "Pending", "conditions": [condition]})


def _said(reason: str, message: str) -> dict[str, str]:
    return {"reason": reason, **({"message": message} if message else {})}


RESOLVE = f'failed to pull and unpack image "{IMAGE}": failed to resolve reference "{IMAGE}"'
PULLS = {
    "no such tag": (f"{RESOLVE}: {IMAGE}: not found", "the registry has no such image: check its name and tag"),
    "a private image": (
        f"{RESOLVE}: pull access denied, repository does not exist or may require authorization: server message: "
        "insufficient_scope: authorization failed",
        "asks for credentials",
    ),
    "wrong credentials": (
        f"{RESOLVE}: failed to authorize: failed to fetch oauth token: unexpected status from GET request to "
        "https://registry.example/token?scope=repository%3Atrain%3Apull&service=registry: 401 Unauthorized",
        "asks for credentials",
    ),
    "an unknown host": (
        f'{RESOLVE}: failed to do request: Head "https://registry.example/v2/train/manifests/1": dial tcp: lookup registry.example on '
        "10.0.0.10:53: no such host",
        "can't reach the registry",
    ),
    "a closed port": (
        f'{RESOLVE}: failed to do request: Head "https://registry.example/v2/train/manifests/1": dial tcp 127.0.0.1:443: connect: '
        "connection refused",
        "can't reach the registry",
    ),
    "a foreign certificate": (
        f'{RESOLVE}: failed to do request: Head "https://registry.example/v2/": tls: failed to verify certificate: x509: certificate '
        "signed by unknown authority",
        "can't reach the registry",
    ),
    "too many pulls": (
        f"{RESOLVE}: unexpected status from HEAD request to https://registry.example/v2/train/manifests/1: 429 Too Many Requests",
        "allows no more pulls now",
    ),
    "another platform": (
        f'failed to pull and unpack image "{IMAGE}": no match for platform in manifest: not found',
        "not built for the node",
    ),
}


@pytest.mark.parametrize(("said", "told"), PULLS.values(), ids=PULLS.keys())
def test_a_pull_that_fails_reads_the_same_while_it_waits_and_when_it_is_tried_again(said: str, told: str) -> None:
    failing = pod_obstacle(waiting("ErrImagePull", said))
    backing_off = pod_obstacle(waiting("ImagePullBackOff", f'Back-off pulling image "{IMAGE}": ErrImagePull: {said}'))

    assert failing == backing_off
    assert failing is not None
    assert failing.reason is Reason.IMAGE_PULL_BACK_OFF
    assert failing.message.startswith(f"image {IMAGE} can't be pulled (ImagePullBackOff): ")
    assert told in failing.message


def test_words_in_an_images_name_don_t_explain_why_it_can_not_be_pulled() -> None:
    name = "registry.example/denied-timeout:401"
    found = pod_obstacle(waiting("ErrImagePull", f'failed to pull and unpack image "{name}": something new: of an unheard kind'))

    assert found is not None
    assert found.message.endswith(": of an unheard kind")


CONTAINERS = {
    "a malformed name": (
        waiting(
            "InvalidImageName", 'Failed to apply default image tag "A:B:C": couldn\'t parse image name "A:B:C": invalid reference format'
        ),
        Reason.IMAGE_PULL_BACK_OFF,
        "its name is malformed",
    ),
    "never pulled": (
        waiting("ErrImageNeverPull", f'Container image "{IMAGE}" is not present with pull policy of Never'),
        Reason.IMAGE_PULL_BACK_OFF,
        "not on the node",
    ),
    "a Secret of the environment": (
        waiting("CreateContainerConfigError", 'secret "keys" not found'),
        Reason.SECRET_NOT_FOUND,
        "Secret keys",
    ),
    "a key of a Secret": (
        waiting("CreateContainerConfigError", "couldn't find key private.pem in Secret hospital-b/keys"),
        Reason.SECRET_NOT_FOUND,
        "no key private.pem",
    ),
    "root": (
        waiting(
            "CreateContainerConfigError",
            'container has runAsNonRoot and image will run as root (pod: "p_hospital-b(1-2)", container: client)',
        ),
        Reason.CONTAINER_NOT_STARTED,
        "its image runs as root",
    ),
    "no interpreter": (
        waiting(
            "RunContainerError",
            "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start "
            'container process: error during container init: exec: "python": executable file not found in $PATH: unknown',
        ),
        Reason.CONTAINER_NOT_STARTED,
        "the image has no python to run",
    ),
    "no interpreter, and not tried again": (
        ended(
            "StartError",
            "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start "
            'container process: error during container init: exec: "python": executable file not found in $PATH: unknown',
            128,
        ),
        Reason.CONTAINER_NOT_STARTED,
        "the image has no python to run",
    ),
    "a crash loop": (
        waiting("CrashLoopBackOff", "back-off 20s restarting failed container=evaluator pod=p_research(1-2)", "evaluator"),
        Reason.CRASH_LOOP_BACK_OFF,
        "container evaluator ends again and again",
    ),
    "memory": (
        ended("OOMKilled", "", 137),
        Reason.OUT_OF_MEMORY,
        "container client was killed at its memory limit of 512Mi (OOMKilled): raise",
    ),
    "memory of an init container": (
        ended("OOMKilled", "", 137, "initialize", "initContainerStatuses"),
        Reason.OUT_OF_MEMORY,
        "raise spec.evaluator.resources of the job",
    ),
    "a claim": (
        unscheduled(
            '0/1 nodes are available: persistentvolumeclaim "digits" not found. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.'
        ),
        Reason.CLAIM_NOT_FOUND,
        "its PersistentVolumeClaim digits does not exist",
    ),
    "a claim, in older words": (
        unscheduled('persistentvolumeclaim "digits" not found'),
        Reason.CLAIM_NOT_FOUND,
        "its PersistentVolumeClaim digits does not exist",
    ),
    "an unbound claim": (
        unscheduled("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found"),
        Reason.VOLUME_NOT_READY,
        "is not bound",
    ),
    "a claim that another pod has": (
        unscheduled(
            "0/1 nodes are available: 1 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode."
        ),
        Reason.VOLUME_NOT_READY,
        "in use by another pod",
    ),
    "no room": (
        unscheduled(
            "0/5 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, 2 Insufficient cpu, 4 Insufficient "
            "memory. no new claims to deallocate, preemption: 0/5 nodes are available: 5 No preemption victims found for incoming pod."
        ),
        Reason.UNSCHEDULABLE,
        "no node can take the pod: Insufficient cpu, Insufficient memory. no new claims to deallocate, had untolerated taint",
    ),
    "an eviction": (
        pod(
            {
                "phase": "Failed",
                "reason": "Evicted",
                "message": "The node was low on resource: memory. Threshold quantity: 100Mi, available: 8Ki.",
            }
        ),
        Reason.EVICTED,
        "too little memory or disk",
    ),
    "a drain": (
        pod({"phase": "Failed", "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}]}),
        Reason.EVICTED,
        "as by `kubectl drain`",
    ),
    "a node's refusal": (
        pod(
            {
                "phase": "Failed",
                "reason": "OutOfcpu",
                "message": "Pod was rejected: Node didn't have enough resource: cpu, requested: 1000, used: 9100",
            }
        ),
        Reason.EVICTED,
        "its node refused the pod (OutOfcpu)",
    ),
    "a node that does not answer": (
        pod(
            {"phase": "Running", "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}]},
            going=True,
        ),
        Reason.NODE_LOST,
        "its node does not answer",
    ),
    "an unknown phase": (pod({"phase": "Unknown", "reason": "NodeLost"}), Reason.NODE_LOST, "its node does not answer"),
}


@pytest.mark.parametrize(("found", "reason", "told"), CONTAINERS.values(), ids=CONTAINERS.keys())
def test_a_pods_own_status_says_what_keeps_it_from_running(found: dict[str, Any], reason: Reason, told: str) -> None:
    obstacle = pod_obstacle(found)

    assert obstacle is not None
    assert obstacle.reason is reason
    assert told in obstacle.message


NONE = {
    "fresh": pod({}),
    "creating": waiting("ContainerCreating", ""),
    "initializing": waiting("PodInitializing", ""),
    "running": pod({"phase": "Running", "containerStatuses": [{"name": "client", "state": {"running": {}}}]}),
    "done": pod({"phase": "Succeeded"}),
    "going by hand": pod({"phase": "Running"}, going=True),
    "failed by itself": ended("Error", "Smith, John: 1.5", 1),
}


@pytest.mark.parametrize("found", NONE.values(), ids=NONE.keys())
def test_what_every_pod_goes_through_is_no_obstacle(found: dict[str, Any]) -> None:
    assert pod_obstacle(found) is None


@pytest.mark.parametrize("reason", ["Error", "OOMKilled", "Completed", "ContainerStatusUnknown"])
def test_no_word_of_a_containers_own_process_is_told(reason: str) -> None:
    assert "Smith" not in str(pod_obstacle(ended(reason, 'secret "Smith, John" not found', 1)))


def event(reason: str, message: str, when: str = "2026-08-01T12:00:00Z") -> dict[str, Any]:
    return {"kind": "Event", "metadata": {"creationTimestamp": when}, "reason": reason, "message": message, "lastTimestamp": when}


MOUNTS = {
    "the identity": (
        'MountVolume.SetUp failed for volume "identity" : secret "coterie-identity" not found',
        Reason.SECRET_NOT_FOUND,
        "coterie-identity",
    ),
    "a key of it": (
        'MountVolume.SetUp failed for volume "identity" : references non-existent secret key: private.pem',
        Reason.SECRET_NOT_FOUND,
        "private.pem",
    ),
    "a configuration": ('MountVolume.SetUp failed for volume "config" : configmap "c" not found', Reason.VOLUME_NOT_READY, "ConfigMap c"),
    "a disk": (
        'AttachVolume.Attach failed for volume "pvc-1" : rpc error: code = NotFound desc = disk 7 is gone',
        Reason.VOLUME_NOT_READY,
        "not ready",
    ),
    "a network": (
        'Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox "ab": plugin type="bridge" failed (add): no IPs left',
        Reason.VOLUME_NOT_READY,
        "no IPs left",
    ),
}


@pytest.mark.parametrize(("said", "reason", "told"), MOUNTS.values(), ids=MOUNTS.keys())
def test_the_newest_warning_says_why_a_node_can_not_make_a_pod(said: str, reason: Reason, told: str) -> None:
    kind = "FailedCreatePodSandBox" if "sandbox" in said else "FailedMount"
    found = mount_obstacle(
        [event(kind, "older", "2026-08-01T11:00:00Z"), event(kind, said), event("Unhealthy", "Smith", "2026-08-01T13:00:00Z")]
    )

    assert found is not None
    assert found.reason is reason
    assert told in found.message


@pytest.mark.parametrize(
    "events", [[], [event("Scheduled", "Successfully assigned")], [event("Unhealthy", "Liveness probe failed: Smith")]]
)
def test_other_events_are_nobodys_business(events: list[dict[str, Any]]) -> None:
    assert mount_obstacle(events) is None
    assert refusal_obstacle(events) is None


INITIALIZING = [
    {"name": "initialize", "state": {"running": {}}},
    {"name": "evaluator", "state": {"waiting": {"reason": "PodInitializing"}}},
]


@pytest.mark.parametrize(
    ("found", "is_stuck"),
    [
        (pod({}), True),
        (waiting("ContainerCreating", ""), True),
        (waiting("ImagePullBackOff", ""), False),
        (unscheduled("0/1 nodes are available"), False),
        (pod({"phase": "Running"}), False),
        (pod({"phase": "Failed"}), False),
        (pod({"phase": "Pending", "initContainerStatuses": INITIALIZING}), False),
        (pod({"phase": "Pending", "conditions": [{"type": "PodReadyToStartContainers", "status": "False"}]}), True),
        (pod({"phase": "Pending", "conditions": [{"type": "PodReadyToStartContainers", "status": "True"}]}), False),
    ],
)
def test_events_are_asked_for_only_where_the_status_is_silent(found: dict[str, Any], is_stuck: bool) -> None:
    assert is_stuck_alone(found) is is_stuck
