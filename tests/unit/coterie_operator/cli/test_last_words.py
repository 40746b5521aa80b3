"""What `coterie run` says at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from coterie_operator.cli import main
from coterie_operator.local.run import ExitStatus, Result

MESSAGE = "every round is done and the model is published; 4 of 5 data sets took part to the end"


def ending(status: ExitStatus, message: str) -> Any:
    return lambda *_, output, **__: Result(status, Path(output), {"status": {"message": message}})


@pytest.mark.parametrize("status", [ExitStatus.SUCCEEDED, ExitStatus.FAILED])
def test_the_jobs_own_sentence_is_the_last_word_on_it(status: ExitStatus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coterie_operator.local.run.run", ending(status, MESSAGE))

    done = CliRunner().invoke(main, ["run", str(tmp_path), "--output", str(tmp_path / "out")])

    assert done.exit_code == int(status)
    assert done.output.count(MESSAGE) == 1
