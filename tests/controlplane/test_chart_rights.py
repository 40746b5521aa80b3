"""Every right that the chart gives away, as one table: a wider role is a change of this file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.cluster import chart

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cluster.controlplane import ControlPlane

READ = "get list watch"
MAKE = "get list watch create delete"
WRITE = "get list watch create update patch delete deletecollection"
VALUES: dict[str, Any] = {"tenants": ["hospital-a", "both"], "jobNamespaces": ["research", "both"]}
JOBS, TENANTS = ("research", "both"), ("hospital-a", "both")
EVERYWHERE = ""

Right = tuple[str, str]  # where it holds; resource.group and the names it is limited to
Table = dict[Right, str]

OWN_KINDS = {
    "federatedjobs.coterie.dev": "get list watch patch delete",
    "federateddatasets.coterie.dev": READ,
    "federatedjobs/status.coterie.dev": "get patch",
    "federateddatasets/status.coterie.dev": "get patch",
}
IN_JOBS = {
    "jobs.batch": MAKE,
    "pods": READ,
    "configmaps": MAKE,
    "services": MAKE,
    "persistentvolumeclaims": MAKE,
    "networkpolicies.networking.k8s.io": MAKE,
    "secrets": "create",
    "events": "list create patch",
}
IN_TENANTS = {"jobs.batch": MAKE, "pods": READ, "configmaps": MAKE, "networkpolicies.networking.k8s.io": MAKE, "events": "list"}
AT_HOME = {
    "secrets": "create",
    "secrets[coterie-ca]": "get",
    "leases.coordination.k8s.io": "create",
    "leases.coordination.k8s.io[coterie-operator]": "get patch",
}
PEOPLE = {
    "coterie-job-author": {"federatedjobs.coterie.dev": WRITE, "federatedjobs/status.coterie.dev": "get"},
    "coterie-data-owner": {"federateddatasets.coterie.dev": WRITE, "federateddatasets/status.coterie.dev": "get"},
    "coterie-auditor": {
        "federatedjobs.coterie.dev": READ,
        "federateddatasets.coterie.dev": READ,
        "federatedjobs/status.coterie.dev": "get",
        "federateddatasets/status.coterie.dev": "get",
    },
}


def at(places: tuple[str, ...], rights: dict[str, str]) -> list[tuple[Right, str]]:
    return [((place, resource), verbs) for place in places for resource, verbs in rights.items()]


def joined(*parts: list[tuple[Right, str]]) -> dict[Right, set[str]]:
    found: dict[Right, set[str]] = {}
    for right, verbs in (entry for part in parts for entry in part):
        found.setdefault(right, set()).update(verbs.split())
    return found


CLUSTERWIDE = joined(
    at((EVERYWHERE,), {**OWN_KINDS, "namespaces": READ}), at(JOBS, IN_JOBS), at(TENANTS, IN_TENANTS), at((chart.NAMESPACE,), AT_HOME)
)
NAMESPACED = joined(
    at(("research", "hospital-a", "both"), {**OWN_KINDS, "namespaces": "get"}),
    at(JOBS, IN_JOBS),
    at(TENANTS, IN_TENANTS),
    at((chart.NAMESPACE,), AT_HOME),
)


def resources(rule: dict[str, Any]) -> Iterator[str]:
    assert set(rule) <= {"apiGroups", "resources", "resourceNames", "verbs"}
    for group in rule["apiGroups"]:
        for resource in rule["resources"]:
            yield f"{resource}{'.' + group if group else ''}" + (f"[{','.join(rule['resourceNames'])}]" if "resourceNames" in rule else "")


def given(manifests: list[dict[str, Any]]) -> dict[Right, set[str]]:
    """Return what all bindings together allow."""
    roles = {
        (each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]): each["rules"]
        for each in manifests
        if "rules" in each
    }
    found: dict[Right, set[str]] = {}
    for binding in chart.of_kind(manifests, "RoleBinding", "ClusterRoleBinding"):
        place = binding["metadata"].get("namespace", EVERYWHERE)
        kind, name = binding["roleRef"]["kind"], binding["roleRef"]["name"]
        for rule in roles[kind, place if kind == "Role" else "", name]:
            for resource in resources(rule):
                found.setdefault((place, resource), set()).update(rule["verbs"])
    return found


@pytest.fixture(scope="module", autouse=True)
def _helm(empty_plane: ControlPlane) -> None:
    """Helm is built with the control plane."""


@pytest.mark.parametrize(
    ("values", "table"), [({}, CLUSTERWIDE), ({"singleNamespace": True}, NAMESPACED)], ids=["clusterwide", "namespaced"]
)
def test_the_operator_has_these_rights_and_no_other(values: dict[str, Any], table: dict[Right, set[str]]) -> None:
    assert given(chart.render({**VALUES, **values})) == table


def test_a_release_for_one_namespace_has_rights_there_alone() -> None:
    manifests = chart.render({"singleNamespace": True}, namespace="alone")
    kinds = {each["kind"] for each in manifests}

    assert {place for place, _ in given(manifests)} == {"alone"}
    assert not {kind for kind in kinds if kind.startswith("Cluster")}


@pytest.mark.parametrize("values", [{}, {"singleNamespace": True}], ids=["clusterwide", "namespaced"])
def test_no_right_is_a_wildcard_or_leads_to_others(values: dict[str, Any]) -> None:
    for (place, resource), verbs in given(chart.render({**VALUES, **values})).items():
        assert not {"*", "escalate", "bind", "impersonate"} & verbs, (place, resource)
        assert "*" not in resource
        assert resource.partition("[")[0] not in {"pods/exec", "pods/attach", "pods/log", "serviceaccounts/token", "nodes"}


@pytest.mark.parametrize("values", [{}, {"singleNamespace": True}], ids=["clusterwide", "namespaced"])
def test_nobody_but_the_operators_account_is_bound(values: dict[str, Any]) -> None:
    bindings = chart.of_kind(chart.render({**VALUES, **values}), "RoleBinding", "ClusterRoleBinding")

    assert bindings
    for binding in bindings:
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "coterie", "namespace": "coterie-system"}]


def test_without_rbac_there_is_none_and_the_account_stays() -> None:
    kinds = {each["kind"] for each in chart.render({**VALUES, "rbac": {"create": False}})}

    assert not kinds & {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}
    assert "ServiceAccount" in kinds


def test_an_account_of_the_administrators_own_is_bound_and_not_made() -> None:
    manifests = chart.render({**VALUES, "serviceAccount": {"create": False, "name": "given"}})
    subjects = [subject["name"] for each in chart.of_kind(manifests, "RoleBinding", "ClusterRoleBinding") for subject in each["subjects"]]
    (deployment,) = chart.of_kind(manifests, "Deployment")

    assert chart.of_kind(manifests, "ServiceAccount") == []
    assert set(subjects) == {"given"}
    assert deployment["spec"]["template"]["spec"]["serviceAccountName"] == "given"
    for policy in chart.of_kind(manifests, "ValidatingAdmissionPolicy"):
        assert "system:serviceaccount:coterie-system:given" in policy["spec"]["matchConditions"][0]["expression"]


@pytest.mark.parametrize("who", PEOPLE)
def test_people_may_do_this_and_no_more(who: str) -> None:
    (role,) = [each for each in chart.of_kind(chart.render(VALUES), "ClusterRole") if each["metadata"]["name"] == who]

    assert {resource: set(rule["verbs"]) for rule in role["rules"] for resource in resources(rule)} == {
        resource: set(verbs.split()) for resource, verbs in PEOPLE[who].items()
    }


def test_each_of_the_clusters_own_roles_covers_one_kind_of_people() -> None:
    prefix = "rbac.authorization.k8s.io/aggregate-to-"

    def covered(**rbac: bool) -> dict[str, set[str]]:
        roles = {each["metadata"]["name"]: each for each in chart.of_kind(chart.render({**VALUES, "rbac": rbac}), "ClusterRole")}
        labels = {name: roles[name]["metadata"]["labels"] for name in PEOPLE if name in roles}
        return {name: {label.removeprefix(prefix) for label in found if label.startswith(prefix)} for name, found in labels.items()}

    assert covered() == {"coterie-job-author": {"edit"}, "coterie-data-owner": {"admin"}, "coterie-auditor": {"view", "cluster-reader"}}
    assert covered(aggregate=False) == {name: set() for name in PEOPLE}
    assert covered(people=False) == {}


def test_the_roles_of_people_and_of_tenants_are_bound_by_nobody_but_who_wants_to() -> None:
    manifests = chart.render({})
    bound = {each["roleRef"]["name"] for each in chart.of_kind(manifests, "RoleBinding", "ClusterRoleBinding")}

    assert not bound & {*PEOPLE, "coterie-coterie-system-tenant", "coterie-coterie-system-jobs"}
