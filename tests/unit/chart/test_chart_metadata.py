"""What the chart tells of itself, to Helm and to Artifact Hub: each claim against what it is about."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from coterie_api.v1alpha1.crds import DEFINITIONS, definition_object
from coterie_api.v1alpha1.load import validate_files

ROOT = Path(__file__).parents[3]
CHART: dict[str, Any] = yaml.safe_load((ROOT / "charts" / "coterie" / "Chart.yaml").read_text())
VALUES: dict[str, Any] = yaml.safe_load((ROOT / "charts" / "coterie" / "values.yaml").read_text())
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REPOSITORY = "https://github.com/coterie/coterie"


def told(name: str) -> Any:
    return yaml.safe_load(CHART["annotations"][f"artifacthub.io/{name}"])


def test_the_license_is_that_of_the_package() -> None:
    assert told("license") == PROJECT["license"]


def test_the_images_are_the_defaults() -> None:
    images = {each["name"]: each["image"] for each in told("images")}

    assert images == {
        "operator": f"{VALUES['image']['repository']}:{CHART['appVersion']}",
        "worker": f"{VALUES['workerImage']['repository']}:{CHART['appVersion']}",
    }


def test_every_kind_is_listed() -> None:
    definitions = [definition_object(each) for each in DEFINITIONS]
    listed = {(each["kind"], each["version"], each["name"]) for each in told("crds")}

    assert listed == {
        (each["spec"]["names"]["kind"], each["spec"]["versions"][0]["name"], each["metadata"]["name"]) for each in definitions
    }


def test_the_examples_are_valid(tmp_path: Path) -> None:
    page = tmp_path / "examples.yaml"
    page.write_text(yaml.safe_dump_all(told("crdsExamples")))

    found = validate_files([page])

    assert found.is_valid, found.errors
    assert {each["kind"] for each in told("crdsExamples")} == {each["kind"] for each in told("crds")}


@pytest.mark.parametrize("address", [CHART["home"], *CHART["sources"], CHART["icon"], *(each["url"] for each in told("links"))])
def test_an_address_within_the_repository_leads_to_something(address: str) -> None:
    for prefix in (
        f"{REPOSITORY}/blob/main/",
        f"{REPOSITORY}/tree/main/",
        "https://raw.githubusercontent.com/coterie/coterie/main/",
        REPOSITORY,
    ):
        if address.startswith(prefix):
            assert (ROOT / address.removeprefix(prefix)).exists()
            return
    raise AssertionError(f"{address}: not within {REPOSITORY}")


def test_every_change_is_of_a_kind_that_artifact_hub_knows() -> None:
    changes = told("changes")

    assert changes
    assert {each["kind"] for each in changes} <= {"added", "changed", "deprecated", "removed", "fixed", "security"}


def test_no_older_cluster_is_promised_than_is_tested() -> None:
    assert CHART["kubeVersion"] == ">=1.34.0-0"
    assert CHART["apiVersion"] == "v2"
