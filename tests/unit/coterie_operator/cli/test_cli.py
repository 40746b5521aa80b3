from __future__ import annotations

import base64
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from tests.local.workspaces import TENANTS, dataset, job, write

from coterie_api.pinned import pinned
from coterie_api.podconfig import TenantPolicy
from coterie_operator.cli import main

if TYPE_CHECKING:
    from pathlib import Path


def coterie(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_command_line_loads_neither_torch_nor_grpc() -> None:
    program = (
        "import sys, coterie_operator.cli; print([name for name in ('torch', 'grpc', 'kopf', 'kubernetes', 'rich') if name in sys.modules])"
    )

    assert subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.strip() == "[]"


def test_the_version_is_told() -> None:
    assert coterie("--version").output.startswith("coterie, version ")


def test_valid_manifests_are_counted(tmp_path: Path) -> None:
    pair = "A" * 42 + "A="
    done = coterie("validate", write(tmp_path, job(), *(dataset(tenant, identity={"publicKey": pair}) for tenant in TENANTS)))

    assert (done.exit_code, "valid: 1 FederatedJob, 3 FederatedDataset" in done.output) == (0, True)


def test_invalid_manifests_are_told_field_by_field(tmp_path: Path) -> None:
    done = coterie("validate", write(tmp_path, job(rounds=0, seed="x"), *map(dataset, TENANTS)))

    assert done.exit_code == 2
    assert "spec.rounds: found 0" in done.output
    assert "spec.seed" in done.output


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_folder_without_manifests_is_not_called_valid(tmp_path: Path, form: str) -> None:
    (tmp_path / "digits.yaml.template").write_text("kind: FederatedJob")
    done = coterie("validate", "--output", form, tmp_path)

    assert (done.exit_code, "valid:" in done.output) == (2, False)
    assert "none of this API" in done.output
    assert str(tmp_path) in done.output


def test_a_machine_can_read_what_is_wrong(tmp_path: Path) -> None:
    done = coterie("validate", "--output", "json", write(tmp_path, job(rounds=0), *map(dataset, TENANTS)))
    [error] = json.loads(done.output)["errors"]

    assert done.exit_code == 2
    assert (error["field"], error["found"], error["object"]) == ("spec.rounds", "0", "FederatedJob research/line")


def test_a_key_pair_belongs_together_and_its_private_half_is_private(tmp_path: Path) -> None:
    done = coterie("keygen", "--namespace", "red", "--secret", tmp_path / "s.json", "--pem", tmp_path / "k.pem")
    secret = json.loads((tmp_path / "s.json").read_text())
    pem = (tmp_path / "k.pem").read_bytes()
    public = load_pem_private_key(pem, None).public_key().public_bytes_raw()

    assert done.exit_code == 0
    assert f"publicKey: {base64.b64encode(public).decode()}" in done.output
    assert (secret["metadata"]["namespace"], base64.b64decode(secret["data"]["private.pem"])) == ("red", pem)
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in ("s.json", "k.pem")} == {0o600}
    assert "PRIVATE" not in done.output


def test_a_policy_is_pinned_in_the_file_of_the_key(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("minClients: 4\nmembers: {red: AAAA}\n")
    done = coterie("keygen", "--policy", tmp_path / "policy.yaml", "--secret", tmp_path / "s.json")
    content = base64.b64decode(json.loads((tmp_path / "s.json").read_text())["data"]["private.pem"])

    assert done.exit_code == 0
    assert pinned(content) == TenantPolicy(min_clients=4, members={"red": "AAAA"})
    assert load_pem_private_key(content, None)


@pytest.mark.parametrize(("text", "says"), [("minClient: 4", "minClient"), ("clip: -1", "clip"), ("[", "not YAML"), ("", "policy.yaml")])
def test_a_policy_that_says_nothing_or_nonsense_makes_no_key(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "policy.yaml").write_text(text)
    done = coterie("keygen", "--policy", tmp_path / "policy.yaml", "--pem", tmp_path / "k.pem")

    assert (done.exit_code, says in done.output) == (2, True)
    assert not (tmp_path / "k.pem").exists()


def test_a_private_key_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "k.pem").write_text("mine")
    done = coterie("keygen", "--pem", tmp_path / "k.pem")

    assert done.exit_code == 2
    assert (tmp_path / "k.pem").read_text() == "mine"


def test_a_private_key_never_goes_to_the_screen() -> None:
    done = coterie("keygen")

    assert done.exit_code == 2
    assert "PRIVATE KEY-----" not in done.output


@pytest.mark.parametrize("pair", ["red", "red=x", "=x", "red/data", "red/data=", "a/b/c=x"])
def test_data_that_is_not_a_name_and_a_folder_is_bad_input(tmp_path: Path, pair: str) -> None:
    done = coterie("run", write(tmp_path / "w"), "--output", tmp_path / "out", "--data", pair)

    assert (done.exit_code, "NAMESPACE/NAME=FOLDER" in done.output) == (2, True)
    assert not (tmp_path / "out").exists()


def test_a_run_of_bad_manifests_is_bad_input_and_makes_no_folder(tmp_path: Path) -> None:
    done = coterie("run", write(tmp_path / "w", job(rounds=0), *map(dataset, TENANTS)), "--output", tmp_path / "out")

    assert done.exit_code == 2
    assert "spec.rounds" in done.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("parameters", ["[]", "{", "3"])
def test_parameters_that_are_no_object_are_bad_input(tmp_path: Path, parameters: str) -> None:
    done = coterie("check-data", "line_task:Line", tmp_path, "--parameters", parameters)

    assert (done.exit_code, "must be a JSON object" in done.output) == (2, True)


def test_an_operator_with_an_unknown_setting_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COTERIE_NONSENSE", "1")
    done = coterie("operator")

    assert done.exit_code == 2
    assert "COTERIE_NONSENSE" in done.output
