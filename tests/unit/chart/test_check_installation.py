"""What `helm test` finds, and what it says of it."""

from __future__ import annotations

import copy
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from coterie_api.v1alpha1.crds import DEFINITIONS, definition_object

if TYPE_CHECKING:
    from types import ModuleType

FILE = Path(__file__).parents[3] / "charts" / "coterie" / "files" / "check_installation.py"


@pytest.fixture
def check() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_installation", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def served() -> dict[str, Any]:
    """What an API server with this version's definitions says of itself."""
    schemas = {}
    for manifest in map(definition_object, DEFINITIONS):
        kind, version = manifest["spec"]["names"]["kind"], manifest["spec"]["versions"][0]
        named = [{"group": "coterie.dev", "version": version["name"], "kind": kind}]
        schemas[kind] = copy.deepcopy(version["schema"]["openAPIV3Schema"]) | {"x-kubernetes-group-version-kind": named}
    return {"components": {"schemas": schemas}}


def resources(*names: str) -> dict[str, Any]:
    return {"resources": [{"name": name} for name in names]}


def test_kinds_that_are_served_are_enough(check: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "ask_cluster", lambda _path: resources(*(each.plural for each in DEFINITIONS), "more"))

    check.kinds_are_served()


def test_a_kind_that_is_missing_is_named(check: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "ask_cluster", lambda _path: resources("federatedjobs"))

    with pytest.raises(check.MissingError, match=r"no federateddatasets of coterie\.dev/v1alpha1: install the definitions"):
        check.kinds_are_served()


def test_definitions_of_this_version_are_current(check: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "ask_cluster", lambda _path: served())

    check.definitions_are_current()


@pytest.mark.parametrize(
    ("kind", "path"), [("FederatedJob", ["rounds"]), ("FederatedJob", ["training", "localEpochs"]), ("FederatedDataset", ["grants"])]
)
def test_a_definition_of_an_older_version_is_named_with_the_field(
    check: ModuleType, monkeypatch: pytest.MonkeyPatch, kind: str, path: list[str]
) -> None:
    old = served()
    place = old["components"]["schemas"][kind]["properties"]["spec"]["properties"]
    for part in path[:-1]:
        place = place[part]["properties"]
    del place[path[-1]]
    monkeypatch.setattr(check, "ask_cluster", lambda _path: old)

    with pytest.raises(check.MissingError, match=rf"{kind}: .* has no spec\.{'.'.join(path)}"):
        check.definitions_are_current()


def test_it_is_tried_until_it_passes_and_not_for_ever(check: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([OSError("refused"), check.MissingError("not yet"), None])
    now = iter([0.0, 1.0])
    monkeypatch.setattr(check.time, "sleep", lambda _seconds: None)
    monkeypatch.setattr(check.time, "monotonic", lambda: next(now))

    def trying() -> None:
        if (answer := next(answers)) is not None:
            raise answer

    assert check.insist(trying, until=5.0) == ""
    monkeypatch.setattr(check.time, "monotonic", lambda: 5.0)
    answers = iter([check.MissingError("still not")])
    assert check.insist(trying, until=5.0) == "MissingError: still not"
