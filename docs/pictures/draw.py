"""Draws run.svg and report.png from a real run of examples/digits: `.venv/bin/python docs/pictures/draw.py`. Needs chromium."""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.text import Text

from coterie_operator.local.progress import Snapshot
from coterie_operator.local.run import run
from coterie_operator.local.screen import render

HERE = Path(__file__).parent
DIGITS = HERE.parents[1] / "examples" / "digits"
SIZE = (1180, 830)  # of the report's upper part


@dataclass
class LastScreen:
    """Keeps what was shown last."""

    seen: list[Snapshot] = field(default_factory=list)

    def show(self, now: Snapshot) -> None:
        self.seen[:] = [now]

    def say(self, text: str) -> None:
        """Say nothing."""

    def close(self) -> None:
        """Do nothing."""


def main() -> None:
    """Run the example, and draw what it shows."""
    with tempfile.TemporaryDirectory() as folder:
        screen = LastScreen()
        result = run(DIGITS, output=Path(folder) / "digits", screen=screen)
        console = Console(record=True, width=92, force_terminal=True, file=Path(folder, "screen").open("w"))  # noqa: SIM115
        console.print(Text("$ coterie run examples/digits", style="bold"))
        console.print(render(screen.seen[-1]))
        (HERE / "run.svg").write_text(console.export_svg(title="coterie run examples/digits"))
        png, page = HERE / "report.png", result.output / "report.html"
        flags = ["--headless", "--no-sandbox", "--hide-scrollbars", f"--window-size={SIZE[0]},{SIZE[1]}", f"--screenshot={png}"]
        subprocess.run(["chromium", *flags, page.as_uri()], check=True, capture_output=True)  # noqa: S603, S607 - the reader's own browser


if __name__ == "__main__":
    main()
