"""What keeps a pod from running, read from what the scheduler, the kubelet and the Job controller say of it.

Their texts are for people, but not as they are: they change from one attempt to the next (used amounts, ports, counts of nodes), which
would be a write to the job's status each time, and some speak of a tenant's affairs. So each is recognized by what does not change, and
told in our words with what a person can do about it. Only what nothing recognizes is quoted, in short. No word of a container's own
process is ever looked at here.

Source: Kubernetes' pkg/kubelet/images/types.go, pkg/kubelet/container/sync_result.go, pkg/kubelet/lifecycle/predicate.go,
pkg/scheduler/framework, pkg/controller/job/job_controller.go.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from coterie_api.podconfig import Role
from coterie_api.v1alpha1.conditions import Reason
from coterie_operator.core.children import Obstacle
from coterie_operator.core.refusals import refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from coterie_operator.cluster import Object

Json = dict[str, Any]

QUOTED: Final = 160  # characters of somebody else's text, at most
PULLS: Final = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "ErrImageNeverPull",
        "InvalidImageName",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
CREATIONS: Final = frozenset(
    {
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
        "PreCreateHookError",
        "PreStartHookError",
        "PostStartHookError",
    }
)
NOT_STARTED: Final = frozenset({"StartError", "ContainerCannotRun"})  # of a container that ended before its process began
CRASHES: Final = frozenset({"CrashLoopBackOff"})
OUT_OF_MEMORY: Final = "OOMKilled"  # the kubelet's reason
LIMITS: Final = {
    Role.CLIENT.value: "spec.clients.resources of the job, or spec.pod.resources of the data set",
    Role.AGGREGATOR.value: "spec.aggregator.resources of the job",
}
LIMIT_OF_OTHERS: Final = "spec.evaluator.resources of the job"  # `initialize` and the evaluator

# The first that fits, for what registries and their clients say: the way there, then the door, then the shelf.
PULL_CAUSES: Final[tuple[tuple[str, str], ...]] = (
    (r"toomanyrequests|too many requests|\b429\b|rate limit", "the registry allows no more pulls now"),
    (
        r"no such host|connection refused|dial tcp|timeout|no route to host|TLS handshake|x509|misbehaving|deadline exceeded|EOF",
        "the node can't reach the registry: check the image's name, the network and the registry's certificate",
    ),
    (
        r"unauthorized|authoriz|denied|insufficient_scope|forbidden|no basic auth|\b40[13]\b",
        "the registry has no such image or asks for credentials: check its name and the pod's imagePullSecrets",
    ),
    (r"no match for platform|no matching manifest", "the image is not built for the node's platform"),
    (r"not found|manifest unknown|name unknown|NAME_UNKNOWN", "the registry has no such image: check its name and tag"),
    (r"no space left", "the node's disk is full"),
)
MISSING: Final = (
    # `MountVolume.SetUp failed for volume "identity" : secret "x" not found`, also of a container's environment
    (re.compile(r"secrets? \"([^\"]+)\" not found"), Reason.SECRET_NOT_FOUND, "Secret"),
    (re.compile(r"references non-existent secret key: (\S+)"), Reason.SECRET_NOT_FOUND, "key"),
    (re.compile(r"couldn't find key (\S+) in Secret"), Reason.SECRET_NOT_FOUND, "key"),
    (re.compile(r"configmaps? \"([^\"]+)\" not found"), Reason.VOLUME_NOT_READY, "ConfigMap"),
    (re.compile(r"references non-existent config key: (\S+)"), Reason.VOLUME_NOT_READY, "key"),
    (re.compile(r"persistentvolumeclaims? \"([^\"]+)\" not found"), Reason.CLAIM_NOT_FOUND, "PersistentVolumeClaim"),
)
CLAIMS: Final = (
    (r"persistentvolumeclaim \"([^\"]+)\" is being deleted", "its PersistentVolumeClaim {} is being deleted"),
    (r"persistentvolumeclaim \"([^\"]+)\" bound to non-existent", "the volume of its PersistentVolumeClaim {} does not exist any more"),
    (
        r"(unbound immediate PersistentVolumeClaims|didn't find available persistent volumes)",
        "a PersistentVolumeClaim of it is not bound: no volume fits the claim, or its storage class does not exist",
    ),
    (
        r"(ReadWriteOncePod access mode)",
        "a PersistentVolumeClaim of it is in use by another pod (ReadWriteOncePod): it starts once that pod has ended",
    ),
)
LOST: Final = "DeletionByTaintManager"
DISRUPTIONS: Final = {
    "EvictionByEvictionAPI": "it was evicted, as by `kubectl drain`",
    "PreemptionByScheduler": "a pod of higher priority took its place",
    "DeletionByTaintManager": "its node did not answer or was tainted",
    "DeletionByPodGC": "its node is gone",
    "TerminationByKubelet": "its node had too little memory or disk left, or shut down",
}


def pod_obstacle(pod: Object) -> Obstacle | None:
    """Return what keeps a pod from running or has ended it, as far as its own status says so."""
    status: Json = pod.get("status") or {}
    containers = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    found = _killed(pod, containers) or _taken_away(pod, status)
    if found is not None or status.get("phase") in ("Running", "Succeeded"):
        return found
    return _unscheduled(status) or _first(_container(each) for each in containers)


def mount_obstacle(events: Iterable[Object]) -> Obstacle | None:
    """Return what the newest warning about a pod says, where its own status does not."""
    newest = _newest(events, ("FailedMount", "FailedAttachVolume", "FailedMapVolume", "FailedCreatePodSandBox"))
    return _of_files(newest) if newest else None


def refusal_obstacle(events: Iterable[Object]) -> Obstacle | None:
    """Return why the Job controller could not create a pod, as its newest event says."""
    newest = _newest(events, ("FailedCreate",))
    unknown = Obstacle(Reason.POD_REFUSED, "the API server does not allow it; the events of its batch Job say why")
    return (refusal(newest) or unknown) if newest else None


def _killed(pod: Object, containers: Sequence[Json]) -> Obstacle | None:
    """Return that a container ran out of memory, with its limit and what to raise."""
    for container in containers:
        states = (container.get("state") or {}, container.get("lastState") or {})
        if any((state.get("terminated") or {}).get("reason") == OUT_OF_MEMORY for state in states):
            name = str(container.get("name", ""))
            limit = _memory_limit(pod, name)
            bound = f"its memory limit of {limit}" if limit else "a memory limit"
            raised = LIMITS.get(name, LIMIT_OF_OTHERS)
            return Obstacle(Reason.OUT_OF_MEMORY, f"container {name} was killed at {bound} (OOMKilled): raise {raised}")
    return None


def _memory_limit(pod: Object, container: str) -> str:
    spec: Json = pod.get("spec") or {}
    for each in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        if each.get("name") == container:
            return str(((each.get("resources") or {}).get("limits") or {}).get("memory", ""))
    return ""


def _taken_away(pod: Object, status: Json) -> Obstacle | None:
    """Return that a pod was refused by its node, or taken off it."""
    disruption = next((each for each in status.get("conditions") or () if _is(each, "DisruptionTarget", "True")), None)
    is_going = "deletionTimestamp" in pod["metadata"]
    if disruption is not None and is_going and disruption.get("reason") == LOST:
        return Obstacle(Reason.NODE_LOST, "its node does not answer; another pod takes its place once the node is back or removed")
    if disruption is not None:
        why = DISRUPTIONS.get(str(disruption.get("reason")), "it had to make way")
        return Obstacle(Reason.EVICTED, f"the pod was taken off its node: {why}; another takes its place")
    if status.get("phase") == "Unknown" or status.get("reason") == "NodeLost":
        return Obstacle(Reason.NODE_LOST, "its node does not answer; another pod takes its place once the node is back or removed")
    if status.get("phase") != "Failed":
        return None
    if status.get("reason") == "Evicted":
        return Obstacle(Reason.EVICTED, "the pod was taken off its node, which had too little memory or disk left; another takes its place")
    if "Pod was rejected" in str(status.get("message") or ""):
        return Obstacle(
            Reason.EVICTED, f"its node refused the pod ({_short(str(status.get('reason') or 'rejected'))}); another takes its place"
        )
    return None


def _unscheduled(status: Json) -> Obstacle | None:
    placed = next((each for each in status.get("conditions") or () if _is(each, "PodScheduled", "False")), None)
    if placed is None:
        return None
    text = str(placed.get("message") or "")
    missing = _missing(text)
    if missing is not None:
        return missing
    for pattern, sentence in CLAIMS:
        if (claim := re.search(pattern, text)) is not None:
            return Obstacle(Reason.VOLUME_NOT_READY, sentence.format(claim[1]))
    lacks = _lacks(text)
    return Obstacle(Reason.UNSCHEDULABLE, f"no node can take the pod{': ' + lacks if lacks else ''}")


def _lacks(text: str) -> str:
    """Return what the scheduler found wanting, without counts of nodes: they change by the minute."""
    _, _, why = text.partition("nodes are available: ")
    parts = [re.sub(r"^\d+ ", "", part.strip(" .")) for part in why.split("preemption:")[0].split(", ")]
    return _short(", ".join(sorted({part.removeprefix("node(s) ") for part in parts if part})))


def _container(container: Json) -> Obstacle | None:
    state: Json = container.get("state") or {}
    waits: Json = state.get("waiting") or {}
    ended: Json = state.get("terminated") or {}
    reason, text, name = str(waits.get("reason") or ""), str(waits.get("message") or ""), str(container.get("name") or "")
    if reason in PULLS:
        return Obstacle(
            Reason.IMAGE_PULL_BACK_OFF, f"image {container.get('image')} can't be pulled ({reason_of_pull(reason)}): {_pull(reason, text)}"
        )
    if reason in CREATIONS:
        return _missing(text) or Obstacle(Reason.CONTAINER_NOT_STARTED, f"container {name} can't be made: {_runtime(text or reason)}")
    if reason in CRASHES:
        return Obstacle(Reason.CRASH_LOOP_BACK_OFF, f"container {name} ends again and again; its log says why")
    if ended.get("reason") in NOT_STARTED:
        return Obstacle(Reason.CONTAINER_NOT_STARTED, f"container {name} could not be started: {_runtime(str(ended.get('message') or ''))}")
    return _of_files(text) if text else None


def reason_of_pull(reason: str) -> str:
    """Return one word for a pull that fails: kubelets alternate between failing and waiting, which is no news."""
    return "ImagePullBackOff" if reason == "ErrImagePull" else reason


def _pull(reason: str, text: str) -> str:
    if reason == "InvalidImageName":
        return "its name is malformed"
    if reason == "ErrImageNeverPull":
        return "it is not on the node, and the pull policy is Never"
    why = text.rpartition("ErrImagePull: ")[2]
    # An image's own name may hold any of the words below.
    plain = re.sub(r"\"[^\"]*\"", "", why)
    for pattern, sentence in PULL_CAUSES:
        if re.search(pattern, plain, re.IGNORECASE):
            return sentence
    return "the registry gives no image" if why.startswith("Back-off") or not why else _short(why.rpartition(": ")[2])


def _runtime(text: str) -> str:
    """Return the end of what a container runtime says, which is what went wrong; before it stands what it was about to do."""
    if "runAsNonRoot" in text or "non-numeric user" in text:
        return "its image runs as root, or by a user without a number, and pods of a job don't"
    if (program := re.search(r'exec: "([^"]+)": ([^:]+)', text)) is not None:
        return f"the image has no {program[1]} to run ({_short(program[2])}): it must be built on the worker's image"
    return _short(re.sub(r"(: unknown)?$", "", text).rpartition(": ")[2])


def _missing(text: str) -> Obstacle | None:
    for pattern, reason, what in MISSING:
        if (found := pattern.search(text)) is not None:
            name = found[1].strip('".')
            told = f"a Secret or ConfigMap of it has no key {name}" if what == "key" else f"its {what} {name} does not exist"
            return Obstacle(reason, told)
    return None


def _of_files(text: str) -> Obstacle:
    if (found := _missing(text)) is not None:
        return found
    why = _short(re.sub(r"^.*?failed for volume \"[^\"]*\" : ", "", text, flags=re.DOTALL).rpartition(": ")[2])
    return Obstacle(Reason.VOLUME_NOT_READY, f"its volumes or its network are not ready: {why}")


def _newest(events: Iterable[Object], reasons: tuple[str, ...]) -> str:
    told = [event for event in events if event.get("reason") in reasons]
    return str(max(told, key=_when).get("message") or "") if told else ""


def _when(event: Object) -> str:
    series: Json = event.get("series") or {}
    times = (event.get("lastTimestamp"), series.get("lastObservedTime"), event.get("eventTime"), event["metadata"].get("creationTimestamp"))
    return max(str(time) for time in times if time) if any(times) else ""


def _is(condition: Json, kind: str, status: str) -> bool:
    return condition.get("type") == kind and condition.get("status") == status


def _first(found: Iterable[Obstacle | None]) -> Obstacle | None:
    return next((each for each in found if each is not None), None)


def _short(text: str) -> str:
    """Return at most so many characters of a text on one line, without what changes by itself: addresses and queries of URLs, ports."""
    plain = re.sub(r"\?\S*", "", " ".join(text.split()))
    plain = re.sub(r"(\d+\.\d+\.\d+\.\d+):\d+->", r"\1->", plain)
    return plain if len(plain) <= QUOTED else plain[: QUOTED - 1] + "…"


def has_sandbox(pod: Object) -> bool:
    """Whether a node has given the pod its volumes and its network: what is missing then is an image, or the end of an init container."""
    status: Json = pod.get("status") or {}
    containers = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    has_begun = any({"running", "terminated"} & set(each.get("state") or {}) for each in containers)
    return has_begun or any(_is(each, "PodReadyToStartContainers", "True") for each in status.get("conditions") or ())


def is_stuck_alone(pod: Object) -> bool:
    """Whether a pod's own status can't say why it waits, so that its events are worth asking for: a node has it and can't begin."""
    status: Json = pod.get("status") or {}
    containers = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    waits = [(each.get("state") or {}).get("waiting") or {} for each in containers]
    is_placed = not any(_is(each, "PodScheduled", "False") for each in status.get("conditions") or ())
    return (
        status.get("phase") in (None, "Pending")
        and is_placed
        and not has_sandbox(pod)
        and all(each.get("reason") in ("ContainerCreating", "PodInitializing") for each in waits)
    )
