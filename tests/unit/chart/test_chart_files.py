from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml
from monitoring.rules import RUNBOOKS

from coterie_operator.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts" / "coterie"
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())


def test_the_defaults_satisfy_the_schema() -> None:
    jsonschema.validate(VALUES, SCHEMA)


def test_the_schema_is_strict_at_every_level() -> None:
    # Helm itself fills `global`; whole objects and maps of a person's own names can't be known.
    free = {"values.global", "values.extraObjects[].anyOf[1]"}

    def loose(schema: dict[str, Any], path: str) -> Iterator[str]:
        if schema.get("type") == "object" and "additionalProperties" not in schema:
            yield path
        for name, child in schema.get("properties", {}).items():
            yield from loose(child, f"{path}.{name}")
        if "items" in schema:
            yield from loose(schema["items"], f"{path}[]")
        for index, child in enumerate(schema.get("anyOf", ())):
            yield from loose(child, f"{path}.anyOf[{index}]")

    found = {*loose(SCHEMA, "values"), *(path for name, child in SCHEMA["definitions"].items() for path in loose(child, name))}

    assert found == free


def test_the_schema_knows_every_value_and_no_more() -> None:
    def known(schema: dict[str, Any], values: object, path: str) -> Iterator[str]:
        if "properties" not in schema or not isinstance(values, dict) or path == ".settings":
            return
        yield from (f"{path}.{name}" for name in schema["properties"].keys() ^ values.keys())
        for name in schema["properties"].keys() & values.keys():
            yield from known(schema["properties"][name], values[name], f"{path}.{name}")

    assert set(known(SCHEMA, VALUES, "")) == {".global"}


def test_the_schema_knows_every_setting_but_those_that_the_chart_makes() -> None:
    made = {"namespace", "namespaces", "identity", "authority_secret", "operator_image", "worker_image", "image_pull_policy"}
    made |= {"listen", "health_port", "metrics_port"}  # probes, Service and policies name the ports
    settings = {each.name for each in fields(Settings)} - made

    assert {re.sub(r"([A-Z])", r"_\1", name).lower() for name in SCHEMA["properties"]["settings"]["properties"]} == settings


# A certificate of no days can't be issued, and no workers do no work. Without a pause lists, readings and repetitions have no end.
# A timeout of zero is none to aiohttp, and without a wait between two assemblies the clients of the first are not let go.
POSITIVE = {"certificateDays", "workers", "probeSeconds", "resyncSeconds", "retrySeconds", "retryMaxSeconds"}
POSITIVE |= {"probeTimeoutSeconds", "assemblyRetrySeconds"}
NUMBERS = sorted(
    name for name, schema in SCHEMA["properties"]["settings"]["properties"].items() if schema.get("type") in ("integer", "number")
)


def fits(name: str, value: float) -> bool:
    """Whether the schema takes a setting."""
    return bool(jsonschema.Draft7Validator(SCHEMA).is_valid({"settings": {name: value}}))


@pytest.mark.parametrize("name", NUMBERS)
def test_a_setting_is_zero_only_where_the_operator_works_with_it(name: str) -> None:
    assert fits(name, 1)
    assert not fits(name, -1)
    assert fits(name, 0) is (name not in POSITIVE)


def test_every_setting_that_may_not_be_zero_is_a_number() -> None:
    assert set(NUMBERS) > POSITIVE


def test_every_value_is_explained() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()

    def is_explained(line: int) -> bool:
        while line > 0 and lines[line - 1].lstrip().startswith("#"):
            line -= 1
            if lines[line].lstrip().startswith("# -- "):
                return True
        return False

    def bare(node: yaml.MappingNode, path: str) -> Iterator[str]:
        for key, value in node.value:
            if is_explained(key.start_mark.line):
                continue
            if isinstance(value, yaml.MappingNode) and value.value:
                yield from bare(value, f"{path}.{key.value}")
            else:
                yield f"{path}.{key.value}"

    root = yaml.compose((CHART / "values.yaml").read_text())
    assert isinstance(root, yaml.MappingNode)
    assert list(bare(root, "")) == []


def test_runbooks_are_by_default_where_the_rules_say() -> None:
    assert VALUES["monitoring"]["rules"]["runbookUrl"] == RUNBOOKS


def test_the_chart_carries_the_definitions_of_the_repository() -> None:
    source = {path.name: path.read_text() for path in (ROOT / "crds").glob("*.yaml")}
    copied = {path.name: path.read_text() for path in (CHART / "files" / "crds").glob("*.yaml")}

    assert copied == source, "run `make crds`"


def test_the_chart_has_the_version_of_the_package() -> None:
    import tomllib

    package = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == package
