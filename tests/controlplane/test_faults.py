"""What must not change a job's end: dead replicas, deleted children, tenants that go, changes of mind."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.cluster.replica import Replica
from tests.controlplane import scenario
from tests.controlplane.scenario import JOBS, TENANTS, Run, digits_job

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cluster.controlplane import ControlPlane

pytestmark = pytest.mark.usefixtures("tenants")


def uids(run: Run, kinds: str) -> dict[str, str]:
    """Return the children of some kinds, name to uid."""
    return {f"{each['metadata']['namespace']}/{each['metadata']['name']}": each["metadata"]["uid"] for each in run.children(kinds)}


@pytest.fixture
def standby(plane: ControlPlane, operator: Replica, operator_kubeconfig: Path) -> Iterator[Replica]:
    """A second replica."""
    replica = Replica(plane.processes, operator_kubeconfig, name="standby")
    replica.start()
    assert replica.readiness() == "standing by"
    yield replica
    replica.end()


def test_a_killed_operator_changes_nothing_of_a_running_job(plane: ControlPlane, operator: Replica) -> None:
    run = Run.begin(plane, digits_job("killed-operator", rounds=40))
    run.reaches(1)
    before = uids(run, "jobs.batch")
    operator.kill()
    operator.start()
    operator.lead()
    status = run.succeeds()

    assert status["round"] == 40
    assert uids(run, "jobs.batch") == before, "no child is made twice or anew"
    run.delete()


def test_an_operator_killed_at_the_start_leaves_no_duplicate(plane: ControlPlane, operator: Replica) -> None:
    run = Run.begin(plane, digits_job("killed-early"))
    run.waits(lambda: run.children("jobs.batch"), "the first child is there")
    operator.kill()
    operator.start()
    operator.lead()
    run.succeeds()
    roles = [each["metadata"]["labels"]["coterie.dev/role"] for each in run.children("jobs.batch")]

    assert roles.count("aggregator") == 1
    assert roles.count("client") == len(TENANTS)
    run.delete()


def test_a_standby_takes_over_from_a_dead_leader(plane: ControlPlane, operator: Replica, standby: Replica) -> None:
    run = Run.begin(plane, digits_job("standby", rounds=40))
    run.reaches(1)
    before = uids(run, "jobs.batch")
    operator.kill()
    standby.lead()
    run.succeeds()

    assert uids(run, "jobs.batch") == before
    run.delete()


def test_training_goes_on_without_an_operator(plane: ControlPlane, operator: Replica) -> None:
    run = Run.begin(plane, digits_job("no-operator", rounds=60))
    run.reaches(1)
    operator.kill()
    aggregator = next(each for each in run.children("jobs.batch") if each["metadata"]["labels"]["coterie.dev/role"] == "aggregator")
    name = aggregator["metadata"]["name"]
    plane.kubectl("wait", "--for=condition=Complete", f"job/{name}", "-n", JOBS, "--timeout=120s")

    assert run.status["round"] < 60, "nobody was there to tell"
    operator.start()
    operator.lead()
    assert run.succeeds()["round"] == 60
    run.delete()


CHILDREN: dict[str, tuple[str, str]] = {
    "a client's pod": ("pods", "client"),
    "a client's batch Job": ("jobs.batch", "client"),
    "a client's configuration": ("configmaps", "client"),
    "a client's network policy": ("networkpolicies", "client"),
    "the aggregator's Service": ("services", "aggregator"),
    "the aggregator's configuration": ("configmaps", "aggregator"),
    "the aggregator's network policy": ("networkpolicies", "aggregator"),
    "the aggregator's certificate": ("secrets", "aggregator"),
    "the aggregator's pod": ("pods", "aggregator"),
    "the aggregator's batch Job": ("jobs.batch", "aggregator"),
}


def test_every_child_may_be_deleted_in_turn(plane: ControlPlane, operator: Replica) -> None:
    run = Run.begin(plane, digits_job("deleted-children", rounds=250, backoffLimit=6))
    run.reaches(1)
    for what, (kinds, role) in CHILDREN.items():
        child = next((each for each in run.children(kinds) if each["metadata"]["labels"]["coterie.dev/role"] == role), None)
        assert child is not None, f"{what} is there"
        assert run.status["state"] not in {"Succeeded", "Failed"}, f"{what} is deleted while the job runs"
        metadata = child["metadata"]
        plane.kubectl("delete", f"{kinds}/{metadata['name']}", "-n", metadata["namespace"], "--wait=false")
        run.waits(lambda: metadata["uid"] not in uids(run, kinds).values(), f"{what} is gone")  # noqa: B023 - called at once
    status = run.succeeds()

    assert status["round"] == 250
    run.delete()


def test_a_job_deleted_while_it_runs_leaves_nothing(plane: ControlPlane, operator: Replica) -> None:
    before = scenario.inventory(plane)
    run = Run.begin(plane, digits_job("deleted-job", rounds=60))
    run.reaches(1)
    run.delete()
    run.waits(lambda: scenario.inventory(plane) <= before, "nothing is left in any namespace")


def test_a_job_deleted_while_no_operator_runs_goes_once_one_does(plane: ControlPlane, operator: Replica) -> None:
    run = Run.begin(plane, digits_job("deleted-alone", rounds=60))
    run.reaches(1)
    operator.kill()
    plane.kubectl("delete", "fjob", run.name, "-n", JOBS, "--wait=false")

    assert run.job["metadata"]["finalizers"], "it waits for its children"
    operator.start()
    run.delete()


def test_a_suspended_job_lets_its_pods_go_and_resumes(plane: ControlPlane, operator: Replica) -> None:
    run = Run.begin(plane, digits_job("suspended", rounds=60))
    run.reaches(1)
    patch = ("patch", "fjob", run.name, "-n", JOBS, "--type=merge", "-p")
    plane.kubectl(*patch, '{"spec":{"suspend":true}}')
    run.waits(lambda: not run.children("pods,jobs.batch"), "no pod is left")
    done = run.status["round"]

    assert run.condition("Suspended")[0] == "True"
    plane.kubectl(*patch, '{"spec":{"suspend":false}}')
    status = run.succeeds()
    assert status["round"] == 60
    assert done >= 1
    run.delete()


def test_the_end_is_the_end(plane: ControlPlane, operator: Replica) -> None:
    run = Run.begin(plane, digits_job("ended", rounds=2))
    before = run.succeeds()
    for child in run.children("jobs.batch"):
        plane.kubectl("delete", f"job/{child['metadata']['name']}", "-n", child["metadata"]["namespace"])
    operator.kill()
    operator.start()
    operator.lead()
    plane.kubectl("patch", "fjob", run.name, "-n", JOBS, "--type=merge", "-p", '{"spec":{"backoffLimit":9}}')
    run.waits(lambda: run.condition("Succeeded")[0] == "True" and run.job["metadata"]["generation"] == 2, "the operator has looked again")

    assert run.children("jobs.batch,pods") == []
    assert run.status["completionTime"] == before["completionTime"]
    run.delete()


def test_a_finished_job_goes_after_its_time(plane: ControlPlane, operator: Replica) -> None:
    run = Run.begin(plane, digits_job("short-lived", rounds=1, ttlSecondsAfterFinished=2))
    run.waits(lambda: run.name not in plane.kubectl("get", "fjob", "-n", JOBS, "-o", "name"), "the job is gone")
    run.waits(lambda: not run.children(), "its children are gone")


def test_a_deadline_fails_a_job_and_frees_its_pods(plane: ControlPlane, operator: Replica) -> None:
    run = Run.begin(plane, digits_job("too-long", rounds=1000, activeDeadlineSeconds=12))
    run.waits(lambda: run.condition("Failed")[0] == "True", "the job fails")

    assert run.condition("Failed")[1] == "DeadlineExceeded"
    run.waits(lambda: not run.children("pods"), "its pods are gone")
    run.delete()


def test_a_tenant_that_ran_out_of_quota_is_named_and_the_others_train(plane: ControlPlane, operator: Replica) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none", "namespace": "hospital-d"},
        "spec": {"hard": {"count/jobs.batch": "0"}},
    }
    plane.kubectl("apply", "-f", "-", stdin=json.dumps(quota))
    # The API server enforces a quota once the controller has counted what is there.
    plane.kubectl("wait", "--for=jsonpath={.status.hard}", "resourcequota/none", "-n", "hospital-d", "--timeout=60s")
    run = Run.begin(plane, digits_job("no-quota", rounds=12))
    run.waits(lambda: run.tenant("hospital-d").get("reason") == "QuotaExceeded", "the job tells whose quota it is")
    status = run.succeeds()
    plane.kubectl("delete", "resourcequota", "none", "-n", "hospital-d")

    assert status["survivors"] == len(TENANTS) - 1
    run.delete()


def test_a_namespace_without_the_charts_role_is_named_and_the_others_train(plane: ControlPlane, operator: Replica) -> None:
    plane.kubectl("delete", "rolebinding", "-n", "hospital-e", "-l", "app.kubernetes.io/part-of=coterie")
    run = Run.begin(plane, digits_job("no-access"))
    status = run.succeeds()
    scenario.install(plane)

    assert run.tenant("hospital-e")["reason"] == "TenantAccessMissing"
    assert status["survivors"] == len(TENANTS) - 1
    run.delete()


def test_a_tenants_namespace_deleted_while_it_trains_costs_that_tenant_alone(plane: ControlPlane, operator: Replica) -> None:
    run = Run.begin(plane, digits_job("lost-tenant", rounds=60))
    run.reaches(1)
    plane.kubectl("delete", "namespace", "hospital-e", "--timeout=90s")
    status = run.succeeds()
    run.delete()
    scenario.install(plane)

    assert status["round"] == 60
    assert status["survivors"] == len(TENANTS) - 1


def test_a_withdrawn_grant_ends_that_tenants_part(plane: ControlPlane, operator: Replica) -> None:
    run = Run.begin(plane, digits_job("withdrawn", rounds=40))
    run.reaches(1)
    grants: list[Any] = plane.get("fds", "digits", "-n", "hospital-c")["spec"]["grants"]
    patch = ("patch", "fds", "digits", "-n", "hospital-c", "--type=merge", "-p")
    plane.kubectl(*patch, '{"spec":{"grants":[]}}')
    run.waits(lambda: not [each for each in run.children("pods") if each["metadata"]["namespace"] == "hospital-c"], "its pod is gone")
    status = run.succeeds()
    plane.kubectl(*patch, json.dumps({"spec": {"grants": grants}}))

    assert status["survivors"] == len(TENANTS) - 1
    run.delete()
