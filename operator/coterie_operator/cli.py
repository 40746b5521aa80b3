"""`coterie`: everything that a person types, and the operator's own process. A thin shell; each command calls one function.

Exit statuses: 0 done; 1 the job, the check or the operator failed; 2 bad input; 130 interrupted.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

if TYPE_CHECKING:
    from collections.abc import Iterable

OK, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130

# A process of its own: the operator's package knows nothing of the worker's, nor of torch.
CHECK: Final = (sys.executable, "-m", "coterie_worker", "check-data")

FOLDER: Final = click.Path(exists=True, file_okay=False, path_type=Path)
ANY_PATH: Final = click.Path(path_type=Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(importlib.metadata.version("coterie"), prog_name="coterie")
def main() -> None:
    """Federated training in which the aggregator learns only the sum of the updates."""


@main.command()
@click.argument("path", type=FOLDER)
@click.option("--output", type=ANY_PATH, help="Folder for model, history, result and report; out/<name of PATH> if not given.")
@click.option("--data", "pairs", multiple=True, metavar="NAMESPACE/NAME=FOLDER", help="Folder of a data set, in place of its claim's.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier run in the output folder.")
@click.option("--metrics-port", type=click.IntRange(0, 65535), default=0, help="Of /metrics on 127.0.0.1; 0 takes any free port.")
@click.option("--quiet", is_flag=True, help="Show nothing but errors.")
def run(path: Path, output: Path | None, pairs: tuple[str, ...], overwrite: bool, metrics_port: int, quiet: bool) -> None:
    """Run the job whose manifests are in PATH on this machine, with processes for pods.

    Exit status: 0 the job succeeded, 1 it failed, 2 bad input, 130 interrupted.
    """
    from coterie_operator.local.output import OutputFailed
    from coterie_operator.local.run import run as run_job
    from coterie_operator.local.screen import SilentScreen, open_screen
    from coterie_operator.local.workspace import BadInput

    output = output or Path("out") / path.resolve().name
    try:
        screen = SilentScreen() if quiet else open_screen()
        result = run_job(path, output=output, data=_folders(pairs), overwrite=overwrite, metrics_port=metrics_port, screen=screen)
    except BadInput as error:
        _fail(error.lines)
    except OutputFailed as error:
        _fail([str(error)], FAILED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    if not quiet:
        _say_result(result)
    if not result.has_succeeded:
        click.echo(f"coterie: {result.message or result.status.name.lower()}; logs: {output / 'logs'}", err=True)
    sys.exit(int(result.status))


def _say_result(result: Any) -> None:
    sums = result.totals
    best = "" if sums.best_accuracy is None else f", best accuracy {sums.best_accuracy:.4f} in round {sums.best_round}"
    click.echo(f"{result.status.name.capitalize()}: {sums.rounds} rounds in {sums.seconds:.1f} s{best}")
    if result.has_succeeded and result.message:
        click.echo(f"  {result.message}")
    for name in ("model.safetensors", "report.html", "result.json", "history.jsonl"):
        if (result.output / name).exists():
            click.echo(f"  {result.output / name}")


def _folders(pairs: tuple[str, ...]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for pair in pairs:
        name, separator, folder = pair.partition("=")
        if not separator or name.count("/") != 1 or not folder:
            _fail([f"--data {pair}: must be NAMESPACE/NAME=FOLDER"])
        found[name] = Path(folder)
    return found


@main.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--output", "form", type=click.Choice(["text", "json"]), default="text", help="Form of the answer.")
def validate(files: tuple[Path, ...], form: str) -> None:
    """Say what is wrong with the manifests in FILES or folders: file, object, field, value found, value allowed.

    Exit status: 0 nothing, 2 something, or no object of ours in any of them.
    """
    from coterie_api.v1alpha1.load import Finding, Report, lines, refuse_nothing, validate_files

    found: Report = refuse_nothing(validate_files(files), files)

    def plain(finding: Finding) -> dict[str, Any]:
        error = finding.error
        place = {"file": finding.file, "line": finding.line, "object": finding.object, "field": error.field}
        return {**place, "found": error.found, "allowed": error.allowed, "reason": error.fault.value}

    if form == "json":
        click.echo(
            json.dumps({"errors": [plain(each) for each in found.errors], "warnings": [plain(each) for each in found.warnings]}, indent=2)
        )
    else:
        for finding in found.errors:
            click.echo(str(finding), err=True)
        for line in lines(found.warnings):
            click.echo(f"warning: {line}", err=True)
        if found.is_valid:
            click.echo(f"valid: {len(found.jobs)} FederatedJob, {len(found.datasets)} FederatedDataset")
    sys.exit(OK if found.is_valid else BAD_INPUT)


@main.command()
@click.option("--namespace", help="Tenant's namespace, for the Secret's manifest.", default="default", show_default=True)
@click.option("--name", help="Name of the Secret.", default="coterie-identity", show_default=True)
@click.option("--secret", "secret_file", type=ANY_PATH, help="File for the Secret's manifest (kubectl apply -f).")
@click.option("--pem", "pem_file", type=ANY_PATH, help="File for the private half alone, PKCS#8.")
@click.option("--policy", "policy_file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="YAML with a policy to pin.")
def keygen(namespace: str, name: str, secret_file: Path | None, pem_file: Path | None, policy_file: Path | None) -> None:
    """Make a tenant's Ed25519 key pair: prints the public half, writes the private half to a file that must not exist yet.

    A policy lies in the private half's own file: a client with this key takes no part in a job that is weaker, whoever starts it.

    Exit status: 0 done, 2 no file given, it exists, or a bad policy.
    """
    from coterie_operator.local.identity import KeyPair
    from coterie_operator.local.policyfile import BadPolicy, read_policy

    files = [path for path in (secret_file, pem_file) if path is not None]
    if not files:
        _fail(["give --secret FILE or --pem FILE: the private half must go somewhere, and not to the screen"])
    if taken := [str(path) for path in files if path.exists()]:
        _fail([f"{path}: exists; a private key is never overwritten" for path in taken])
    if nowhere := [str(path.parent) for path in files if not path.parent.is_dir()]:
        _fail([f"{folder}: no such folder" for folder in nowhere])
    pair = KeyPair.generate()
    if policy_file is not None:
        try:
            pair = pair.pinning(read_policy(policy_file))
        except BadPolicy as error:
            _fail(str(error).splitlines())
    if secret_file is not None:
        _write_private(secret_file, json.dumps(pair.secret(namespace, name), indent=2).encode() + b"\n")
    if pem_file is not None:
        _write_private(pem_file, pair.private_pem)
    click.echo(f"identity: {{publicKey: {pair.public_key}, secretName: {name}}}")


def _write_private(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


@main.command("check-data")
@click.argument("entrypoint")
@click.argument("folder", type=FOLDER)
@click.option("--parameters", default="{}", help="The job's task.parameters, JSON.", show_default=True)
@click.option("--split", default="train", help="Which split to load.", show_default=True)
@click.option("--code", type=FOLDER, default=".", help="Folder of the task's code.", show_default=True)
def check_data(entrypoint: str, folder: Path, parameters: str, split: str, code: Path) -> None:
    """Load the data in FOLDER with the task ENTRYPOINT (module:Class) and put one batch through it; say what is wrong.

    For the data's owner, inside the tenant: the answer quotes exceptions in full and may hold data.

    Exit status: 0 nothing is wrong, 1 something is, 2 bad input.
    """
    _refuse_unless_object("--parameters", parameters)
    paths = [str(code.resolve()), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    words = [*CHECK, "--parameters", parameters, "--split", split, "--", entrypoint, str(folder)]
    done = subprocess.run(words, env=env, check=False)  # noqa: S603
    sys.exit(FAILED if done.returncode else OK)


def _refuse_unless_object(option: str, text: str) -> None:
    try:
        is_object = isinstance(json.loads(text), dict)
    except ValueError:
        is_object = False
    if not is_object:
        _fail([f"{option}: found {text!r}, must be a JSON object"])


@main.command()
def operator() -> None:
    """Run the operator against the cluster of the environment; settings are read from COTERIE_*.

    Exit status: 0 ended on request, 1 failed, 2 bad settings, 75 lost the lease.
    """
    from coterie_operator.settings import from_environment

    try:
        settings = from_environment(os.environ)
    except ValueError as error:
        _fail([str(error)])
    from coterie_operator import handlers

    sys.exit(handlers.run(settings))


def _fail(lines: Iterable[str], status: int = BAD_INPUT) -> NoReturn:
    for line in lines:
        click.echo(f"coterie: {line}", err=True)
    sys.exit(status)


if __name__ == "__main__":
    main()
