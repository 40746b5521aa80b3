"""Prometheus' own tool, as judge of rules and expressions."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

PROMTOOL = shutil.which("promtool")
needed = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: apt-get install prometheus)")


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run promtool."""
    return subprocess.run([str(PROMTOOL), *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60)
