"""docs/api.md says what the types say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from coterie_api.names import EXIT_OK, EXIT_RETRY, EXIT_TERMINAL
from coterie_api.progress import DropReason
from coterie_api.shape import Kind
from coterie_api.v1alpha1 import reference
from coterie_api.v1alpha1.conditions import ConditionType, DatasetConditionType, Reason
from coterie_api.v1alpha1.crds import DEFINITIONS, Definition
from coterie_api.v1alpha1.schema import Schema, kind_schema
from coterie_api.v1alpha1.types import FederatedJob

PAGE = Path(__file__).parents[4] / "docs" / "api.md"
ROWS = re.compile(r"^\| `([^`]+)` \| (.*) \|$", re.MULTILINE)


def section(definition: Definition) -> str:
    """The part of the page that is about one kind."""
    page = reference.render()
    return re.split(r"(?m)^## ", page.partition(f"\n## {definition.cls.__name__}\n")[2])[0]


def paths(schema: Schema, path: str) -> set[str]:
    """Every field below a schema as the page names it."""
    found = {f"{path}.{key}": value for key, value in schema.get("properties", {}).items()}
    below = [paths(value, key) for key, value in found.items()]
    if "items" in schema:
        below.append(paths(schema["items"], f"{path}[]"))
    return set(found).union(*below)


def test_the_committed_page_is_fresh() -> None:
    assert PAGE.read_text() == reference.render(), "run `make crds`"


def test_the_page_is_written_where_one_says(tmp_path: Path) -> None:
    assert reference.main([str(tmp_path / "a.md")]) == 0
    assert (tmp_path / "a.md").read_text() == reference.render()


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda definition: definition.plural)
@pytest.mark.parametrize("part", ["spec", "status"])
def test_every_field_of_the_schema_has_a_row_and_no_other(definition: Definition, part: str) -> None:
    rows = [path for path, _ in ROWS.findall(section(definition)) if path.startswith(f"{part}.")]

    assert paths(kind_schema(definition.cls)["properties"][part], part) == set(rows)
    assert len(rows) == len(set(rows))


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda definition: definition.plural)
def test_every_field_is_described_and_tells_what_it_allows(definition: Definition) -> None:
    for path, rest in ROWS.findall(section(definition)):
        if "." in path:
            kind, _, _, allowed, text = rest.split(" | ")

            assert len(text) > 5, path
            assert allowed or kind == Kind.OBJECT.value, path


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda definition: definition.plural)
def test_every_column_of_kubectl_is_there(definition: Definition) -> None:
    for column in definition.columns:
        assert f"| {column['name']} | " in section(definition)


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda definition: definition.plural)
def test_each_kind_has_an_example_of_its_own(definition: Definition) -> None:
    assert yaml.safe_load(reference.EXAMPLES[definition.cls])["kind"] == definition.cls.__name__


def test_defaults_and_bounds_are_those_of_the_types() -> None:
    (row,) = [rest for path, rest in ROWS.findall(reference.render()) if path == "spec.backoffLimit"]

    assert row.startswith("integer |  | `3` | a whole number from 0 to 1000 | ")


@pytest.mark.parametrize("word", [*ConditionType, *DatasetConditionType, *Reason, *DropReason, EXIT_OK, EXIT_TERMINAL, EXIT_RETRY])
def test_every_condition_reason_and_exit_code_is_explained(word: object) -> None:
    assert f"| `{word}` | " in reference.render()


def test_a_bar_in_a_text_does_not_break_its_row() -> None:
    assert reference.table(("a", "b"), [("x|y", "1\n2")])[-1] == "| x\\|y | 1 2 |"


def test_a_changed_type_makes_the_page_stale() -> None:
    definition = Definition(FederatedJob, "federatedjobs", "other", ())

    assert reference.kind(definition) not in PAGE.read_text()
