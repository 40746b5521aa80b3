"""`python -m monitoring.pictures`: run real jobs, let a Prometheus scrape them, and draw each dashboard from its answers."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from coterie_operator.local.exposition import Exposition
from monitoring.boards import BOARDS
from monitoring.files import ROOT
from monitoring.live.federation import Federation, address
from monitoring.live.prometheus import Prometheus
from monitoring.pictures.answers import Span
from monitoring.pictures.page import picture
from monitoring.pictures.story import NOTE, ROUNDS, MadeUp, play, until

PICTURES = ROOT / "docs" / "pictures"
CHOSEN = {"coterie-job": {"namespace": "research", "job": "digits"}}


def main() -> None:
    """Draw all."""
    made_up = MadeUp()
    with (
        tempfile.TemporaryDirectory() as name,
        Exposition(made_up.registry) as invented,
        Federation(Path(name), ROOT / "examples" / "digits", ROUNDS) as federation,
        Prometheus(
            Path(name) / "prometheus",
            [federation.operator, address(invented)],
            federation.aggregators,
        ) as prometheus,
    ):
        until(federation, lambda: bool(prometheus.now("coterie_job_rounds")))
        start = time.time()
        play(federation, made_up)
        span = Span(start, time.time() - 1)
        for board in BOARDS:
            note = NOTE if "epsilon" in str(board.rows) else ""
            text = picture(board, prometheus, span, CHOSEN.get(board.uid, {}), note)
            (PICTURES / f"{board.uid.replace('coterie-', 'dashboard-')}.svg").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
