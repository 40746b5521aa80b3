"""Every generated file, by its path in the repository."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from monitoring import reference, rules

ROOT: Final = Path(__file__).parents[1]


def generated() -> dict[str, str]:
    """Return the content of each file."""
    return {"docs/metrics.md": reference.page(), "charts/coterie/rules/coterie.yaml": rules.text()}
