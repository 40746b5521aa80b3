"""A policy that an owner pinned with `coterie keygen`, through Secret, volume and process, in a job that the operator admits."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from tests.local.workspaces import TENANTS, dataset, job, write

from coterie_operator.cli import main
from coterie_operator.local.run import run
from coterie_operator.local.screen import SilentScreen

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.local


def enrolled(folder: Path, tenant: str, policy: str) -> list[dict[str, Any]]:
    """What an owner applies who makes the key and pins the policy by hand: the Secret and the data set."""
    secret, file = folder / f"{tenant}.json", folder / f"{tenant}.yaml"
    file.write_text(policy)
    done = CliRunner().invoke(main, ["keygen", "--namespace", tenant, "--policy", str(file), "--secret", str(secret)])
    assert done.exit_code == 0, done.output
    found = re.search(r"publicKey: (\S+),", done.output)
    assert found is not None
    identity = {"publicKey": found[1], "secretName": "coterie-identity"}
    return [json.loads(secret.read_text()), dataset(tenant, identity=identity)]


@pytest.mark.parametrize(
    ("policy", "tenant", "reason"),
    [("minClients: 3", {"state": "Done"}, ""), ("{minClients: 3, ringBits: 32, clip: 10.0}", {"state": "Failed"}, "PolicyRefused")],
)
def test_a_client_holds_a_job_to_the_policy_in_its_key(tmp_path: Path, policy: str, tenant: dict[str, str], reason: str) -> None:
    others = [dataset(name) for name in TENANTS[1:]]
    workspace = write(tmp_path / "w", job(rounds=1), *enrolled(tmp_path, "red", policy), *others)

    result = run(workspace, output=tmp_path / "out", data={}, overwrite=False, metrics_port=0, screen=SilentScreen())

    status = json.loads((tmp_path / "out/result.json").read_text())["job"]["status"]
    red = next(entry for entry in status["tenants"] if entry["namespace"] == "red")
    assert (red["state"], red.get("reason", "")) == (tenant["state"], reason)
    assert result.has_succeeded is not bool(reason)
    if reason:
        log = "".join(path.read_text() for path in (tmp_path / "out/logs").rglob("*") if path.is_file() and "red" in str(path))
        assert "clip: 10922.7, the policy pinned beside the tenant's key allows 10" in log
