from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.cluster import binaries, chart

if TYPE_CHECKING:
    from tests.cluster.controlplane import ControlPlane

VALUES: dict[str, Any] = {"tenants": ["hospital-a", "hospital-b"], "jobNamespaces": ["research"]}


@pytest.fixture(scope="module")
def manifests(empty_plane: ControlPlane) -> list[dict[str, Any]]:
    return chart.render(VALUES)


def rules_in(manifests: list[dict[str, Any]], namespace: str) -> list[dict[str, Any]]:
    """Return all rules of the operator's roles in a namespace."""
    roles = chart.of_kind(manifests, "Role")
    return [rule for role in roles if role["metadata"]["namespace"] == namespace for rule in role["rules"]]


def test_the_api_server_takes_all_that_the_chart_renders(plane: ControlPlane, manifests: list[dict[str, Any]]) -> None:
    shown = plane.kubectl("apply", "--server-side", "--dry-run=server", "--force-conflicts", "-f", "-", stdin=chart.to_yaml(manifests))

    assert len(shown.splitlines()) == len(manifests)


def test_the_operators_pods_pass_the_restricted_standard(plane: ControlPlane, manifests: list[dict[str, Any]]) -> None:
    namespace = "restricted"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    plane.kubectl(
        "apply",
        "-f",
        "-",
        stdin=yaml.safe_dump({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}),
    )
    template = chart.of_kind(manifests, "Deployment")[0]["spec"]["template"]
    template["spec"]["serviceAccountName"] = "default"
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "operator", "namespace": namespace}, "spec": template["spec"]}
    done = plane.try_kubectl("create", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(pod))

    assert done.returncode == 0, done.stderr
    template["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    assert "violates PodSecurity" in plane.try_kubectl("create", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(pod)).stderr


def test_no_role_names_secrets_in_a_tenants_namespace(manifests: list[dict[str, Any]]) -> None:
    for tenant in VALUES["tenants"]:
        rules = rules_in(manifests, tenant)

        assert rules
        assert all(
            "secrets" not in rule["resources"] and "*" not in rule["resources"] + rule["verbs"] + rule["apiGroups"] for rule in rules
        )


def test_secrets_of_a_job_can_be_created_and_nothing_else(manifests: list[dict[str, Any]]) -> None:
    verbs = {verb for rule in rules_in(manifests, "research") if "secrets" in rule["resources"] for verb in rule["verbs"]}

    assert verbs == {"create"}


def test_everywhere_only_our_own_kinds_and_namespaces_can_be_read(manifests: list[dict[str, Any]]) -> None:
    bound = {binding["roleRef"]["name"] for binding in chart.of_kind(manifests, "ClusterRoleBinding")}
    rules = [rule for role in chart.of_kind(manifests, "ClusterRole") if role["metadata"]["name"] in bound for rule in role["rules"]]

    assert {(group, resource) for rule in rules for group in rule["apiGroups"] for resource in rule["resources"]} == {
        ("coterie.dev", "federatedjobs"),
        ("coterie.dev", "federateddatasets"),
        ("coterie.dev", "federatedjobs/status"),
        ("coterie.dev", "federateddatasets/status"),
        ("", "namespaces"),
    }
    assert all(set(rule["verbs"]) <= {"get", "list", "watch"} for rule in rules if "namespaces" in rule["resources"])


def test_a_namespace_that_is_not_listed_gets_no_role(manifests: list[dict[str, Any]]) -> None:
    assert {role["metadata"]["namespace"] for role in chart.of_kind(manifests, "Role")} == {
        "coterie-system",
        "research",
        "hospital-a",
        "hospital-b",
    }


def test_nobody_but_the_operators_account_is_bound(manifests: list[dict[str, Any]]) -> None:
    subjects = [subject for binding in chart.of_kind(manifests, "RoleBinding", "ClusterRoleBinding") for subject in binding["subjects"]]

    assert all(subject == {"kind": "ServiceAccount", "name": "coterie", "namespace": "coterie-system"} for subject in subjects)


def test_definitions_stay_when_the_release_goes_unless_asked_otherwise(manifests: list[dict[str, Any]]) -> None:
    kept = chart.of_kind(manifests, "CustomResourceDefinition")
    loose = chart.of_kind(chart.render({"crds": {"keep": False}}), "CustomResourceDefinition")

    assert [each["metadata"]["annotations"]["helm.sh/resource-policy"] for each in kept] == ["keep", "keep"]
    assert all("annotations" not in each["metadata"] for each in loose)
    assert chart.of_kind(chart.render({"crds": {"enabled": False}}), "CustomResourceDefinition") == []


def test_a_namespace_may_be_tenant_and_job_namespace_at_once(empty_plane: ControlPlane) -> None:
    manifests = chart.render({"tenants": ["both"], "jobNamespaces": ["both"]})
    names = [role["metadata"]["name"] for role in chart.of_kind(manifests, "Role") if role["metadata"]["namespace"] == "both"]

    assert len(names) == len(set(names)) == 2


def test_two_releases_share_no_name_that_the_cluster_holds_once(empty_plane: ControlPlane) -> None:
    def cluster_wide(namespace: str) -> set[tuple[str, str]]:
        rendered = chart.render({**VALUES, "rbac": {"aggregate": False}}, namespace=namespace)
        kinds = ("ClusterRole", "ClusterRoleBinding", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
        return {(each["kind"], each["metadata"]["name"]) for each in chart.of_kind(rendered, *kinds)}

    assert cluster_wide("one") & cluster_wide("two") == set()


def test_settings_reach_the_operator_as_its_environment(empty_plane: ControlPlane) -> None:
    deployment = chart.of_kind(chart.render({"settings": {"resyncSeconds": 60, "workers": 8}}), "Deployment")[0]
    env = {each["name"]: each.get("value") for each in deployment["spec"]["template"]["spec"]["containers"][0]["env"]}

    assert (env["COTERIE_RESYNC_SECONDS"], env["COTERIE_WORKERS"]) == ("60", "8")


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
}


@pytest.mark.parametrize("case", BAD_VALUES)
def test_helm_refuses(case: str, empty_plane: ControlPlane) -> None:
    with pytest.raises(chart.ChartRefusedError, match="schema"):
        chart.render(BAD_VALUES[case])


def test_helm_finds_nothing_to_criticize(empty_plane: ControlPlane) -> None:
    import subprocess

    done = subprocess.run(
        [binaries.locate(binaries.HELM), "lint", "--strict", "--quiet", str(chart.CHART)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_definitions_are_those_of_the_repository() -> None:
    source = Path(__file__).parents[2] / "crds"

    assert {path.name for path in source.glob("*.yaml")} == {path.name for path in (chart.CHART / "files" / "crds").glob("*.yaml")}
    for path in source.glob("*.yaml"):
        assert path.read_text() == (chart.CHART / "files" / "crds" / path.name).read_text()
