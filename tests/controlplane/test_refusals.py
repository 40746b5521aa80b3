"""The table of invalid objects, put to a real API server: it refuses what the table says, and stores what we read offline."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from coterie_api.fields import parse
from coterie_api.v1alpha1.types import FederatedDataset, FederatedJob

if TYPE_CHECKING:
    from tests.cluster.controlplane import ControlPlane

TABLE = yaml.safe_load((Path(__file__).parents[1] / "unit" / "coterie_api" / "v1alpha1" / "objects.yaml").read_text())
KINDS = {"FederatedJob": FederatedJob, "FederatedDataset": FederatedDataset}
# Structure and bounds are checked against a reference validator in the unit tests; here is what only an API server knows.
CASES = [(kind, case) for kind in KINDS for case in TABLE[kind] if case["by"] != "schema"]


def changed(kind: str, changes: dict[str, Any]) -> dict[str, Any]:
    obj = copy.deepcopy(TABLE["valid"][kind])
    for path, value in changes.items():
        *parents, last = path.split(".")
        node = obj
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    return obj


@pytest.mark.parametrize(("kind", "case"), CASES, ids=[f"{kind}: {case['law']}" for kind, case in CASES])
def test_the_api_server_and_the_table_agree(kind: str, case: dict[str, Any], plane: ControlPlane) -> None:
    manifest = json.dumps(changed(kind, case["set"]))

    done = plane.try_kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", stdin=manifest)

    assert (done.returncode == 0) == (case["by"] == "rules"), done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_a_stored_object_reads_as_its_manifest(kind: str, plane: ControlPlane) -> None:
    manifest = changed(kind, {})

    stored = json.loads(plane.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", stdin=json.dumps(manifest)))

    assert parse(KINDS[kind], stored, "").spec == parse(KINDS[kind], manifest, "").spec


def test_a_renamed_parameter_of_the_task_is_a_change(plane: ControlPlane) -> None:
    manifest = changed("FederatedJob", {"metadata.name": "renamed", "spec.task.parameters": {"hidden": 32}})
    plane.kubectl("create", "-f", "-", stdin=json.dumps(manifest))
    manifest["spec"]["task"]["parameters"] = {"hiddn": 32}

    done = plane.try_kubectl("replace", "-f", "-", stdin=json.dumps(manifest))

    plane.kubectl("delete", "fjob", "renamed", "-n", "research")
    assert "task can't be changed" in done.stderr


def test_the_status_of_a_job_whose_data_sets_share_a_name_can_be_written(plane: ControlPlane) -> None:
    manifest = changed("FederatedJob", {"metadata.name": "shared"})
    plane.kubectl("create", "-f", "-", stdin=json.dumps(manifest))

    patch = json.dumps({"status": {"state": "Running"}})
    done = plane.try_kubectl("patch", "fjob", "shared", "-n", "research", "--subresource=status", "--type=merge", "-p", patch)

    plane.kubectl("delete", "fjob", "shared", "-n", "research")
    assert done.returncode == 0, done.stderr
