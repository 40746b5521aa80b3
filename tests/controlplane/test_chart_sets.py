"""Three sets of values, judged by everybody who has a say: Helm 3 and 4, the API server and its schemas, and the renders kept as files."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.cluster import binaries, chart, chartfiles
from tests.cluster.openapi import LOCATION, write_schemas

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cluster.controlplane import ControlPlane

HELMS = (binaries.HELM, binaries.HELM3)
each_set = pytest.mark.parametrize("name", chart.VALUE_SETS)


@pytest.fixture(scope="module")
def foreign(plane: ControlPlane) -> Iterator[ControlPlane]:
    """A control plane that knows the kinds of Prometheus' operator too, and the namespaces that the sets name."""
    definitions = binaries.module_folder("prometheus-operator", binaries.PROMETHEUS_OPERATOR)
    names = [f"monitoring.coreos.com_{plural}.yaml" for plural in ("servicemonitors", "podmonitors", "prometheusrules")]
    files = [argument for name in names for argument in ("-f", str(definitions / "example" / "prometheus-operator-crd" / name))]
    plane.kubectl("apply", "--server-side", *files)
    plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
    namespaces = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in ("monitoring", "hospitals")]
    plane.kubectl("apply", "-f", "-", stdin=chart.to_yaml(namespaces))
    yield plane
    plane.kubectl("delete", *files, "--wait=false")


@pytest.fixture(scope="module")
def schemas(foreign: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("schemas")
    files = write_schemas(json.loads(foreign.kubectl("get", "--raw", "/openapi/v2")), folder)
    assert {"deployment-apps-v1.json", "pod-v1.json", "federatedjob-coterie-v1alpha1.json", "podmonitor-monitoring-v1.json"} <= files
    return folder


def conform(schemas: Path, manifests: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what kubeconform says."""
    program = str(binaries.locate(binaries.KUBECONFORM))
    command = [program, "-strict", "-summary", "-output", "json", "-schema-location", f"{schemas}/{LOCATION}"]
    done = subprocess.run(command, input=chart.to_yaml(manifests), capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("helm", HELMS, ids=lambda helm: helm.name)
@each_set
def test_helm_finds_nothing_to_criticize(foreign: ControlPlane, name: str, helm: binaries.Program) -> None:
    values = chart.CHART / "ci" / f"{name}-values.yaml"
    command = [binaries.locate(helm), "lint", "--strict", "--kube-version", chart.KUBE_VERSION, "--values", values, chart.CHART]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout
    assert "[INFO]" not in done.stdout


@each_set
def test_both_helms_render_the_same(foreign: ControlPlane, name: str) -> None:
    assert chart.render_set(name, binaries.HELM) == chart.render_set(name, binaries.HELM3)


@each_set
def test_every_object_conforms_to_the_api_servers_schemas(schemas: Path, name: str) -> None:
    manifests = chart.render_set(name)
    said = conform(schemas, manifests)

    assert said["resources"] == [], said["resources"]
    assert said["summary"] == {"valid": len(manifests), "invalid": 0, "errors": 0, "skipped": 0}


WRONG: dict[str, tuple[str, list[str | int], Any]] = {
    "an unknown field": ("Deployment", ["spec", "template", "spec", "containers", 0, "image_pull_policy"], "Always"),
    "a wrong type": ("Deployment", ["spec", "replicas"], "two"),
    "an unknown field of a monitor": ("ServiceMonitor", ["spec", "end"], []),
    "an unknown field of a policy": ("NetworkPolicy", ["spec", "podselector"], {}),
    "an unknown field of a definition": ("CustomResourceDefinition", ["spec", "names", "shortname"], "x"),
}


@pytest.mark.parametrize("case", WRONG)
def test_the_schemas_see_what_is_wrong(schemas: Path, case: str) -> None:
    kind, path, value = WRONG[case]
    manifest = chart.of_kind(chart.render_set("production"), kind)[0]
    place: Any = manifest
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value

    assert conform(schemas, [manifest])["summary"]["invalid"] == 1


@each_set
def test_the_api_server_takes_every_object(foreign: ControlPlane, name: str) -> None:
    manifests = chart.render_set(name)
    command = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "--force-conflicts", "-f", "-")
    shown = foreign.kubectl(*command, stdin=chart.to_yaml(manifests))

    assert len(shown.splitlines()) == len(manifests)


@each_set
def test_nothing_is_asked_of_a_cluster_while_rendering(foreign: ControlPlane, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nonexistent")
    monkeypatch.setenv("KUBERNETES_MASTER", "https://127.0.0.1:1")

    assert chart.render_set(name)


@each_set
def test_every_object_has_the_labels_that_are_asked_for(foreign: ControlPlane, name: str) -> None:
    asked = chart.value_set(name).get("commonLabels", {}) | {"app.kubernetes.io/part-of": "coterie", "app.kubernetes.io/managed-by": "Helm"}
    extra = {each["kind"] for each in chart.value_set(name).get("extraObjects", [])}

    for manifest in chart.render_set(name):
        if manifest["kind"] not in extra:
            assert asked.items() <= manifest["metadata"]["labels"].items(), (manifest["kind"], manifest["metadata"]["name"])


def test_a_release_for_one_namespace_makes_nothing_outside_of_it(foreign: ControlPlane) -> None:
    assert {each["metadata"].get("namespace") for each in chart.render_set("single-namespace")} == {"hospitals"}


@each_set
def test_the_renders_kept_as_files_are_fresh(foreign: ControlPlane, name: str) -> None:
    assert (chartfiles.GOLDEN / f"{name}.yaml").read_text() == chartfiles.golden(name), "run `make chart-docs`"


def test_the_charts_page_is_fresh(foreign: ControlPlane) -> None:
    assert chartfiles.README.read_text() == chartfiles.readme(), "run `make chart-docs`"


def test_the_charts_own_tests_pass(foreign: ControlPlane, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    command = [binaries.locate(binaries.HELM_UNITTEST), "--strict", "--output-type", "JUnit", "--output-file", report, chart.CHART]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    assert done.returncode == 0, done.stdout + done.stderr
    assert report.read_text().count("<testcase") >= 20


@each_set
def test_the_sets_are_what_continuous_integration_would_try(name: str) -> None:
    assert yaml.safe_load((chart.CHART / "ci" / f"{name}-values.yaml").read_text()) is not None
