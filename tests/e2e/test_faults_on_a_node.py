"""Faults that only a real node has: each ends in recovery, or in a condition that says whom it concerns and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from tests.cluster import chart
from tests.controlplane.scenario import JOBS, TENANTS, Run
from tests.controlplane.writes import Writes, table
from tests.e2e import place, release

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.site import Site

LAST: Final = TENANTS[-1]  # whom things befall
ENDLESS: Final = 10_000  # rounds: however quick the node, a job goes on until its test has seen enough


@pytest.fixture(scope="module", autouse=True)
def _installed(site: Site) -> Iterator[None]:
    place.make_namespaces(site)
    release.install(site)
    place.enroll(site)
    release.leads(site)
    yield
    site.cluster.kubectl("delete", "fjob", "--all", "-n", JOBS, "--timeout=120s")
    site.cluster.helm("uninstall", chart.RELEASE, "--namespace", chart.NAMESPACE, "--wait")


def begin(site: Site, name: str, **spec: Any) -> Run:
    return Run.begin(site.cluster, place.digits(name, site.image, **spec))


def goes_on(run: Run, survivors: int = len(TENANTS)) -> None:
    """Wait for more rounds with so many survivors, and remove the job."""
    run.reaches(run.status["round"] + 3)
    run.waits(lambda: run.status.get("survivors") == survivors, f"{survivors} take part")
    assert run.status["state"] == "Running"
    run.delete()


def test_a_deleted_client_pod_is_replaced(site: Site) -> None:
    run = begin(site, "client-deleted", rounds=ENDLESS)
    run.reaches(2)
    victim = site.pod(run.name, "client", LAST)
    assert victim
    site.cluster.kubectl("delete", "pod", victim["metadata"]["name"], "-n", LAST, "--wait=false")
    run.waits(lambda: run.status.get("survivors") == len(TENANTS) - 1, "a round goes on without it")
    run.waits(lambda: run.status.get("survivors") == len(TENANTS), "its replacement takes part")
    replacement = site.pod(run.name, "client", LAST)

    assert replacement
    assert replacement["metadata"]["uid"] != victim["metadata"]["uid"]
    goes_on(run)


def test_a_deleted_aggregator_pod_goes_on_from_its_checkpoint(site: Site) -> None:
    run = begin(site, "aggregator-deleted", rounds=ENDLESS)
    run.reaches(5)
    victim, before = site.pod(run.name, "aggregator"), run.status["round"]
    assert victim
    site.cluster.kubectl("delete", "pod", victim["metadata"]["name"], "-n", JOBS, "--wait=false")
    run.waits(lambda: (site.pod(run.name, "aggregator") or victim)["metadata"]["uid"] != victim["metadata"]["uid"], "there is another one")

    assert run.status["round"] >= before
    goes_on(run)


def test_deleted_operators_change_nothing_of_a_running_job(site: Site) -> None:
    run = begin(site, "operators-deleted", rounds=ENDLESS)
    run.reaches(2)
    before = {each["metadata"]["uid"] for each in run.children("jobs.batch,pods")}
    for pod in release.operators(site):
        site.cluster.kubectl("delete", "pod", pod, "-n", chart.NAMESPACE, "--wait=false")
    release.leads(site)
    run.reaches(run.status["round"] + 3)

    assert {each["metadata"]["uid"] for each in run.children("jobs.batch,pods")} == before
    goes_on(run)


def test_a_killed_container_runtime_ends_no_job(site: Site) -> None:
    run = begin(site, "runtime-killed", rounds=ENDLESS)
    run.reaches(2)
    site.cluster.kill_containerd()
    site.cluster.start_containerd()
    goes_on(run)


def test_an_image_that_can_not_be_pulled_is_named_with_its_tenants(site: Site) -> None:
    missing = "registry.invalid/none:1"
    job = place.digits("no-image", site.image, clients={"image": missing, **place.SMALL}, evaluator={"image": site.image, **place.SMALL})
    job["spec"]["participants"] |= {"assemblyDeadlineSeconds": 60, "assemblyBackoffLimit": 0}
    run = Run.begin(site.cluster, job)
    run.waits(lambda: run.tenant(LAST).get("reason") == "ImagePullBackOff", "the tenant's state says so")

    assert missing in run.tenant(LAST)["message"]
    run.waits(lambda: run.condition("Running") == ("False", "ImagePullBackOff"), "so does the job's condition")
    assert f"{TENANTS[0]}/digits: image {missing}" in run.message("Running")
    run.waits(lambda: run.condition("Failed") == ("True", "QuorumNotMet"), "the assembly deadline ends it")
    assert f"{TENANTS[0]}/digits: image {missing}" in run.message("Failed")
    run.delete()


def test_a_client_killed_for_its_memory_says_which_limit_to_raise(site: Site) -> None:
    site.owner_says(LAST, pod={"resources": {"requests": {"memory": "64Mi"}, "limits": {"memory": "64Mi"}}})
    run = begin(site, "out-of-memory", rounds=ENDLESS)
    run.waits(lambda: run.tenant(LAST).get("reason") == "OutOfMemory", "the tenant's state says so")

    assert "64Mi" in run.tenant(LAST)["message"]
    site.owner_says(LAST, pod=None)
    goes_on(run)


def test_a_quota_that_forbids_a_pod_is_named_and_raising_it_helps(site: Site) -> None:
    site.quota(LAST, pods="0")
    run = begin(site, "over-quota", rounds=ENDLESS)
    run.waits(lambda: run.tenant(LAST).get("reason") == "QuotaExceeded", "the tenant's state says so")
    run.waits(lambda: run.condition("Admitted") == ("False", "QuotaExceeded"), "so does the job's condition")
    assert f"{LAST}/digits: ResourceQuota small" in run.message("Admitted")
    writes = Writes.from_now(site.cluster.audit_log)
    run.reaches(run.status["round"] + 20)

    assert sum(LAST in each.namespace for each in writes.all()) <= 3, table(writes.all())
    site.quota(LAST, pods=place.QUOTA["pods"])
    run.waits(lambda: run.tenant(LAST).get("state") in {"Ready", "Done"}, "with room it starts")
    run.waits(lambda: run.condition("Admitted")[0] == "True", "nothing hinders the job any more")
    goes_on(run)


def test_a_claim_that_does_not_exist_is_named(site: Site) -> None:
    site.owner_says(LAST, source={"persistentVolumeClaim": {"claimName": "absent"}})
    run = begin(site, "no-claim", rounds=ENDLESS)
    run.waits(lambda: run.tenant(LAST).get("reason") == "ClaimNotFound", "the tenant's state says so")

    assert "absent" in run.tenant(LAST)["message"]
    told = f"{LAST}/digits: its PersistentVolumeClaim absent does not exist"
    run.waits(lambda: told in run.message("Running"), "so does the job's condition")
    volume, claim = place.same_data(site, LAST, "absent")
    site.apply(volume, claim)
    run.waits(lambda: run.tenant(LAST).get("state") in {"Ready", "Done"}, "with its claim it starts")
    goes_on(run)
    site.owner_says(LAST, source={"persistentVolumeClaim": {"claimName": "digits"}})
    site.cluster.kubectl("delete", "pvc", "absent", "-n", LAST, "--timeout=120s")
    site.cluster.kubectl("delete", "pv", volume["metadata"]["name"], "--timeout=60s")
