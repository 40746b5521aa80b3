"""Every object of the table is refused at the field that the table names, by whom the table names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from coterie_api.errors import Fault, FieldError, InvalidObject
from coterie_api.fields import parse
from coterie_api.v1alpha1.schema import kind_schema
from coterie_api.v1alpha1.types import FederatedDataset, FederatedJob
from coterie_api.v1alpha1.validate import validate_dataset, validate_job

Manifest = Callable[..., dict[str, Any]]
KINDS = {"FederatedJob": FederatedJob, "FederatedDataset": FederatedDataset}
SEEN_BY_STRUCTURE = ("schema",)


def refusals(obj: dict[str, Any]) -> tuple[FieldError, ...]:
    try:
        value = parse(KINDS[obj["kind"]], obj, "")
    except InvalidObject as error:
        return error.errors
    return validate_job(value) if isinstance(value, FederatedJob) else validate_dataset(value)


@pytest.mark.parametrize("kind", KINDS)
def test_the_valid_objects_are_accepted_by_the_parser_and_by_the_schema(kind: str, manifest: Manifest) -> None:
    assert refusals(manifest(kind)) == ()
    jsonschema.Draft4Validator(kind_schema(KINDS[kind])).validate(manifest(kind))


def test_a_refused_object_names_the_field_at_fault(invalid: tuple[str, dict[str, Any]], manifest: Manifest) -> None:
    kind, case = invalid

    errors = refusals(manifest(kind, case["set"]))

    assert case["field"] in [error.field for error in errors]


def test_a_refused_object_has_no_error_but_the_expected_one(invalid: tuple[str, dict[str, Any]], manifest: Manifest) -> None:
    kind, case = invalid

    errors = [error for error in refusals(manifest(kind, case["set"])) if error.field == case["field"]]

    assert [error.fault for error in errors] == [Fault(case.get("fault", "InvalidSpec"))]


def test_a_message_tells_the_value_found_and_the_value_allowed(invalid: tuple[str, dict[str, Any]], manifest: Manifest) -> None:
    kind, case = invalid

    error = next(error for error in refusals(manifest(kind, case["set"])) if error.field == case["field"])

    assert error.found
    assert error.allowed
    assert len(str(error)) < 400
    assert "\n" not in str(error)


def test_the_schema_refuses_exactly_what_the_table_says(invalid: tuple[str, dict[str, Any]], manifest: Manifest) -> None:
    kind, case = invalid

    validator = jsonschema.Draft4Validator(kind_schema(KINDS[kind]))

    assert validator.is_valid(manifest(kind, case["set"])) == (case["by"] not in SEEN_BY_STRUCTURE)


def test_a_field_that_the_api_server_prunes_is_passed_over_when_reading_from_there(
    manifest: Manifest, pruned: list[tuple[str, dict[str, Any]]]
) -> None:
    for kind, case in pruned:
        value = parse(KINDS[kind], manifest(kind, case["set"]), "", strict=False)

        assert value.metadata == parse(KINDS[kind], manifest(kind), "").metadata
