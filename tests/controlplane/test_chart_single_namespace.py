"""The operator with Roles alone: what it may not see it doesn't ask for, and jobs among the namespaces that it serves are run."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from tests.cluster import chart
from tests.cluster.controlplane import HOST
from tests.cluster.processes import Process, wait_until
from tests.cluster.replica import QUICK, Replica
from tests.controlplane.scenario import POLL_SECONDS

from coterie_operator.local.identity import KeyPair

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cluster.controlplane import ControlPlane

HOME, TENANTS, ELSEWHERE = "alone", ("alone-a", "alone-b", "alone-c"), "not-served"
IMAGE = "registry.example/train:1"
VALUES: dict[str, Any] = {
    "singleNamespace": True,
    "jobNamespaces": [HOME],
    "tenants": list(TENANTS),
    "crds": {"enabled": False},
    "policies": {"enabled": False},
}


def dataset(namespace: str) -> dict[str, Any]:
    spec = {
        "source": {"persistentVolumeClaim": {"claimName": "visits"}},
        "identity": {"publicKey": KeyPair.generate().public_key, "secretName": "coterie-identity"},
        "grants": [{"jobs": {"namespaces": [HOME]}, "images": [IMAGE]}],
    }
    metadata = {"name": "visits", "namespace": namespace}
    return {"apiVersion": "coterie.dev/v1alpha1", "kind": "FederatedDataset", "metadata": metadata, "spec": spec}


def claim(namespace: str, name: str) -> dict[str, Any]:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def job(name: str, *tenants: str) -> dict[str, Any]:
    datasets = [{"namespace": tenant, "name": "visits"} for tenant in tenants]
    spec = {
        "rounds": 1,
        "task": {"entrypoint": "digits_task:Digits"},
        "participants": {"datasets": datasets},
        "clients": {"image": IMAGE},
        "privacy": {"mode": "None"},
        "output": {"persistentVolumeClaim": {"claimName": "models"}},
    }
    return {"apiVersion": "coterie.dev/v1alpha1", "kind": "FederatedJob", "metadata": {"name": name, "namespace": HOME}, "spec": spec}


@pytest.fixture(scope="module")
def replica(plane: ControlPlane, node: Process) -> Iterator[Replica]:
    for name in (HOME, *TENANTS, ELSEWHERE):
        plane.kubectl("create", "namespace", name)
    manifests = [each for each in chart.render(VALUES, namespace=HOME) if each["kind"] != "Deployment"]
    claims = [claim(HOME, "models"), *(claim(tenant, "visits") for tenant in TENANTS)]
    plane.kubectl("apply", "--server-side", "-f", "-", stdin=chart.to_yaml([*manifests, *claims, *map(dataset, (*TENANTS, ELSEWHERE))]))
    (deployment,) = chart.of_kind(chart.render(VALUES, namespace=HOME), "Deployment")
    told = {each["name"]: each.get("value") for each in deployment["spec"]["template"]["spec"]["containers"][0]["env"]}
    settings = {**QUICK, "COTERIE_NAMESPACE": HOME, "COTERIE_NAMESPACES": told["COTERIE_NAMESPACES"]}
    found = Replica(plane.processes, plane.kubeconfig_of(HOME, chart.SERVICE_ACCOUNT), "alone", settings)
    found.start()
    found.lead()
    yield found
    plane.kubectl("delete", "fjob", "--all", "-n", HOME, "--timeout=60s")
    assert found.end() == 0
    plane.kubectl("delete", "namespace", HOME, *TENANTS, ELSEWHERE, "--wait=false")


def condition(plane: ControlPlane, name: str, kind: str) -> tuple[str, str]:
    found = plane.get("fjob", name, "-n", HOME).get("status", {}).get("conditions", [])
    return next(((each["status"], each["reason"]) for each in found if each["type"] == kind), ("", ""))


def test_a_job_among_the_served_namespaces_gets_its_clients_and_its_aggregator(plane: ControlPlane, replica: Replica) -> None:
    plane.kubectl("apply", "-f", "-", stdin=json.dumps(job("inside", *TENANTS)))

    def started() -> set[tuple[str, str]]:
        found = plane.get("jobs.batch", "--all-namespaces", "-l", "coterie.dev/job-name=inside")["items"]
        return {(each["metadata"]["namespace"], each["metadata"]["labels"]["coterie.dev/role"]) for each in found}

    expected = {(HOME, "aggregator"), *((tenant, "client") for tenant in TENANTS)}
    try:
        wait_until(
            lambda: started() == expected, "all children of the job are there", 120, plane.processes.running, every_seconds=POLL_SECONDS
        )
    except TimeoutError as error:
        raise AssertionError(f"{sorted(started())}: {plane.kubectl('get', 'fjob', 'inside', '-n', HOME, '-o', 'yaml')}") from error
    plane.kubectl("delete", "fjob", "inside", "-n", HOME, "--timeout=60s")
    assert started() == set()


def test_a_data_set_that_may_not_be_seen_is_one_that_nobody_granted(plane: ControlPlane, replica: Replica) -> None:
    plane.kubectl("apply", "-f", "-", stdin=json.dumps(job("outside", TENANTS[0], TENANTS[1], ELSEWHERE)))

    wait_until(lambda: condition(plane, "outside", "ConsentGranted") == ("False", "NotGranted"), "the author is told")


def test_a_data_set_is_told_its_status(plane: ControlPlane, replica: Replica) -> None:
    def accepted(namespace: str) -> bool:
        return bool(plane.get("fds", "visits", "-n", namespace).get("status", {}).get("conditions"))

    wait_until(lambda: all(map(accepted, TENANTS)), "every data set that is served has a status")
    assert not accepted(ELSEWHERE)


def test_nothing_was_asked_that_its_roles_refuse(plane: ControlPlane, replica: Replica) -> None:
    with urllib.request.urlopen(f"http://{HOST}:{replica.metrics_port}/metrics", timeout=5) as answer:
        lines = [line for line in answer.read().decode().splitlines() if line.startswith("coterie_api_requests_total")]

    assert len(lines) > 3
    assert [line for line in lines if 'code="403"' in line] == []
