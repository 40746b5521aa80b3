from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.cluster.audit import Request, requests

if TYPE_CHECKING:
    from pathlib import Path


def line(verb: str, resource: str, **more: Any) -> bytes:
    event = {"user": {"username": "operator"}, "verb": verb, "objectRef": {"resource": resource, "namespace": "n", "name": "x", **more}}
    return json.dumps({**event, "responseStatus": {"code": 200}}).encode() + b"\n"


def test_a_request_is_read_with_its_subresource(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    log.write_bytes(line("patch", "federatedjobs", subresource="status"))

    assert requests(log) == [Request("operator", "patch", "federatedjobs/status", "n", "x", 200)]


def test_a_request_without_object_is_read_too(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    log.write_bytes(b'{"user": {"username": "admin"}, "verb": "get"}\n')

    assert requests(log) == [Request("admin", "get", "", "", "", 0)]


def test_counting_begins_where_it_is_told_and_ends_with_the_last_whole_line(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    first = line("create", "pods")
    log.write_bytes(first + line("delete", "pods") + line("get", "pods")[:-5])

    assert [each.verb for each in requests(log, len(first))] == ["delete"]


@pytest.mark.parametrize(
    ("verb", "resource", "is_write"),
    [
        ("create", "pods", True),
        ("patch", "federatedjobs/status", True),
        ("deletecollection", "secrets", True),
        ("get", "pods", False),
        ("watch", "pods", False),
        ("create", "subjectaccessreviews", False),
        ("create", "serviceaccounts/token", False),
    ],
)
def test_only_what_changes_something_is_a_write(verb: str, resource: str, is_write: bool) -> None:
    assert Request("operator", verb, resource, "n", "x", 200).is_write is is_write
