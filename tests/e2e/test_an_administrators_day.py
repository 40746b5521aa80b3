"""What an administrator does with a cluster, in order: install, watch people work, upgrade, test, remove.

Each test goes on where the one before has ended.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Final

import pytest
from tests.cluster import chart
from tests.controlplane.scenario import CHILDREN, JOBS, TENANTS, Run
from tests.controlplane.writes import Writes, table
from tests.e2e import place, prometheus, release

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.site import Site

IS_CI: Final = os.environ.get("CI", "").lower() in {"true", "1"}
# Printed by a program that knows nothing of Coterie.
LOAD: Final = """
import json
from safetensors.numpy import load_file
print(json.dumps({name: list(each.shape) for name, each in load_file("/models/digits/model.safetensors").items()}))
"""
PART_OF: Final = "app.kubernetes.io/part-of=coterie"
QUIET_SECONDS: Final = 60


def everything_of_ours(site: Site) -> set[str]:
    """Return every object of the cluster that carries our label or lies in our namespace, as kind/name."""
    found: set[str] = set()
    for flag in ("--namespaced=true", "--namespaced=false"):
        kinds = set(site.cluster.kubectl("api-resources", "--verbs=list", flag, "-o", "name").split())
        kinds -= {"events", "events.events.k8s.io", "componentstatuses"}
        shown = '{range .items[*]}{.kind}/{.metadata.name}{"\\n"}{end}'
        listed = ("get", ",".join(sorted(kinds)), "--ignore-not-found", "-o", f"jsonpath={shown}")
        found |= set(site.cluster.kubectl(*listed, "--all-namespaces", "-l", PART_OF).split())
        if flag == "--namespaced=true":
            found |= set(site.cluster.kubectl(*listed, "-n", chart.NAMESPACE).split())
    return found - {"ConfigMap/kube-root-ca.crt", "ServiceAccount/default"}


def test_the_chart_installs_and_one_replica_leads(site: Site) -> None:
    place.make_namespaces(site)
    release.install(site)
    said = [release.readiness(site, pod) for pod in release.operators(site)]

    assert sorted(said) == ["leading", "standing by"]


def test_digits_succeeds_in_restricted_namespaces(site: Site) -> None:
    place.enroll(site)
    run = Run.begin(site.cluster, place.digits("digits", site.image, rounds=20))
    status = run.succeeds()

    assert status["round"] == 20
    assert status["accuracy"] >= 0.95
    assert status["survivors"] >= 4
    assert len({each["metadata"]["namespace"] for each in run.children("jobs.batch")}) == len(TENANTS) + 1


def test_the_model_is_on_the_claim_and_loads_without_coterie(site: Site) -> None:
    shapes = json.loads(site.runs_to_its_end(place.reader("read-model", site.image, LOAD)))

    assert shapes == {"0.weight": [64, 64], "0.bias": [64], "2.weight": [10, 64], "2.bias": [10]}


@pytest.mark.skipif(prometheus.PROGRAM is None and not IS_CI, reason="prometheus is not installed (Debian: apt-get install prometheus)")
def test_an_upgrade_leaves_a_running_job_alone_and_prometheus_sees_it(site: Site, tmp_path: Path) -> None:
    assert prometheus.PROGRAM is not None, "prometheus is not installed, and CI must have it (Debian: apt-get install prometheus)"
    with prometheus.running(tmp_path) as watching:
        run = Run.begin(site.cluster, place.digits("upgraded", site.image, rounds=10_000))
        run.reaches(2)
        watching.sees(site, 'coterie_clients_connected{job_name="upgraded"} > 0', "the aggregator is scraped")
        before = {each["metadata"]["uid"] for each in run.children("jobs.batch,pods")}
        operators = set(release.operators(site))
        release.upgrade(site, podAnnotations={"example.com/upgraded": "true"})
        release.leads(site)
        run.reaches(run.status["round"] + 3)

        assert operators.isdisjoint(release.operators(site))
        assert before == {each["metadata"]["uid"] for each in run.children("jobs.batch,pods")}
        watching.sees(site, 'coterie_job_rounds_done{job_name="digits"} == 20', "an ended job's last numbers outlive pods and operators")
        assert {rule["health"] for rule in watching.rules()} == {"ok"}
    run.delete()


def test_the_release_tests_itself(site: Site) -> None:
    assert "Succeeded" in site.cluster.helm("test", chart.RELEASE, "--namespace", chart.NAMESPACE, "--timeout", "120s")


def test_nothing_is_written_while_nothing_changes(site: Site) -> None:
    release.leads(site)
    writes = Writes.from_now(site.cluster.audit_log)
    time.sleep(QUIET_SECONDS)  # that nothing happens can't be waited for

    assert writes.all() == [], table(writes.all())


def test_helm_removes_all_of_ours_but_definitions_and_tenants_data(site: Site) -> None:
    site.cluster.kubectl("delete", "fjob", "--all", "-n", JOBS, "--timeout=120s")
    site.cluster.helm("uninstall", chart.RELEASE, "--namespace", chart.NAMESPACE, "--wait")
    definitions = {f"CustomResourceDefinition/{each}.coterie.dev" for each in ("federatedjobs", "federateddatasets")}
    site.waits(lambda: everything_of_ours(site) <= definitions, "nothing else of ours is left", 60)

    assert everything_of_ours(site) == definitions
    assert site.cluster.get("fds", "-n", TENANTS[0])["items"], "what a data owner said is kept"
    assert site.cluster.get("pvc", "models", "-n", JOBS)["status"]["phase"] == "Bound"
    assert not site.cluster.get(CHILDREN, "--all-namespaces", "-l", "app.kubernetes.io/managed-by=coterie")["items"]


def test_helm_3_installs_over_what_was_kept_and_removes_it_again(site: Site) -> None:
    release.install(site, "helm3")
    release.leads(site)
    site.cluster.helm("uninstall", chart.RELEASE, "--namespace", chart.NAMESPACE, "--wait", binary="helm3")

    assert site.cluster.get("fds", "-n", TENANTS[0])["items"]
