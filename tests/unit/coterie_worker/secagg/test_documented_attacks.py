"""The tables of docs/secure-aggregation.md: every attack that must be refused is in them, and every test they name exists."""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest

from coterie_api.wire.v1 import rounds_pb2 as pb
from coterie_worker.secagg import errors
from coterie_worker.secagg.messages import Advert
from coterie_worker.secagg.transitions import CLIENT, GRAPH_CLIENT
from coterie_worker.transport import client as transport

FOLDER = Path(__file__).parent
REPOSITORY = FOLDER.parents[3]
PAGE = (REPOSITORY / "docs" / "secure-aggregation.md").read_text()
NAMED = re.findall(r"`(test_\w+\.py)::(\w+)`", PAGE)
ATTACKS = [
    "another model or header",
    "two survivor sets",
    "both shares of one peer",
    "unknown, duplicate or own id",
    "survivors below threshold",
    "participants below threshold",
    "forged key",
    "reused key",
    "reordered keys",
    "low-order key",
    "extra tenant",
    "swapped tenant",
    "header replayed",
    "model hash changed",
    "R1 signatures missing or over another header",
    "quorum of one neighborhood",
    "second unmask request",
    "reflected ciphertexts",
    "truncated and bit-flipped shares",
    "weaker than the tenant's policy",
    "weaker than the one that the tenant pinned",
    "tenants that an operator invented",
    "new update after restart",
    "second pod with the same state",
    "restarts between freezing and unmasking",
    "bad shares from a holder",
    "bad shares from a dealer",
    "proof of fraud about an honest dealer",
    "leave an honest client out as well",
    "dealer that spoils a sum",
    "equivocating adverts",
    "oversized or late vectors",
    "floods",
]


def rows(title: str) -> list[list[str]]:
    section = PAGE.split(title, 1)[1].split("\n## ", 1)[0]
    table = section.split("| --- | --- | --- |\n", 1)[1].split("\n\n", 1)[0]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()]


TABLE = rows("## 7. Attacks and their tests")
CHOSEN = rows("## 8. What the aggregator chooses")
FROM_AGGREGATOR = {*CLIENT, *GRAPH_CLIENT, Advert}


def test_every_field_that_an_aggregator_can_send_has_a_row_with_a_bound_and_a_test() -> None:
    frames = [pb.Challenge, pb.Welcome, pb.Control, pb.VectorBegin, pb.Chunk, pb.VectorEnd, pb.ShortVector, pb.Grant, pb.Finished]
    of_frames = {f"{frame.DESCRIPTOR.name}.{field.name}" for frame in frames for field in frame.DESCRIPTOR.fields}
    of_messages = {f"{kind.__name__}.{field.name}" for kind in FROM_AGGREGATOR for field in fields(kind)}
    listed = [name for row in CHOSEN for name in re.findall(r"`(\w+\.\w+)`", row[0])]

    assert set(listed) == of_frames | of_messages | {"Frame.ack", "Frame.sequence"}
    assert len(listed) == len(set(listed))
    assert all(len(row[1]) > 5 and re.search(r"`test_\w+\.py::\w+`", row[2]) for row in CHOSEN)


def test_no_other_frame_reaches_a_client() -> None:
    bodies = {field.name for field in pb.Frame.DESCRIPTOR.oneofs_by_name["body"].fields}

    assert bodies - transport.FROM_AGGREGATOR == {"hello", "challenge", "proof", "welcome", "grant", "drop"}


@cache
def path_of(file: str) -> Path:
    """Names of test files are unique in the repository."""
    (path,) = REPOSITORY.glob(f"tests/**/{file}")
    return path


@cache
def names_in(file: str) -> set[str]:
    tree = ast.parse(path_of(file).read_text())
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    return functions | {
        target.id for node in tree.body if isinstance(node, ast.Assign) for target in node.targets if isinstance(target, ast.Name)
    }


@pytest.mark.parametrize("attack", ATTACKS)
def test_every_attack_has_a_row_with_an_error_and_a_test(attack: str) -> None:
    found = [row for row in TABLE if attack in row[0]]

    assert len(found) == 1
    assert re.search(r"`\w+`", found[0][1])
    assert re.search(r"`test_\w+\.py::\w+`", found[0][2])


@pytest.mark.parametrize(("file", "name"), sorted(set(NAMED)))
def test_every_test_that_the_page_names_exists(file: str, name: str) -> None:
    assert name in names_in(file)


def test_every_file_that_the_page_names_exists() -> None:
    for file in set(re.findall(r"`(test_\w+\.py)`", PAGE)):
        assert path_of(file).is_file(), file


def test_every_error_of_a_peer_occurs_in_a_test() -> None:
    text = "".join(path.read_text() for path in FOLDER.glob("test_*.py"))
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.PeerProtocolError)]

    assert [kind.__name__ for kind in kinds if not re.search(rf"\b{kind.__name__}\b", text)] == []


def test_a_row_without_a_test_would_be_seen() -> None:
    assert len(TABLE) >= len(ATTACKS)
    assert "test_of_nothing" not in names_in("test_graph.py")
