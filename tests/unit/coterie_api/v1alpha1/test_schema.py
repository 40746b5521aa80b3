"""The CRDs against Kubernetes' rules for structural schemas, and the parser against the schemas."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coterie_api.errors import FieldError, InvalidObject
from coterie_api.fields import canonical, dump, parse
from coterie_api.shape import entries, rules
from coterie_api.v1alpha1.crds import DEFINITIONS, Definition, definition_object, main, render
from coterie_api.v1alpha1.meta import ObjectMeta
from coterie_api.v1alpha1.schema import kind_schema, object_schema
from coterie_api.v1alpha1.types import FederatedDataset, FederatedJob

Schema = dict[str, Any]
Manifest = Callable[..., dict[str, Any]]
ROOT = Path(__file__).parents[4]
KINDS = (FederatedJob, FederatedDataset)
STRUCTURE = {"type", "properties", "items", "additionalProperties", "required", "description", "default", "enum", "format", "anyOf"}
BOUNDS = {
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "maxProperties",
}
EXTENSIONS = {
    "x-kubernetes-validations",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-int-or-string",
    "x-kubernetes-preserve-unknown-fields",
}
KUBERNETES_OWN = ("apiVersion", "kind", "metadata")
MUTABLE = {"suspend", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished"}


def walk(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from walk(inner, f"{path}.{name}")
    if "items" in schema:
        yield from walk(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from walk(schema["additionalProperties"], f"{path}.*")


NODES = [
    (cls.__name__ + path, schema)
    for cls in KINDS
    for path, schema in walk(kind_schema(cls))
    if not path.startswith(tuple("." + own for own in KUBERNETES_OWN))
]


def faults(says: Callable[[str, Schema], bool]) -> list[str]:
    return [path for path, schema in NODES if not says(path, schema)]


def test_every_schema_is_a_schema() -> None:
    for cls in KINDS:
        jsonschema.Draft4Validator.check_schema(kind_schema(cls))


def test_no_keyword_is_used_that_a_structural_schema_forbids() -> None:
    assert faults(lambda _, schema: set(schema) <= STRUCTURE | BOUNDS | EXTENSIONS) == []


def test_every_value_has_one_type_unless_it_is_free() -> None:
    free = ("x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields")

    assert faults(lambda _, schema: ("type" in schema) != any(extension in schema for extension in free)) == []


def test_properties_and_additional_properties_exclude_each_other() -> None:
    assert faults(lambda _, schema: not ("properties" in schema and "additionalProperties" in schema)) == []


def test_every_field_is_described_in_a_sentence() -> None:
    def described(path: str, schema: Schema) -> bool:
        text = schema.get("description", "")
        return path.endswith(("[]", ".*")) or (len(text) > 9 and text[0].isupper() and text.endswith("."))

    assert faults(described) == []


def test_every_list_map_and_text_is_bounded() -> None:
    bound = {"array": ("maxItems",), "string": ("maxLength", "enum")}

    def bounded(_: str, schema: Schema) -> bool:
        needs = bound.get(schema.get("type", ""), ())
        needs = ("maxProperties",) if "additionalProperties" in schema else needs
        return not needs or any(name in schema for name in needs)

    assert faults(bounded) == []


def test_every_number_of_a_spec_is_bounded_on_both_sides() -> None:
    def bounded(path: str, schema: Schema) -> bool:
        is_number = path.split(".")[1:2] == ["spec"] and schema.get("type") in ("integer", "number")
        return not is_number or "enum" in schema or ("minimum" in schema and "maximum" in schema)

    assert faults(bounded) == []


def test_every_list_says_how_it_is_merged() -> None:
    assert faults(lambda _, schema: ("x-kubernetes-list-type" in schema) == (schema.get("type") == "array")) == []


def test_every_key_of_a_list_map_is_always_there() -> None:
    def present(_: str, schema: Schema) -> bool:
        items = schema.get("items", {})
        return all(
            key in items["required"] or "default" in items["properties"][key] for key in schema.get("x-kubernetes-list-map-keys", ())
        )

    assert faults(present) == []


def test_every_pattern_is_anchored_and_common_to_re2_and_python() -> None:
    def portable(_: str, schema: Schema) -> bool:
        pattern = schema.get("pattern", "^$")
        return pattern.startswith("^") and pattern.endswith("$") and not re.search(r"\(\?|\\[zZbB1-9]", pattern)

    assert faults(portable) == []


def test_every_default_is_valid_where_it_stands() -> None:
    def valid(_: str, schema: Schema) -> bool:
        return "default" not in schema or jsonschema.Draft4Validator(schema).is_valid(schema["default"])

    assert faults(valid) == []


def test_nothing_that_must_be_given_has_a_default() -> None:
    assert (
        faults(lambda _, schema: all("default" not in schema["properties"][name] for name in schema.get("required", ()) if name != "spec"))
        == []
    )


def test_every_rule_has_a_twin_in_the_crd() -> None:
    expected = {rule.cel for cls in KINDS for rule in rules(cls)}

    written = {rule["rule"] for _, schema in NODES for rule in schema.get("x-kubernetes-validations", ())}

    assert expected <= written
    assert all("message" in rule for _, schema in NODES for rule in schema.get("x-kubernetes-validations", ()))


def is_held(spec: Schema, name: str) -> bool:
    """Whether a change, an addition and a removal of a field of a spec are all refused."""
    field = spec["properties"][name]
    held = any(
        "oldSelf" in rule["rule"] and rule["message"].startswith(f"{name} can't be changed")
        for rule in field.get("x-kubernetes-validations", ())
    )
    always_there = "default" in field or name in spec.get("required", ())
    presence = f"has(self.{name}) == has(oldSelf.{name})"
    return held and (always_there or any(rule["rule"] == presence for rule in spec.get("x-kubernetes-validations", ())))


def test_everything_in_a_job_but_five_fields_is_immutable() -> None:
    spec = kind_schema(FederatedJob)["properties"]["spec"]
    participants = spec["properties"]["participants"]

    free = {name for name in spec["properties"] if not is_held(spec, name)}

    assert free == MUTABLE | {"participants"}
    assert {name for name in participants["properties"] if not is_held(participants, name)} == {"assemblyBackoffLimit"}


def test_data_sets_are_never_compared_as_a_list_map() -> None:
    """`==` on it mixes elements up, since `namespace` is a reserved word of CEL."""
    spec = kind_schema(FederatedJob)["properties"]["spec"]["properties"]["participants"]

    holding = [
        rule["rule"] for _, schema in walk(spec) for rule in schema.get("x-kubernetes-validations", ()) if "datasets" in rule["message"]
    ]

    assert holding
    assert "self == oldSelf" not in holding


def test_data_sets_are_unique_by_namespace_and_name() -> None:
    datasets = kind_schema(FederatedJob)["properties"]["spec"]["properties"]["participants"]["properties"]["datasets"]

    assert (datasets["x-kubernetes-list-map-keys"], datasets["maxItems"]) == (["namespace", "name"], 1000)


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda definition: definition.plural)
def test_the_committed_crds_are_fresh(definition: Definition) -> None:
    copies = [folder / definition.file for folder in (ROOT / "crds", ROOT / "charts" / "coterie" / "files" / "crds") if folder.is_dir()]

    assert ROOT / "crds" / definition.file in copies
    assert {path.name: path.read_text() for path in copies} == {definition.file: render(definition)}, "run `make crds`"


def test_a_changed_type_would_make_the_committed_crds_stale(tmp_path: Path) -> None:
    definition = Definition(FederatedJob, "federatedjobs", "fjob", ())

    assert main([str(tmp_path)]) == 0
    assert render(definition) != (tmp_path / definition.file).read_text()


def test_kubectl_shows_the_state_and_never_the_last_condition() -> None:
    version = definition_object(DEFINITIONS[0])["spec"]["versions"][0]
    columns = {column["name"]: column for column in version["additionalPrinterColumns"]}

    assert [name for name, column in columns.items() if not column.get("priority")] == [
        "State",
        "Round",
        "Survivors",
        "Accuracy",
        "Epsilon",
        "Age",
    ]
    assert columns["State"]["jsonPath"] == ".status.state"
    assert all(column["description"] for column in columns.values())
    assert not [column for column in columns.values() if "conditions" in column["jsonPath"]]


def test_the_status_is_a_subresource_and_the_short_names_are_those_of_the_design() -> None:
    specs = [definition_object(definition)["spec"] for definition in DEFINITIONS]

    assert [spec["names"]["shortNames"] for spec in specs] == [["fjob"], ["fds"]]
    assert all(version["subresources"] == {"status": {}} for spec in specs for version in spec["versions"])


def test_a_crd_is_far_below_what_etcd_and_an_annotation_hold() -> None:
    assert all(len(json.dumps(definition_object(definition))) < 128 * 1024 for definition in DEFINITIONS)


# --- the schema as an oracle of the parser ---


def defaulted(schema: Schema, obj: Any) -> Any:
    """Nulls pruned and defaults filled in as the API server does it (structural pruning and defaulting, from the outside in)."""
    if isinstance(obj, list):
        return [defaulted(schema.get("items", {}), item) for item in obj]
    if not isinstance(obj, dict) or "properties" not in schema:
        return obj
    kept = {name: value for name, value in obj.items() if value is not None and name in schema["properties"]}
    filled = {name: inner["default"] for name, inner in schema["properties"].items() if "default" in inner and name not in kept}
    return {name: defaulted(schema["properties"][name], value) for name, value in (kept | filled).items()}


def values(schema: Schema) -> st.SearchStrategy[Any]:
    """Values that a schema admits."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "x-kubernetes-int-or-string" in schema:
        return st.integers(0, 9) | st.sampled_from(["1", "500m", "4Gi", "1.5"])
    if "properties" in schema:
        needed = {name: values(inner) for name, inner in schema["properties"].items() if name in schema.get("required", ())}
        optional = {name: values(inner) for name, inner in schema["properties"].items() if name not in needed}
        return st.fixed_dictionaries(needed, optional=optional)
    return SCALARS[schema.get("type", "free")](schema)


@cache
def strategy_of(cls: type) -> st.SearchStrategy[Any]:
    return values(object_schema(cls))


@cache
def matches(pattern: str) -> st.SearchStrategy[str]:
    return st.from_regex(pattern, fullmatch=True).filter(lambda value: "\n" not in value)


def texts(schema: Schema) -> st.SearchStrategy[str]:
    text = matches(schema["pattern"]) if "pattern" in schema else st.text(max_size=9)
    return text.filter(lambda value: schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 10**6))


def numbers(schema: Schema) -> st.SearchStrategy[float]:
    return st.floats(
        schema.get("minimum"),
        schema.get("maximum"),
        exclude_min=schema.get("exclusiveMinimum", False),
        exclude_max=schema.get("exclusiveMaximum", False),
        allow_nan=False,
        allow_infinity=False,
    ).filter(lambda value: abs(value) < 1e300)


FREE = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=4,
)
SCALARS: dict[str, Callable[[Schema], st.SearchStrategy[Any]]] = {
    "string": texts,
    "integer": lambda schema: st.integers(schema.get("minimum", -9), min(schema.get("maximum", 2**53), 2**53)),
    "number": numbers,
    "boolean": lambda _: st.booleans(),
    "array": lambda schema: st.lists(values(schema["items"]), min_size=schema.get("minItems", 0), max_size=min(3, schema["maxItems"])),
    "object": lambda schema: st.dictionaries(st.text(max_size=5), values(schema["additionalProperties"]), max_size=2),
    "free": lambda _: FREE,
}


def read(cls: type, obj: Any) -> tuple[Any, tuple[FieldError, ...]]:
    """The value, or the errors."""
    try:
        return parse(cls, obj, ""), ()
    except InvalidObject as error:
        return None, error.errors


def obeys_rules(errors: tuple[Any, ...]) -> bool:
    """Whether errors are only those that a schema can't see: rules over several fields, and repetition in lists."""
    messages = {rule.message for klass in CLASSES for rule in rules(klass)}
    return all(error.allowed in messages or error.allowed.startswith("no two elements") for error in errors)


def classes_of(cls: type) -> Iterator[type]:
    yield cls
    for entry in entries(cls):
        for node in (entry.node, entry.node.item):
            if node is not None and node.kind.value == "object" and node.cls is not None:
                yield from classes_of(node.cls)


CLASSES = {klass for cls in KINDS for klass in classes_of(cls)}
PARTS = sorted(CLASSES - set(KINDS) - {ObjectMeta}, key=lambda cls: cls.__name__)


@pytest.mark.parametrize("cls", PARTS, ids=lambda cls: cls.__name__)
@given(data=st.data())
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_parser_reads_whatever_the_schema_admits_unless_a_rule_forbids_it(cls: type, data: st.DataObject) -> None:
    schema = object_schema(cls)

    value, errors = read(cls, data.draw(strategy_of(cls)))

    assert obeys_rules(errors)
    if value is not None:
        assert parse(cls, json.loads(json.dumps(dump(value))), "") == value
        assert canonical(parse(cls, json.loads(canonical(value)), "")) == canonical(value)
        assert jsonschema.Draft4Validator(schema).is_valid(dump(value))


MINIMAL: dict[type, Schema] = {
    FederatedJob: {
        "rounds": 3,
        "task": {"entrypoint": "digits:Digits"},
        "participants": {"datasets": [{"namespace": "a", "name": "x"}, {"namespace": "b", "name": "x"}, {"namespace": "c", "name": "x"}]},
        "privacy": {"mode": "None"},
        "initialModel": None,
    },
    FederatedDataset: {"source": {"configMap": {"name": "x"}}, "identity": {"publicKey": "A" * 43 + "="}},
}


@pytest.mark.parametrize("cls", KINDS)
def test_defaults_offline_are_those_of_the_api_server(cls: type) -> None:
    schema = kind_schema(cls)["properties"]["spec"]
    obj = {"metadata": {"name": "a"}, "spec": MINIMAL[cls]}

    assert dump(parse(cls, obj, ""))["spec"] == defaulted(schema, MINIMAL[cls])


@pytest.mark.parametrize("cls", KINDS)
def test_the_full_object_is_the_same_before_and_after_the_api_server(cls: type, manifest: Manifest) -> None:
    obj = manifest(cls.__name__)

    stored = obj | {"spec": defaulted(kind_schema(cls)["properties"]["spec"], obj["spec"])}

    assert parse(cls, stored, "") == parse(cls, obj, "")
