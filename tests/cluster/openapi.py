"""Schemas for kubeconform, from the description that a running API server gives of itself: its own kinds and every installed definition."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

# How kubeconform names a kind's file, with its own words for group and version.
LOCATION: Final = "{{.ResourceKind}}{{.KindSuffix}}.json"
DEFINITIONS: Final = "_definitions.json"
QUANTITY: Final = "io.k8s.apimachinery.pkg.api.resource.Quantity"

Schema = dict[str, Any]


def write_schemas(document: Schema, folder: Path) -> set[str]:
    """Write a strict schema of each kind of an OpenAPI v2 document into `folder`; return the names of the files.

    Strict: an object whose fields are known refuses others, as `kubectl --validate=strict` does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    definitions = {name: _strict(schema) for name, schema in document["definitions"].items()}
    definitions[QUANTITY]["type"] = ["string", "number"]
    (folder / DEFINITIONS).write_text(json.dumps({"definitions": definitions}))
    files = {_file(kind): name for name, schema in definitions.items() for kind in schema.get("x-kubernetes-group-version-kind", [])}
    for file, name in files.items():
        (folder / file).write_text(json.dumps({"$ref": f"{DEFINITIONS}#/definitions/{name}"}))
    return set(files)


def _file(kind: dict[str, str]) -> str:
    group = kind["group"].partition(".")[0]
    return f"{kind['kind'].lower()}-{group + '-' if group else ''}{kind['version']}.json"


def _strict(schema: Schema) -> Schema:
    found = copy.deepcopy(schema)
    _tighten(found)
    return found


def _tighten(schema: Schema) -> None:
    if schema.get("format") == "int-or-string":
        schema["type"] = ["string", "integer"]
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        schema.setdefault("additionalProperties", False)
    children = [*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")]
    for child in children:
        if isinstance(child, dict):
            _tighten(child)
