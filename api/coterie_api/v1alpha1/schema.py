"""OpenAPI v3 structural schemas of the kinds, made from what their dataclasses say (`shape`)."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, cast

from coterie_api.fields import dump
from coterie_api.shape import Entry, Kind, Node, Rule, entries, rules

if TYPE_CHECKING:
    from collections.abc import Callable

Schema = dict[str, Any]
INT_OR_STRING: Final[Schema] = {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]}
UNDESCRIBED: Final = ("apiVersion", "kind", "metadata")  # the API server has its own words and rules for these


def kind_schema(cls: type) -> Schema:
    """Return the structural schema of a kind: the class's own sentence, spec and status described throughout."""
    schema = object_schema(cls)
    schema["properties"] = {
        "apiVersion": {"type": "string", "description": "Version of the API: coterie.dev/v1alpha1."},
        "kind": {"type": "string", "description": f"{cls.__name__}."},
        "metadata": {"type": "object"},
        **{key: value for key, value in schema["properties"].items() if key not in UNDESCRIBED},
    }
    schema["required"] = ["spec"]
    schema["properties"]["status"].pop("default", None)
    return schema


def object_schema(cls: type, description: str = "") -> Schema:
    """Return the schema of a dataclass."""
    fields = entries(cls)
    schema: Schema = {"type": "object", "description": description or sentence_of(cls)}
    schema["properties"] = {entry.key: _property(entry) for entry in fields}
    required = [entry.key for entry in fields if entry.required]
    validations = [_validation(rule) for rule in rules(cls)] + [_presence(entry) for entry in fields if _may_appear(entry)]
    return schema | ({"required": required} if required else {}) | ({"x-kubernetes-validations": validations} if validations else {})


def sentence_of(cls: type) -> str:
    """Return the first line of a class's docstring."""
    return (cls.__doc__ or "").strip().splitlines()[0]


def node_schema(node: Node) -> Schema:
    """Return the schema of one value."""
    schema = WRITERS[node.kind](node)
    return ({"description": node.about.text} if node.about.text else {}) | schema


def _property(entry: Entry) -> Schema:
    schema = node_schema(entry.node)
    if not entry.required and (default := _default(entry)) is not None:
        schema["default"] = default
    if entry.node.about.immutable:
        rule = {"rule": entry.node.about.unchanged, "message": f"{entry.key} can't be changed", "reason": "FieldValueForbidden"}
        schema["x-kubernetes-validations"] = [*schema.get("x-kubernetes-validations", ()), rule]
    return schema


def _default(entry: Entry) -> Any:
    """What the API server fills in; None for nothing. An object is filled from inside, by the defaults of its own fields."""
    if entry.default in (None, "", (), {}):
        return None
    if entry.node.kind is Kind.OBJECT:
        return {} if dump(entry.default) else None
    return str(entry.default) if isinstance(entry.default, StrEnum) else entry.default


def _may_appear(entry: Entry) -> bool:
    """Whether `self == oldSelf` alone would miss a change: CEL skips it when the field comes or goes."""
    return entry.node.about.immutable and not entry.required and _default(entry) is None


def _presence(entry: Entry) -> Schema:
    return {
        "rule": f"has(self.{entry.key}) == has(oldSelf.{entry.key})",
        "message": f"{entry.key} can't be added or removed",
        "fieldPath": f".{entry.key}",
        "reason": "FieldValueForbidden",
    }


def _validation(rule: Rule) -> Schema:
    if rule.field.startswith("metadata"):  # CEL may read the name but not point at it
        return {"rule": rule.cel, "message": f"{rule.field}: allowed: {rule.message}"}
    path = {"fieldPath": f".{rule.field}"} if rule.field else {}
    return {"rule": rule.cel, "message": f"allowed: {rule.message}"} | path


def _bounds(node: Node, **names: str) -> Schema:
    """Return the bounds that are set, under their OpenAPI names."""
    values = {openapi: getattr(node.about, ours) for ours, openapi in names.items()}
    return {key: value for key, value in values.items() if value is not None}


def _write_string(node: Node) -> Schema:
    head = INT_OR_STRING if node.about.int_or_string else {"type": "string"}
    return dict(head) | _bounds(node, format="format", pattern="pattern", min_length="minLength", max_length="maxLength")


def _write_number(node: Node) -> Schema:
    is_whole = node.kind is Kind.INTEGER
    schema: Schema = {"type": node.kind.value, "format": "int64" if is_whole else "double"}
    schema |= _bounds(node, minimum="minimum", maximum="maximum")
    if node.about.above is not None:
        schema |= {"minimum": node.about.above, "exclusiveMinimum": True}
    if node.about.below is not None:
        schema |= {"maximum": node.about.below, "exclusiveMaximum": True}
    return schema


def _write_boolean(_: Node) -> Schema:
    return {"type": "boolean"}


def _write_enum(node: Node) -> Schema:
    return {"type": "string", "enum": [str(member) for member in cast(type[StrEnum], node.cls)]}


def _write_list(node: Node) -> Schema:
    about = node.about
    how = "map" if about.keys else "set" if about.unique else "atomic"
    keys = {"x-kubernetes-list-map-keys": list(about.keys)} if about.keys else {}
    items = node_schema(cast(Node, node.item))
    return (
        {"type": "array", "items": items, "x-kubernetes-list-type": how} | keys | _bounds(node, min_items="minItems", max_items="maxItems")
    )


def _write_map(node: Node) -> Schema:
    return {"type": "object", "additionalProperties": node_schema(cast(Node, node.item))} | _bounds(node, max_properties="maxProperties")


def _write_free(node: Node) -> Schema:
    """Any JSON value by name. Each value, not the whole object, is free: else CEL's equality would miss a renamed key (seen in 1.37)."""
    return {"type": "object", "additionalProperties": {"x-kubernetes-preserve-unknown-fields": True}} | _bounds(
        node, max_properties="maxProperties"
    )


def _write_object(node: Node) -> Schema:
    return object_schema(cast(type, node.cls), node.about.text)


WRITERS: Final[dict[Kind, Callable[[Node], Schema]]] = {
    Kind.STRING: _write_string,
    Kind.INTEGER: _write_number,
    Kind.NUMBER: _write_number,
    Kind.BOOLEAN: _write_boolean,
    Kind.ENUM: _write_enum,
    Kind.LIST: _write_list,
    Kind.MAP: _write_map,
    Kind.FREE: _write_free,
    Kind.OBJECT: _write_object,
}
