from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts" / "coterie"
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())


def test_the_defaults_satisfy_the_schema() -> None:
    jsonschema.validate(VALUES, SCHEMA)


def test_the_schema_is_strict_at_every_level_that_it_describes() -> None:
    def loose(schema: dict[str, Any], path: str) -> list[str]:
        described = schema.get("properties", {})
        found = [path] if described and schema.get("additionalProperties") is not False else []
        return found + [deeper for name, child in described.items() for deeper in loose(child, f"{path}.{name}")]

    assert loose(SCHEMA, "values") == []


def test_the_schema_knows_every_value_and_no_more() -> None:
    assert set(SCHEMA["properties"]) - {"global"} == set(VALUES)


def test_every_value_is_explained_above_it() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    bare = [line for before, line in itertools.pairwise(lines) if line[:1].isalpha() and not before.startswith("# -- ")]

    assert bare == []


def test_the_chart_carries_the_definitions_of_the_repository() -> None:
    source = {path.name: path.read_text() for path in (ROOT / "crds").glob("*.yaml")}
    copied = {path.name: path.read_text() for path in (CHART / "files" / "crds").glob("*.yaml")}

    assert copied == source, "run `make crds`"


def test_the_chart_has_the_version_of_the_package() -> None:
    import tomllib

    package = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == package


@pytest.mark.parametrize("target", ["operator", "worker"])
def test_the_images_run_as_no_root(target: str) -> None:
    stages = (ROOT / "Dockerfile").read_text().split("FROM ")
    runtime = next(stage for stage in stages if stage.partition("\n")[0].endswith("AS runtime"))
    stage = next(stage for stage in stages if stage.partition("\n")[0] == f"runtime AS {target}")

    assert "USER 65532:0" in runtime
    assert "USER" not in stage
