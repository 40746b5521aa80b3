"""Every generated file, by its path in the repository."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from monitoring import grafana, reference, rules
from monitoring.boards import BOARDS

ROOT: Final = Path(__file__).parents[1]


def generated() -> dict[str, str]:
    """Return the content of each file."""
    made = {"docs/metrics.md": reference.page(), "charts/coterie/rules/coterie.yaml": rules.text()}
    return made | {f"charts/coterie/dashboards/{board.uid}.json": grafana.text(board) for board in BOARDS}
