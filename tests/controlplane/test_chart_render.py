from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.cluster import chart

from coterie_operator.settings import ContainerResources, from_environment

if TYPE_CHECKING:
    from tests.cluster.controlplane import ControlPlane

VALUES: dict[str, Any] = {"tenants": ["hospital-a", "hospital-b"], "jobNamespaces": ["research"]}


@pytest.fixture(scope="module")
def manifests(empty_plane: ControlPlane) -> list[dict[str, Any]]:
    return chart.render(VALUES)


def test_the_api_server_takes_all_that_the_chart_renders(plane: ControlPlane, manifests: list[dict[str, Any]]) -> None:
    shown = plane.kubectl("apply", "--server-side", "--dry-run=server", "--force-conflicts", "-f", "-", stdin=chart.to_yaml(manifests))

    assert len(shown.splitlines()) == len(manifests)


@pytest.fixture(scope="module")
def restricted(plane: ControlPlane) -> str:
    """A namespace that enforces the restricted standard."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "restricted", "labels": labels}}
    plane.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(manifest))
    return "restricted"


def pods() -> dict[str, dict[str, Any]]:
    rendered = chart.render(VALUES, tests=True)
    (deployment,), (test,) = chart.of_kind(rendered, "Deployment"), chart.of_kind(rendered, "Pod")
    return {"operator": deployment["spec"]["template"]["spec"], "test": test["spec"]}


@pytest.mark.parametrize("name", ["operator", "test"])
def test_the_charts_pods_pass_the_restricted_standard(plane: ControlPlane, restricted: str, name: str) -> None:
    spec = {**pods()[name], "serviceAccountName": "default"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": restricted}, "spec": spec}
    done = plane.try_kubectl("create", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(pod))

    assert done.returncode == 0, done.stderr
    spec["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    assert "violates PodSecurity" in plane.try_kubectl("create", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(pod)).stderr


@pytest.mark.parametrize("name", ["operator", "test"])
def test_services_of_the_namespace_leave_no_variable_in_a_pod(empty_plane: ControlPlane, name: str) -> None:
    assert pods()[name]["enableServiceLinks"] is False


def test_definitions_stay_when_the_release_goes_unless_asked_otherwise(manifests: list[dict[str, Any]]) -> None:
    kept = chart.of_kind(manifests, "CustomResourceDefinition")
    loose = chart.of_kind(chart.render({"crds": {"keep": False}}), "CustomResourceDefinition")

    assert [each["metadata"]["annotations"]["helm.sh/resource-policy"] for each in kept] == ["keep"] * len(kept)
    assert all("annotations" not in each["metadata"] for each in loose)
    assert len(loose) == len(kept)
    assert chart.of_kind(chart.render({"crds": {"enabled": False}}), "CustomResourceDefinition") == []


def test_no_value_lets_the_ledger_go_with_the_release(empty_plane: ControlPlane, tmp_path: Path) -> None:
    copied = tmp_path / "coterie"
    shutil.copytree(chart.CHART, copied)
    definition = yaml.safe_load((copied / "files" / "crds" / "federatedjobs.yaml").read_text())
    definition["metadata"]["name"] = "privacyentries.coterie.dev"
    definition["spec"]["names"] |= {"kind": "PrivacyEntry", "plural": "privacyentries"}
    (copied / "files" / "crds" / "privacyentries.yaml").write_text(yaml.safe_dump(definition))

    rendered = chart.of_kind(chart.render({"crds": {"keep": False}}, folder=copied), "CustomResourceDefinition")
    kept = {
        each["spec"]["names"]["kind"]
        for each in rendered
        if each["metadata"].get("annotations", {}).get("helm.sh/resource-policy") == "keep"
    }

    assert kept == {"PrivacyEntry"}


def test_two_releases_share_no_name_that_the_cluster_holds_once(empty_plane: ControlPlane) -> None:
    def cluster_wide(namespace: str) -> set[tuple[str, str]]:
        rendered = chart.render({**VALUES, "rbac": {"people": False}}, namespace=namespace)
        kinds = ("ClusterRole", "ClusterRoleBinding", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
        return {(each["kind"], each["metadata"]["name"]) for each in chart.of_kind(rendered, *kinds)}

    assert cluster_wide("one") & cluster_wide("two") == set()


def test_settings_reach_the_operator_as_its_environment(empty_plane: ControlPlane) -> None:
    resources = {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}
    settings = {
        "resyncSeconds": 10_000_000,
        "workers": 8,
        "workerResources": resources,
        "fsGroup": None,
        "monitoringNamespace": "monitoring",
    }
    deployment = chart.of_kind(chart.render({"settings": settings}), "Deployment")[0]
    env = {each["name"]: each["value"] for each in deployment["spec"]["template"]["spec"]["containers"][0]["env"] if "value" in each}

    read = from_environment(env)

    assert (read.resync_seconds, read.workers, read.fs_group, read.monitoring_namespace) == (10_000_000, 8, None, "monitoring")
    assert read.worker_resources == ContainerResources(**resources)
    assert read.namespaces == ()


def test_a_digest_wins_over_a_tag(empty_plane: ControlPlane) -> None:
    digest = "sha256:" + "0" * 64
    deployment = chart.of_kind(chart.render({"image": {"tag": "1.2.3", "digest": digest}}), "Deployment")[0]

    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == f"ghcr.io/coterie/operator@{digest}"


BAD_VALUES: dict[str, dict[str, Any]] = {
    "an unknown key": {"tenant": ["a"]},
    "a tenant that is no namespace": {"tenants": ["Hospital_A"]},
    "a wildcard as a tenant": {"tenants": ["*"]},
    "a tenant twice": {"tenants": ["a", "a"]},
    "tenants as one string": {"tenants": "hospital-a"},
    "a digest that is none": {"image": {"digest": "latest"}},
    "a negative number of replicas": {"replicas": -1},
    "an unknown pull policy": {"image": {"pullPolicy": "Sometimes"}},
    "a nested unknown key": {"rbac": {"enabled": True}},
    "a setting with a structure": {"settings": {"workers": {"count": 3}}},
    "a setting that the operator has not": {"settings": {"worker": 3}},
    "a setting that the chart makes itself": {"settings": {"healthPort": 80}},
    "an unknown key of a toleration": {"tolerations": [{"keys": "a"}]},
    "an unknown key deep in an affinity": {"affinity": {"podAntiAffinity": {"required": []}}},
    "an unknown key of resources": {"resources": {"request": {"cpu": 1}}},
    "a label that is no text": {"commonLabels": {"a": 1}},
    "a port that is none": {"networkPolicy": {"apiServer": {"ports": [0]}}},
    "an API server without a port": {"networkPolicy": {"apiServer": {"ports": []}}},
    "an address that is no network": {"networkPolicy": {"apiServer": {"cidrs": ["10.0.0.1"]}}},
    "a page that is no address": {"monitoring": {"rules": {"runbookUrl": "docs/runbooks"}}},
    "an object without a kind": {"extraObjects": [{"apiVersion": "v1"}]},
}


@pytest.mark.parametrize("case", BAD_VALUES)
def test_helm_refuses(case: str, empty_plane: ControlPlane) -> None:
    with pytest.raises(chart.ChartRefusedError, match="schema"):
        chart.render(BAD_VALUES[case])


def test_the_definitions_are_those_of_the_repository() -> None:
    source = Path(__file__).parents[2] / "crds"

    assert {path.name for path in source.glob("*.yaml")} == {path.name for path in (chart.CHART / "files" / "crds").glob("*.yaml")}
    for path in source.glob("*.yaml"):
        assert path.read_text() == (chart.CHART / "files" / "crds" / path.name).read_text()
