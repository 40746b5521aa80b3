"""What is done with each kind of block, in a working folder of its document's own."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import jsonschema  # type: ignore[import-untyped]
import yaml
from tests.docs import commands
from tests.docs.blocks import REPOSITORY, Block, Kind, kind_of

from coterie_api.errors import InvalidObject
from coterie_api.fields import parse
from coterie_api.podconfig import TenantPolicy
from coterie_api.v1alpha1.load import validate_files
from coterie_api.v1alpha1.types import FederatedDataset, FederatedJob
from coterie_api.v1alpha1.validate import validate_dataset, validate_job

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS: Final = 240  # for one block
BIN: Final = Path(sys.executable).parent
SCHEMA_OF_VALUES: Final = REPOSITORY / "charts" / "coterie" / "values.schema.json"
KEY: Final = "A" * 43 + "="
# What a fragment is put into: valid, and large enough for any number of colluders that a page may show.
WHOLE: Final[dict[str, dict[str, Any]]] = {
    "FederatedJob": {
        "metadata": {"name": "whole", "namespace": "research"},
        "spec": {
            "rounds": 20,
            "task": {"entrypoint": "whole:Whole"},
            "participants": {"datasets": [{"namespace": f"tenant-{index}", "name": "whole"} for index in range(9)]},
            "privacy": {"mode": "None"},
        },
    },
    "FederatedDataset": {
        "metadata": {"name": "whole", "namespace": "tenant"},
        "spec": {"source": {"persistentVolumeClaim": {"claimName": "whole"}}, "identity": {"publicKey": KEY}},
    },
}


class BrokenBlockError(Exception):
    """A block doesn't do what a reader would expect of it."""


@dataclass(frozen=True, slots=True)
class Desk:
    """The folder in which a reader works through one document."""

    folder: Path

    @classmethod
    def prepare(cls, folder: Path) -> Desk:
        """Copy into `folder` what a reader has who has cloned the repository: the examples, without what they made."""
        examples = shutil.ignore_patterns("volumes", "out", "__pycache__")
        shutil.copytree(REPOSITORY / "examples", folder / "examples", ignore=examples)
        return cls(folder)

    def check(self, block: Block) -> None:
        """Do with a block what its kind says. Raises BrokenBlockError, or UnknownBlockError."""
        kind = kind_of(block)
        self.write(block)
        if kind in (Kind.SHELL, Kind.SLOW, Kind.CLUSTER, Kind.NODE):
            self._shell(block, kind)
        elif kind is Kind.PYTHON:
            self.run(block, [sys.executable, "-c", block.text])
        elif kind is Kind.MANIFESTS:
            self._manifests(block)
        elif kind is Kind.DOCKERFILE:
            self._dockerfile(block)
        else:
            READERS[kind](block)

    def write(self, block: Block) -> None:
        """Write the file that the block's first line names, if it names one."""
        if block.file is None or block.words[0] == "sh":
            return
        path = (self.folder / block.file).resolve()
        if not path.is_relative_to(self.folder.resolve()):
            raise BrokenBlockError(f"{block.place}: {block.file} leads out of the reader's folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")

    def run(self, block: Block, command: list[str], environment: dict[str, str] | None = None) -> str:
        """Run a command here, as a reader would with the virtual environment activated; return its output."""
        path = os.pathsep.join([str(BIN), os.environ.get("PATH", "")])
        given = {**os.environ, "PATH": path, "PYTHONDONTWRITEBYTECODE": "1", **(environment or {})}
        try:
            done = subprocess.run(
                command, cwd=self.folder, env=given, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=SECONDS
            )
        except subprocess.TimeoutExpired:
            raise BrokenBlockError(f"{block.place}: took longer than {SECONDS} s") from None
        if done.returncode != 0:
            raise BrokenBlockError(f"{block.place}: exit status {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        return done.stdout

    def _manifests(self, block: Block) -> None:
        path = self.folder / (block.file or "block.yaml")
        path.write_text(block.text, encoding="utf-8")
        report = validate_files([path])
        if not report.is_valid:
            raise BrokenBlockError(f"{block.place}: " + "; ".join(map(str, report.errors)))
        if not (report.jobs or report.datasets or report.others):
            raise BrokenBlockError(f"{block.place}: no object in it")
        if block.file is None:
            path.unlink()

    def _dockerfile(self, block: Block) -> None:
        assert block.file is not None
        folder = (self.folder / block.file).parent
        for line in (line.split() for line in block.text.splitlines()[1:] if line.strip()):
            if line[0] not in {"ARG", "FROM", "COPY", "ENV", "RUN", "USER"}:
                raise BrokenBlockError(f"{block.place}: {line[0]} is no instruction that these pages use")
            if line[0] == "COPY" and (missing := [name for name in line[1:-1] if not (folder / name).exists()]):
                raise BrokenBlockError(f"{block.place}: COPY of {', '.join(missing)}, which is not in {block.file.parent}")

    def _shell(self, block: Block, kind: Kind) -> None:
        self.run(block, ["bash", "-n", "-c", block.text])
        try:
            left = commands.remainder(block.text)
            if kind is not Kind.SHELL:
                commands.judge(left, self.folder if kind is Kind.SLOW else None)
        except commands.UnknownCommandError as error:
            raise BrokenBlockError(f"{block.place}: {error}") from None
        if kind is Kind.SHELL:
            self.run(block, ["bash", "-euo", "pipefail", "-c", left])


def _fragment(block: Block) -> None:
    """Put a fragment into a whole object, which must be valid then."""
    kind = block.words[2]
    try:
        found = yaml.safe_load(block.text)
    except yaml.YAMLError as error:
        raise BrokenBlockError(f"{block.place}: {error}") from None
    if not isinstance(found, dict) or not found.keys() <= {"metadata", "spec"}:
        raise BrokenBlockError(f"{block.place}: a fragment has metadata or spec at its top")
    whole = merged(WHOLE[kind], found)
    try:
        if kind == "FederatedJob":
            errors = validate_job(parse(FederatedJob, whole, ""))
        else:
            errors = validate_dataset(parse(FederatedDataset, whole, ""))
    except InvalidObject as invalid:
        errors = invalid.errors
    if errors:
        raise BrokenBlockError(f"{block.place}: " + "; ".join(map(str, errors)))


def merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Return `under` with `over` put on top, objects key by key, anything else whole."""
    result = copy.deepcopy(under)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result


def _values(block: Block) -> None:
    try:
        jsonschema.validate(yaml.safe_load(block.text), json.loads(SCHEMA_OF_VALUES.read_text()))
    except (jsonschema.ValidationError, yaml.YAMLError) as error:
        raise BrokenBlockError(f"{block.place}: {error}") from None


def _policy(block: Block) -> None:
    try:
        parse(TenantPolicy, yaml.safe_load(block.text), "policy")
    except (InvalidObject, yaml.YAMLError) as error:
        raise BrokenBlockError(f"{block.place}: {error}") from None


def _compiles(block: Block) -> None:
    try:
        compile(block.text, block.place, "exec")
    except SyntaxError as error:
        raise BrokenBlockError(f"{block.place}: {error}") from None


def _json(block: Block) -> None:
    try:
        json.loads(block.text)
    except ValueError:
        try:
            for line in block.text.splitlines():
                json.loads(line)
        except ValueError as error:
            raise BrokenBlockError(f"{block.place}: {error}") from None


def _is_for_eyes_alone(_: Block) -> None:
    pass


# Kinds that are judged by their text alone.
READERS: Final[dict[Kind, Callable[[Block], None]]] = {
    Kind.FRAGMENT: _fragment,
    Kind.VALUES: _values,
    Kind.POLICY: _policy,
    Kind.PYTHON_FILE: _compiles,
    Kind.JSON: _json,
    Kind.SHOWN: _is_for_eyes_alone,
}
