"""What the operator and the chart start must be what the images hold: their commands are two halves of one contract."""

from __future__ import annotations

import importlib.util
import json
import tomllib
from typing import Any

import pytest
import yaml
from tests.unit.coterie_operator.manifests.started_parts import parts, tenant
from tests.unit.images.dockerfile import ROOT, TEXT, parse

from coterie_operator.cli import main
from coterie_operator.manifests.aggregator import aggregator_job
from coterie_operator.manifests.client import client_job

FILE = parse(TEXT)
SOURCE = {"persistentVolumeClaim": {"claimName": "data"}}
JOBS = [client_job(parts(), tenant(), 0), aggregator_job(parts(evaluation={"public": {"source": SOURCE}}), 0)]
PODS: list[dict[str, Any]] = [job["spec"]["template"]["spec"] for job in JOBS]
CONTAINERS: list[dict[str, Any]] = [each for pod in PODS for each in [*pod.get("initContainers", []), *pod["containers"]]]
DEPLOYMENT = (ROOT / "charts" / "coterie" / "templates" / "deployment.yaml").read_text()
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def entry_point(target: str) -> list[str]:
    return json.loads(FILE.last(target, "ENTRYPOINT") or "[]")


def deployment(key: str) -> list[str]:
    """Return the words that the Deployment gives for `command` or `args`, both of which stand on one line and hold no template."""
    lines = [line.strip() for line in DEPLOYMENT.splitlines() if line.strip().startswith(f"{key}:")]
    return [word for line in lines for word in yaml.safe_load(line)[key]]


def test_pods_of_jobs_run_the_workers_own_entry_point() -> None:
    assert {container["name"] for container in CONTAINERS} >= {"client", "aggregator", "evaluator", "initialize"}
    for container in CONTAINERS:
        assert container["command"] == entry_point("worker")


def test_the_operators_image_holds_what_an_aggregator_runs() -> None:
    """The command is given by the pod, since the entry point of that image is the operator's."""
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]

    assert "worker/coterie_worker" in wheel
    assert "rm -r /worker/" in FILE.stages["build"].all("RUN")[-1]  # what is taken away is taken from the worker's copy
    assert "rm -r /operator/" not in FILE.stages["build"].all("RUN")[-1]


def test_the_deployment_leaves_the_entry_point_to_the_image() -> None:
    assert deployment("command") == []
    assert entry_point("operator") == ["coterie"]
    assert "coterie" in PROJECT["scripts"]


def test_the_deployments_arguments_are_a_command_of_the_entry_point_and_the_images_own_default() -> None:
    assert deployment("args") == json.loads(FILE.last("operator", "CMD") or "[]")
    assert deployment("args")[0] in main.commands


def test_the_module_that_pods_run_exists() -> None:
    assert entry_point("worker")[:2] == ["python", "-m"]
    assert importlib.util.find_spec(f"{entry_point('worker')[2]}.__main__") is not None


@pytest.mark.parametrize("target", ["operator", "worker"])
def test_commands_are_found_on_the_path_of_the_virtual_environment(target: str) -> None:
    assert FILE.pairs(target, "ENV")["PATH"].split(":")[0] == "/opt/coterie/bin"


def test_pods_write_where_the_images_home_is() -> None:
    home = FILE.pairs("worker", "ENV")["HOME"]
    for container in CONTAINERS:
        assert [mount for mount in container["volumeMounts"] if mount["mountPath"] == home and not mount.get("readOnly")]
    assert f"mountPath: {home}" in DEPLOYMENT


def test_neither_pods_nor_the_deployment_choose_a_user_that_the_image_would_not_know() -> None:
    """The image's user is a number, so `runAsNonRoot` can be checked, and a platform may put another in its place."""
    for pod in PODS:
        assert "runAsUser" not in pod["securityContext"]
    assert "runAsUser" not in DEPLOYMENT


def test_no_probe_runs_a_program() -> None:
    assert "exec:" not in DEPLOYMENT
    for container in CONTAINERS:
        assert not [key for key in container if key.endswith("Probe") and "exec" in container[key]]
