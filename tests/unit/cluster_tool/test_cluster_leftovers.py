from __future__ import annotations

from pathlib import Path

import pytest
from tests.cluster.leftovers import is_shim_of, mounts

SOCKET = "/var/lib/coterie-cluster/containerd/containerd.sock"
SHIM = ["/cache/bin/containerd-shim-runc-v2", "-namespace", "k8s.io", "-address", SOCKET, ""]
MOUNTINFO = r"""1 0 8:1 / / rw - ext4 /dev/sda rw
2 1 8:1 /c /c rw shared:1 - ext4 /dev/sda rw
3 2 0:5 / /c/state/a\040b rw shared:1 - overlay overlay rw
4 1 0:6 / /c2 rw - tmpfs tmpfs rw
5 3 0:7 / /c/state/a\040b/proc rw - proc proc rw
"""


def test_mounts_at_and_below_a_folder_are_found_the_last_first() -> None:
    assert mounts(Path("/c"), MOUNTINFO) == ["/c/state/a b/proc", "/c/state/a b", "/c"]


def test_a_folder_whose_name_begins_alike_is_another() -> None:
    assert "/c2" not in mounts(Path("/c"), MOUNTINFO)
    assert mounts(Path("/c/stat"), MOUNTINFO) == []


def test_a_shim_is_told_by_the_socket_that_it_serves() -> None:
    assert is_shim_of(SHIM, SOCKET)


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param([], id="a kernel thread has no arguments"),
        pytest.param(["/usr/bin/containerd-shim-runc-v2", "-address", "/run/containerd/containerd.sock"], id="another containerd's shim"),
        pytest.param(["/usr/bin/tail", "-f", SOCKET], id="a program that names the socket"),
    ],
)
def test_no_other_process_is_taken_for_a_shim(arguments: list[str]) -> None:
    assert not is_shim_of(arguments, SOCKET)
