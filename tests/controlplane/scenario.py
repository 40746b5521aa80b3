"""What tests of this tier do to the cluster: as an administrator, as tenants, as a job's author."""

from __future__ import annotations

import copy
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml
from tests.cluster import chart
from tests.cluster.administrator import Administrator
from tests.cluster.processes import wait_until

from coterie_operator.local.identity import KeyPair

if TYPE_CHECKING:
    from collections.abc import Callable


Manifest = dict[str, Any]

DIGITS: Final = Path(__file__).parents[2] / "examples" / "digits"
JOBS: Final = "research"
TENANTS: Final = ("hospital-a", "hospital-b", "hospital-c", "hospital-d", "hospital-e")
VALUES: Final = {"tenants": list(TENANTS), "jobNamespaces": [JOBS]}
SECRET: Final = "coterie-identity"
CHILDREN: Final = "jobs.batch,pods,configmaps,services,persistentvolumeclaims,secrets,networkpolicies"
POLL_SECONDS: Final = 0.5  # each look is a kubectl, which costs more than what it looks at
OURS: Final = "app.kubernetes.io/managed-by=coterie"
# What the control plane itself writes all the time.
NOISE: Final = frozenset({"events", "events.events.k8s.io", "leases.coordination.k8s.io", "endpoints", "endpointslices.discovery.k8s.io"})


def install(plane: Administrator) -> None:
    """Install the chart but for the operator's own pods, as often as one likes."""
    for name in (chart.NAMESPACE, JOBS, *TENANTS):
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        plane.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(manifest))
    manifests = chart.render(VALUES)
    definitions = chart.of_kind(manifests, "CustomResourceDefinition")
    plane.kubectl("apply", "--server-side", "-f", "-", stdin=chart.to_yaml(definitions))
    plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
    others = [manifest for manifest in manifests if manifest["kind"] not in {"CustomResourceDefinition", "Deployment"}]
    plane.kubectl("apply", "--server-side", "-f", "-", stdin=chart.to_yaml(others))


def enroll(plane: Administrator, tenant: str, dataset: str = "digits") -> None:
    """Do what a tenant does once: make a key pair, keep one half in a Secret, write the other into the data set."""
    pair = KeyPair.generate()
    plane.kubectl("apply", "-f", "-", stdin=json.dumps(pair.secret(tenant, SECRET)))
    identity = {"spec": {"identity": {"publicKey": pair.public_key, "secretName": SECRET}}}
    plane.kubectl("patch", "fds", dataset, "-n", tenant, "--type=merge", "-p", json.dumps(identity))


def readers_volumes(plane: Administrator) -> Path:
    """Return where claims lie that a reader of the documentation has filled; the task's code lies beside it."""
    return plane.folder / "reader" / "volumes"


def example() -> list[Manifest]:
    """Return the manifests of examples/digits."""
    return [manifest for manifest in yaml.safe_load_all((DIGITS / "digits.yaml").read_text()) if manifest]


def without_the_job() -> list[Manifest]:
    """Return the data sets and claims of examples/digits."""
    return [manifest for manifest in example() if manifest["kind"] != "FederatedJob"]


def of_people() -> set[str]:
    """Return what people brought for examples/digits besides the job, as `inventory` names it."""
    names = {(each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]) for each in without_the_job()}
    names |= {("Secret", tenant, SECRET) for tenant in TENANTS}
    return {f"{kind}/{namespace}/{name}" for kind, namespace, name in names if namespace}


def inventory(plane: Administrator) -> set[str]:
    """Return every object of every namespace, as kind/namespace/name."""
    kinds = set(plane.kubectl("api-resources", "--verbs=list", "--namespaced", "-o", "name").split()) - NOISE
    template = '{range .items[*]}{.kind}/{.metadata.namespace}/{.metadata.name}{"\\n"}{end}'
    found = plane.kubectl("get", ",".join(sorted(kinds)), "--all-namespaces", "--ignore-not-found", "-o", f"jsonpath={template}")
    return set(found.split())


def digits_job(name: str, **spec: Any) -> Manifest:
    """Return the example's job under another name, with some fields of its spec replaced."""
    job = copy.deepcopy(next(manifest for manifest in example() if manifest["kind"] == "FederatedJob"))
    job["metadata"]["name"] = name
    job["spec"] |= {"rounds": 6, "output": {"persistentVolumeClaim": {"claimName": "models"}, "path": name}, **spec}
    return job


@dataclass(frozen=True, slots=True)
class Run:
    """One job, as its author sees it."""

    plane: Administrator
    name: str

    @classmethod
    def begin(cls, plane: Administrator, job: Manifest) -> Run:
        plane.kubectl("apply", "-f", "-", stdin=json.dumps(job))
        return cls(plane, job["metadata"]["name"])

    @property
    def job(self) -> Manifest:
        found: Manifest = self.plane.get("fjob", self.name, "-n", JOBS)
        return found

    @property
    def status(self) -> Manifest:
        found: Manifest = self.job.get("status", {})
        return found

    def condition(self, kind: str) -> tuple[str, str]:
        """Return status and reason of a condition."""
        found: Manifest = next((each for each in self.status.get("conditions", []) if each["type"] == kind), {})
        return found.get("status", ""), found.get("reason", "")

    def message(self, kind: str) -> str:
        """Return a condition's message."""
        return next((str(each.get("message", "")) for each in self.status.get("conditions", []) if each["type"] == kind), "")

    def tenant(self, namespace: str) -> Manifest:
        """Return what the status tells of one tenant; empty if nothing."""
        found: Manifest = next((each for each in self.status.get("tenants", []) if each["namespace"] == namespace), {})
        return found

    def children(self, kinds: str = CHILDREN) -> list[Manifest]:
        """Return the job's children of some kinds in every namespace."""
        found: list[Manifest] = self.plane.get(kinds, "--all-namespaces", "-l", f"{OURS},coterie.dev/job-name={self.name}")["items"]
        return [each for each in found if "deletionTimestamp" not in each["metadata"]]

    def reaches(self, round_index: int, timeout_seconds: float = 120) -> None:
        """Wait until so many rounds are done."""

        def reached() -> bool:
            assert self.condition("Failed")[0] != "True", self.status.get("message")
            return int(self.status.get("round", 0)) >= round_index

        self.waits(reached, f"round {round_index} of {self.name}", timeout_seconds)

    def waits(self, holds: Callable[[], object], what: str, timeout_seconds: float = 120) -> None:
        """Wait for something while the cluster's programs run."""
        try:
            wait_until(holds, what, timeout_seconds, self.plane.programs(), every_seconds=POLL_SECONDS)
        except TimeoutError as error:
            seen = self.plane.try_kubectl("get", "fjob", self.name, "-n", JOBS, "-o", "yaml")
            raise TimeoutError(f"{what}: {seen.stdout or seen.stderr}") from error

    def touch(self) -> None:
        """Change nothing that matters: the operator looks at the job once more."""
        self.plane.kubectl("annotate", "fjob", self.name, "-n", JOBS, "--overwrite", f"example.com/touched={time.monotonic_ns()}")

    def succeeds(self, timeout_seconds: int = 180) -> Manifest:
        """Wait for the end, and return the status."""
        done = self.plane.try_kubectl("wait", "--for=condition=Succeeded", f"fjob/{self.name}", "-n", JOBS, f"--timeout={timeout_seconds}s")
        assert done.returncode == 0, f"{done.stderr}{json.dumps(self.status, indent=1)}"
        return self.status

    def delete(self) -> None:
        """Delete the job, and wait until none of its children is left."""
        self.plane.kubectl("delete", "fjob", self.name, "-n", JOBS, "--ignore-not-found", "--timeout=60s")
        wait_until(lambda: not self.children(), f"all children of {self.name} are gone", every_seconds=POLL_SECONDS)
