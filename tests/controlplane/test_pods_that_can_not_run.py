"""What a real API server and a real Job controller forbid a tenant's pod: told with whose it is and why, without a write too many."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from tests.controlplane.scenario import TENANTS, Run, digits_job, enroll
from tests.controlplane.writes import Writes, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cluster.controlplane import ControlPlane
    from tests.cluster.replica import Replica

pytestmark = pytest.mark.usefixtures("tenants")

TENANT = "hospital-d"
QUIET_SECONDS = 60
HEARTBEAT_SECONDS = 2
LONGEST_RETRY_SECONDS = 5  # of this tier's operator


@contextmanager
def there(plane: ControlPlane, manifest: dict[str, Any]) -> Iterator[None]:
    """Have an object in a tenant's namespace for a while."""
    manifest["metadata"] |= {"namespace": TENANT}
    plane.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    kind, name = manifest["kind"], manifest["metadata"]["name"]
    if kind == "ResourceQuota":
        # The API server enforces a quota once the controller has counted what is there.
        plane.kubectl("wait", "--for=jsonpath={.status.hard}", f"{kind}/{name}", "-n", TENANT, "--timeout=60s")
    try:
        yield
    finally:
        plane.kubectl("delete", f"{kind}/{name}", "-n", TENANT, "--ignore-not-found")


def quota(**hard: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "compute"}, "spec": {"hard": hard}}


def limits() -> dict[str, Any]:
    bound = {"type": "Container", "max": {"memory": "1Mi"}}
    return {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "small"}, "spec": {"limits": [bound]}}


FORBIDDEN: dict[str, tuple[dict[str, Any], str, str]] = {
    "a quota on pods": (quota(pods="0"), "QuotaExceeded", "ResourceQuota compute does not allow it: too little is left of pods"),
    "a quota on memory": (
        quota(**{"requests.memory": "1Mi"}),
        "QuotaExceeded",
        "ResourceQuota compute does not allow it: too little is left of requests.memory",
    ),
    "a LimitRange": (limits(), "PodRefused", "a LimitRange does not allow it: maximum memory per Container"),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_a_forbidden_pod_is_told_the_others_train_and_it_joins_once_it_may(plane: ControlPlane, operator: Replica, what: str) -> None:
    manifest, reason, message = FORBIDDEN[what]
    name = f"forbidden-{list(FORBIDDEN).index(what)}"
    with there(plane, manifest):
        run = Run.begin(plane, digits_job(name, rounds=400))
        run.waits(lambda: run.tenant(TENANT).get("reason") == reason, "the job tells why the tenant has no pod")
        admitted = next(each for each in run.status["conditions"] if each["type"] == "Admitted")
        run.reaches(1)

        assert run.tenant(TENANT)["message"] == message
        assert (admitted["status"], admitted["reason"], admitted["message"]) == ("False", reason, f"{TENANT}/digits: {message}")
    run.waits(lambda: run.tenant(TENANT)["state"] == "Ready", "the tenant joins by itself")
    run.waits(lambda: run.condition("Admitted")[0] == "True", "nothing hinders the job any more")
    run.delete()


def test_a_service_account_that_does_not_exist_is_named(plane: ControlPlane, operator: Replica) -> None:
    patch = ("patch", "fds", "digits", "-n", TENANT, "--type=merge", "-p")
    plane.kubectl(*patch, '{"spec":{"pod":{"serviceAccountName":"trainer"}}}')
    run = Run.begin(plane, digits_job("no-account", rounds=400))
    run.waits(lambda: run.tenant(TENANT).get("reason") == "PodRefused", "the job tells why the tenant has no pod")
    told = run.tenant(TENANT)["message"]
    plane.kubectl(*patch, '{"spec":{"pod":{"serviceAccountName":null}}}')
    run.delete()

    assert told == "its ServiceAccount trainer does not exist"


def test_a_missing_identity_is_named_and_the_tenant_joins_once_it_is_there(plane: ControlPlane, operator: Replica) -> None:
    plane.kubectl("delete", "secret", "coterie-identity", "-n", TENANT)
    run = Run.begin(plane, digits_job("no-identity", rounds=400))
    run.waits(lambda: run.tenant(TENANT).get("reason") == "SecretNotFound", "the job tells what the tenant's pod waits for")
    told = run.tenant(TENANT)["message"]
    run.delete()
    enroll(plane, TENANT)

    assert told == "its Secret coterie-identity does not exist"


def pass_time(run: Run, seconds: int) -> Writes:
    """Wait for so many seconds' heartbeats of the leader; return what it wrote besides."""
    writes = Writes.from_now(run.plane.audit_log)
    run.waits(lambda: writes.heartbeats >= seconds / HEARTBEAT_SECONDS, f"{seconds} seconds pass", 3 * seconds + 30)
    return writes


def test_nothing_is_written_while_nothing_changes(plane: ControlPlane, operator: Replica) -> None:
    """A finished job, one without consent, and one that a quota holds up, for a minute: only the leader's heartbeat is heard."""
    with there(plane, quota(**{"count/jobs.batch": "0"})):
        done = Run.begin(plane, digits_job("quiet-done", rounds=1))
        done.succeeds()
        alone = [{"namespace": name, "name": "nothing"} for name in TENANTS]
        waiting = Run.begin(plane, digits_job("quiet-waiting", participants={"datasets": alone}))
        waiting.waits(lambda: waiting.condition("ConsentGranted")[1] == "NotGranted", "the job waits for consent")
        needed = [{"namespace": name, "name": "digits"} for name in TENANTS]
        stuck = Run.begin(plane, digits_job("quiet-stuck", participants={"datasets": needed, "minClients": len(TENANTS)}))
        stuck.waits(lambda: stuck.condition("Admitted")[1] == "QuotaExceeded", "the job tells of the quota")
        stuck.waits(lambda: stuck.status["tenants"][0]["state"] == "Ready", "the others are there")
        pass_time(stuck, 6)
        written = pass_time(stuck, QUIET_SECONDS).all()
        for run in (done, waiting, stuck):
            run.delete()

    attempts = [write for write in written if (write.verb, write.resource, write.code) == ("create", "jobs", 403)]
    assert [write for write in written if write not in attempts] == []
    assert len(attempts) <= QUIET_SECONDS / LONGEST_RETRY_SECONDS + 1, "what was refused is tried again as rarely as retries may be"


def test_a_whole_job_costs_few_writes_for_each_child(plane: ControlPlane, operator: Replica) -> None:
    writes = Writes.from_now(plane.audit_log)
    run = Run.begin(plane, digits_job("counted", rounds=20))
    run.succeeds()
    run.delete()
    run.waits(lambda: plane.get("fds", "digits", "-n", TENANT)["status"]["activeJobs"] == 0, "the data sets know that it is over")
    written = writes.all()
    children = [each for each in written if each.verb == "create" and each.resource != "events"]
    print(f"{len(children)} children:\n{table(written)}")

    assert [write for write in written if write.code >= 400] == []
    assert len(children) == len({(each.resource, each.namespace) for each in children}), "each child is made once"
    assert len(children) == 6 + 3 * len(TENANTS)
    assert len(written) <= 5 * len(children), table(written)
