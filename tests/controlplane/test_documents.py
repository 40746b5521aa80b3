"""What the pages tell people to type, typed against a real API server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import pytest
from tests.cluster import binaries, chart
from tests.cluster.controlplane import control_plane
from tests.cluster.processes import wait_until
from tests.controlplane import scenario
from tests.controlplane.reader import Reader
from tests.docs.blocks import REPOSITORY, blocks
from tests.docs.checks import Desk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cluster.controlplane import ControlPlane
    from tests.cluster.replica import Replica


OF_THE_RELEASE: Final = "deployments,rolebindings,roles,clusterroles,clusterrolebindings,validatingadmissionpolicies"


@pytest.fixture
def desk(plane: ControlPlane, tmp_path: Path) -> Iterator[Desk]:
    """A reader's desk; what was applied from it is gone in the end, and the tenants have keys of their own again."""
    desk = Desk.prepare(tmp_path)
    yield desk
    written = sorted({*tmp_path.glob("*.[yj]*"), *tmp_path.glob("biopsies/*.yaml"), *tmp_path.glob("keys/*.json")})
    for path in (path for path in written if "kind" in path.read_text()):  # others are no objects: a policy to pin
        plane.kubectl("delete", "--ignore-not-found", "--wait=false", "-f", str(path))
    for tenant in scenario.TENANTS:
        if plane.try_kubectl("get", "fds", "digits", "-n", tenant).returncode == 0:
            scenario.enroll(plane, tenant)


def test_a_data_scientist_gets_a_model(plane: ControlPlane, operator: Replica, desk: Desk) -> None:
    reader = Reader(plane, desk)
    reader.prepare()

    reader.follow("docs/data-scientist.md")

    shown = next(block for block in blocks(REPOSITORY / "docs/data-scientist.md") if block.text.startswith("NAME "))
    model = plane.folder / "node" / "claims" / "research" / "models" / "biopsies" / "model.safetensors"
    assert shown.text.splitlines()[0].split() == next(line for line in reader.said.splitlines() if line.startswith("NAME ")).split()
    assert model.stat().st_size > 1000
    assert len(reader.skipped) == 2, "images, and the pod that fetches the model"


def test_a_data_owner_gets_ready_and_takes_it_back(plane: ControlPlane, operator: Replica, desk: Desk) -> None:
    reader = Reader(plane, desk)

    reader.follow("docs/data-owner.md")

    assert plane.get("fds", "biopsies", "-n", "hospital-a")["spec"]["grants"] == []
    assert len(reader.skipped) == 2, "the pods that fill a claim and check it"


def test_an_administrator_and_an_owner_make_a_namespace_ready(plane: ControlPlane, operator: Replica, desk: Desk) -> None:
    reader = Reader(plane, desk)
    as_owner = ("--as=ann", "--as-group=hospital-g-owners")
    for block in blocks(REPOSITORY / "docs/tenants.md"):
        if "kubectl apply -f opt-in.yaml" in block.text:
            typed = plane.try_kubectl("apply", "-f", str(desk.folder / "opt-in.yaml"), *as_owner)
            assert typed.returncode == 0, f"the page says that the owner may, too: {typed.stderr}"
        reader.step(block)

    assert reader.skipped == []
    assert plane.get("fds", "scans", "-n", "hospital-g")["spec"]["identity"]["secretName"] == "coterie-identity"
    account = "--as=system:serviceaccount:coterie-system:coterie"
    assert plane.try_kubectl("auth", "can-i", "get", "secrets", "-n", "hospital-g", account).stdout.strip() == "no"


def make_the_authority(plane: ControlPlane) -> None:
    """Make the Secret that the operator makes at its first start, owned by its account."""
    account = plane.get("serviceaccount", chart.SERVICE_ACCOUNT, "-n", chart.NAMESPACE)["metadata"]
    owner = {"apiVersion": "v1", "kind": "ServiceAccount", "name": account["name"], "uid": account["uid"]}
    metadata = {"name": "coterie-ca", "namespace": chart.NAMESPACE, "ownerReferences": [owner]}
    plane.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": metadata}))


@pytest.fixture
def new_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A cluster in which nobody has installed anything."""
    try:
        with control_plane(tmp_path_factory.mktemp("new")) as plane:
            yield plane
    except binaries.BinariesUnavailableError as error:
        pytest.skip(f"no control plane: {error}")


def test_an_administrator_installs_upgrades_and_removes(new_plane: ControlPlane, tmp_path: Path) -> None:
    (tmp_path / "desk").mkdir()
    desk = Desk.prepare(tmp_path / "desk")
    (desk.folder / "charts").symlink_to(REPOSITORY / "charts")
    reader = Reader(new_plane, desk)
    for block in blocks(REPOSITORY / "docs/install.md"):
        reader.step(block)
        if "helm upgrade --install" in block.text:
            make_the_authority(new_plane)
            # The page's next step waits for the operator, which isn't here; a new kind is discovered some moments after it is established.
            wait_until(lambda: new_plane.try_kubectl("explain", "fjob.spec").returncode == 0, "the new kinds are discovered")
        if "helm uninstall" in block.text:
            assert "federatedjobs.coterie.dev" in new_plane.kubectl("get", "crd", "-o", "name")
            wait_until(lambda: "coterie" not in new_plane.kubectl("get", OF_THE_RELEASE, "-A", "-o", "name"), "the release is gone")
            wait_until(lambda: "coterie-ca" not in new_plane.kubectl("get", "secrets", "-A", "-o", "name"), "so is the authority")

    assert "coterie.dev" not in new_plane.kubectl("get", "crd", "-o", "name")
    assert [block.words for block in reader.skipped] == [("sh",), ("sh", "node"), ("sh", "node")], "images, and pods that run"
