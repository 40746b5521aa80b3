"""What a pod leaves behind: at most 4 KiB, no data, and an exit code that says whether to try again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from coterie_api.fields import parse
from coterie_api.names import EXIT_RETRY, EXIT_TERMINAL
from coterie_api.podconfig import Role
from coterie_api.progress import Drop, DropReason, Progress, Termination
from coterie_worker import cli
from coterie_worker.config import TERMINATION_BYTES, Pod, UnusableKey, encode
from coterie_worker.training import TaskFailure

if TYPE_CHECKING:
    from pathlib import Path


def drops(count: int) -> tuple[Drop, ...]:
    return tuple(Drop(f"tenant-{n}/data", DropReason.TASK_RAISED, "ValueError", "task.py:12", f"{n:012x}") for n in range(count))


@pytest.mark.parametrize("count", [0, 1, 5, 30, 1000])
def test_a_last_word_fits_what_a_kubelet_keeps_and_reads_back(count: int) -> None:
    word = Termination("TooFewSurvivors", "m" * 10_000, progress=Progress(drops=drops(count)))

    content = encode(word)

    assert len(content) <= TERMINATION_BYTES
    found = parse(Termination, json.loads(content), where="termination")
    assert found.reason == "TooFewSurvivors"
    assert found.progress is not None
    assert found.progress.drops == drops(count)[: len(found.progress.drops)]
    assert len(found.progress.drops) >= min(count, 5)


def test_a_short_last_word_is_whole() -> None:
    word = Termination("NoData", "the data set has no examples", drop=drops(1)[0], progress=Progress(drops=drops(3), accuracy=0.5))

    assert parse(Termination, json.loads(encode(word)), where="termination") == word


def test_a_pod_without_a_place_for_last_words_goes_without(tmp_path: Path) -> None:
    Pod(tmp_path).say_last(Termination("x", "y"))

    assert list(tmp_path.iterdir()) == []


class Left(Exception):
    def __init__(self, code: int) -> None:
        self.code = code


def test_an_exception_that_nobody_expected_leaves_its_class_and_not_its_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def leave(code: int) -> None:
        raise Left(code)

    def fail(*_: object) -> int:
        raise KeyError("Smith, John")

    (tmp_path / "dev").mkdir()
    monkeypatch.setattr(cli, "leave", leave)
    monkeypatch.setattr(cli, "run", fail)

    with pytest.raises(Left) as left:
        cli.main(["client", "--root", str(tmp_path)])

    assert left.value.code == EXIT_RETRY
    word = (tmp_path / "dev/termination-log").read_text()
    assert "KeyError" in word
    assert "Smith" not in word
    assert "Smith" in capsys.readouterr().err  # in the tenant's own log


@pytest.mark.parametrize("arguments", [[], ["operator"], ["client", "--port=1"]])
def test_a_wrong_command_line_starts_nothing(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.parse(arguments)

    assert "usage" in capsys.readouterr().err


def test_the_root_comes_from_the_environment_unless_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COTERIE_ROOT", "/pods/a")

    assert cli.parse(["client"]).root == "/pods/a"
    assert cli.parse(["client", "--root=/b"]).root == "/b"


class TestIdentity:
    @pytest.mark.parametrize(
        ("content", "allowed"), [(b"", "not a PKCS#8"), (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "not a PKCS#8")]
    )
    def test_what_is_no_key_is_refused(self, tmp_path: Path, content: bytes, allowed: str) -> None:
        folder = tmp_path / "etc/coterie/identity"
        folder.mkdir(parents=True)
        (folder / "private.pem").write_bytes(content)

        with pytest.raises(UnusableKey, match=allowed):
            Pod(tmp_path).identity()

    def test_a_key_of_another_kind_is_refused(self, tmp_path: Path) -> None:
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        folder = tmp_path / "etc/coterie/identity"
        folder.mkdir(parents=True)
        pem = X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / "private.pem").write_bytes(pem)

        with pytest.raises(UnusableKey, match="allowed is Ed25519"):
            Pod(tmp_path).identity()


@pytest.mark.parametrize(
    ("role", "module", "call", "code"),
    [
        (
            Role.EVALUATOR,
            "coterie_worker.evaluator",
            "run",
            EXIT_RETRY,
        ),  # its end is not the job's, and 64 of any container would be
        (Role.INITIALIZE, "coterie_worker.training", "initialize", EXIT_TERMINAL),
    ],
)
def test_only_a_role_whose_end_is_the_jobs_end_says_that_a_retry_can_not_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, role: Role, module: str, call: str, code: int
) -> None:
    def fails(*_: object) -> None:
        raise TaskFailure(Drop("", DropReason.NO_DATA, "FileNotFoundError"))

    monkeypatch.setattr(f"{module}.{call}", fails)
    monkeypatch.setattr(Pod, "job", lambda _: (None, b""))
    (tmp_path / "dev").mkdir()

    assert cli.run(role, Pod(tmp_path)) == code
    assert json.loads((tmp_path / "dev" / "termination-log").read_text())["reason"] == "NoData"
