"""What a user does, with kubectl alone, from `apply` to `delete`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from tests.cluster.processes import wait_until
from tests.controlplane.scenario import JOBS, TENANTS, enroll, inventory, of_people

if TYPE_CHECKING:
    from tests.cluster.controlplane import ControlPlane
    from tests.cluster.replica import Replica


def enroll_as_the_readme_says(plane: ControlPlane, tenant: str, folder: Path) -> None:
    """Make the key pair with `coterie keygen`: one half into a Secret, the other into the data set."""
    secret = folder / "secret.json"
    command: list[str | Path] = [Path(sys.executable).with_name("coterie"), "keygen", "--namespace", tenant, "--secret", secret]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    plane.kubectl("apply", "-f", str(secret))
    plane.kubectl("patch", "fds", "digits", "-n", tenant, "--type=merge", "-p", json.dumps({"spec": yaml.safe_load(said)}))


def test_digits_from_apply_to_delete(plane: ControlPlane, operator: Replica, digits: Path, tmp_path: Path) -> None:
    before = inventory(plane)
    plane.kubectl("apply", "-f", str(digits))
    enroll_as_the_readme_says(plane, TENANTS[0], tmp_path)
    for tenant in TENANTS[1:]:
        enroll(plane, tenant)
    plane.kubectl("wait", "--for=condition=Succeeded", "fjob/digits", "-n", JOBS, "--timeout=180s")
    line = plane.kubectl("get", "fjob", "digits", "-n", JOBS).splitlines()[1].split()
    described = plane.kubectl("describe", "fjob", "digits", "-n", JOBS)
    status = plane.get("fjob", "digits", "-n", JOBS)["status"]

    assert line[:3] == ["digits", "Succeeded", "20"]
    assert status["accuracy"] >= 0.95
    assert status["survivors"] >= 4
    assert {each["type"]: each["status"] for each in status["conditions"]}["Failed"] == "False"
    assert "Type:                  Succeeded" in described
    for tenant in TENANTS:
        wait_until(
            lambda at=tenant: plane.kubectl("get", "fds", "-n", at).splitlines()[1].split()[1:3] == ["True", "0"], "its owner reads that"
        )

    plane.kubectl("delete", "fjob", "digits", "-n", JOBS, "--timeout=60s")
    wait_until(lambda: inventory(plane) == before | of_people(), "nothing is left but what people brought", every_seconds=1)
