"""The status of a pod as a kubelet writes it, from the states of its containers. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from coterie_operator.cluster import Object


class Phase(StrEnum):
    """Where a pod is in its life."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


START_FAILED: Final = 128  # as containerd reports a command that can't be executed
LOST: Final = 137
FINAL: Final = frozenset({Phase.SUCCEEDED, Phase.FAILED})


def waiting(reason: str, message: str = "") -> Object:
    """Return the state of a container that does not run yet."""
    return {"waiting": {"reason": reason, **({"message": message} if message else {})}}


def terminated(status: int, started_at: str, finished_at: str, message: str) -> Object:
    """Return the state of a container that has ended with an exit status (128 + signal if a signal ended it)."""
    reason = {0: "Completed", START_FAILED: "StartError"}.get(status, "Error")
    state = {"exitCode": status, "reason": reason, "startedAt": started_at, "finishedAt": finished_at}
    return {"terminated": {**state, **({"message": message} if message else {})}}


@dataclass(slots=True)
class ContainerState:
    """One container's state, as it goes from waiting over running to terminated and around again."""

    name: str
    image: str
    is_init: bool
    is_sidecar: bool
    state: Object = field(default_factory=lambda: waiting("PodInitializing"))
    last: Object = field(default_factory=dict)
    restarts: int = 0
    has_started: bool = False

    @property
    def is_running(self) -> bool:
        return "running" in self.state

    @property
    def exit_status(self) -> int | None:
        """The exit status of a container that has ended."""
        ended = self.state.get("terminated")
        return None if ended is None else int(ended["exitCode"])

    def run(self, at: str) -> None:
        """Note that the container runs; what it was before becomes its last state."""
        self.restarts += self.has_started
        self.state, self.has_started = {"running": {"startedAt": at}}, True

    def end(self, state: Object) -> None:
        """Note that the container has ended."""
        self.state = state

    def lose(self, started_at: str, now: str) -> None:
        """Note that the container is gone and nobody saw how, or that it never ran."""
        self.state = terminated(LOST, started_at, now, "the container could not be located when the pod was terminated")
        self.state["terminated"]["reason"] = "ContainerStatusUnknown"

    def back_off(self, message: str) -> None:
        """Note that the container waits for its next start."""
        self.last, self.state = self.state, waiting("CrashLoopBackOff", message)

    def to_json(self) -> Object:
        is_done = self.exit_status == 0 if self.is_init and not self.is_sidecar else self.is_running
        return {
            "name": self.name,
            "image": self.image,
            "imageID": "",
            "state": self.state,
            "lastState": self.last,
            "ready": is_done,
            "started": self.is_running,
            "restartCount": self.restarts,
        }


@dataclass(slots=True)
class PodState:
    """What is known of a pod; `to_json` is its status."""

    containers: dict[str, ContainerState]
    ip: str
    start_time: str
    phase: Phase = Phase.PENDING
    reason: str = ""
    message: str = ""
    since: dict[str, tuple[bool, str]] = field(default_factory=dict)

    def to_json(self, now: str) -> Object:
        """Return the status; a condition's time is that of its last change."""
        init = [state for state in self.containers.values() if state.is_init]
        main = [state for state in self.containers.values() if not state.is_init]
        is_initialized = all(state.exit_status == 0 or (state.is_sidecar and state.has_started) for state in init)
        is_ready = self.phase is Phase.RUNNING and all(state.is_running for state in main)
        flags = {"PodScheduled": True, "Initialized": is_initialized, "ContainersReady": is_ready, "Ready": is_ready}
        return {
            "phase": self.phase.value,
            "startTime": self.start_time,
            "podIP": self.ip,
            "podIPs": [{"ip": self.ip}],
            "conditions": [self._condition(name, value, now) for name, value in flags.items()],
            "initContainerStatuses": [state.to_json() for state in init],
            "containerStatuses": [state.to_json() for state in main],
            **({"reason": self.reason} if self.reason else {}),
            **({"message": self.message} if self.message else {}),
        }

    def _condition(self, name: str, value: bool, now: str) -> Object:
        if self.since.get(name, (None, ""))[0] is not value:
            self.since[name] = (value, now)
        return {"type": name, "status": "True" if value else "False", "lastProbeTime": None, "lastTransitionTime": self.since[name][1]}


def new_state(pod: Object, ip: str, now: str) -> PodState:
    """Return the state of a pod whose containers have yet to start."""
    states: dict[str, ContainerState] = {}
    for container in pod["spec"].get("initContainers", []):
        sidecar = container.get("restartPolicy") == "Always"
        states[container["name"]] = ContainerState(container["name"], container.get("image", ""), is_init=True, is_sidecar=sidecar)
    for container in pod["spec"]["containers"]:
        states[container["name"]] = ContainerState(container["name"], container.get("image", ""), is_init=False, is_sidecar=False)
    return PodState(states, ip, now)
