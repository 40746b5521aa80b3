"""Prometheus' own tool, as judge of rules and expressions."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

PROMTOOL = shutil.which("promtool")
IS_CI = os.environ.get("CI", "").lower() in {"true", "1"}
# Where tests decide whether something is merged, nothing is passed over: there they run, and fail without it.
needed = pytest.mark.skipif(PROMTOOL is None and not IS_CI, reason="promtool is not installed (Debian: apt-get install prometheus)")


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run promtool."""
    assert PROMTOOL is not None, "promtool is not installed, and CI must have it (Debian: apt-get install prometheus)"
    return subprocess.run([str(PROMTOOL), *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60)
