"""Names are looked up in the pod's hosts file first; a model's hash names all that it depends on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from coterie_worker.transport import initial_hash, model_hash
from coterie_worker.transport.resolve import addresses, hosts_addresses

if TYPE_CHECKING:
    from pathlib import Path

HOSTS = "# a comment with a.svc\n127.0.0.1 localhost\n127.1.2.3\ta.svc a # b.svc\n\n::1 a.svc\nfe80::1%lo b.svc\n"
PARAMETERS = np.arange(5, dtype=np.float32)
HASH = model_hash(b"i" * 32, 3, PARAMETERS)


@pytest.fixture
def hosts(tmp_path: Path) -> Path:
    path = tmp_path / "hosts"
    path.write_text(HOSTS)
    return path


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.svc", ("127.1.2.3", "::1")), ("a", ("127.1.2.3",)), ("b.svc", ("fe80::1%lo",)), ("c.svc", ()), ("127.1.2.3", ()), ("#", ())],
)
def test_the_hosts_file_is_read_as_a_resolver_reads_it(hosts: Path, name: str, expected: tuple[str, ...]) -> None:
    assert hosts_addresses(hosts, name) == expected


async def test_the_hosts_file_is_read_anew_each_time(hosts: Path) -> None:
    assert await addresses(hosts, "a.svc", 1) == ("127.1.2.3", "::1")

    hosts.write_text("127.9.9.9 a.svc\n")

    assert await addresses(hosts, "a.svc", 1) == ("127.9.9.9",)


def test_an_absent_hosts_file_knows_nothing(tmp_path: Path) -> None:
    assert hosts_addresses(tmp_path / "absent", "a.svc") == ()


@pytest.mark.parametrize(
    "other",
    [
        model_hash(b"j" * 32, 3, PARAMETERS),
        model_hash(b"i" * 32, 4, PARAMETERS),
        model_hash(b"i" * 32, 3, PARAMETERS[::-1].copy()),
        model_hash(b"i" * 32, 3, PARAMETERS[:4].copy()),
    ],
    ids=["initial model", "version", "parameters", "length"],
)
def test_a_model_that_differs_in_anything_has_another_hash(other: bytes) -> None:
    assert other != HASH


def test_an_initial_model_that_differs_in_either_file_has_another_hash() -> None:
    one, two = np.frombuffer(b"layout", np.uint8), np.frombuffer(b"model", np.uint8)

    hashes = {initial_hash(one, two), initial_hash(two, one), initial_hash(one, one), initial_hash(two, two)}

    assert len(hashes) == 4
