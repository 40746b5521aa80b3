"""Without Prometheus' programs their tests are skipped with words, except in CI: there they fail."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from monitoring.files import ROOT

RULES = "tests/unit/monitoring/test_rules.py::test_prometheus_takes_the_rules"
PANELS = "tests/local/test_prometheus_reads_it.py::test_every_rule_is_healthy_and_no_alert_fires"


def without_tools(test: str, *, ci: str) -> subprocess.CompletedProcess[str]:
    """Run a test where no program is found."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test]
    environment = {**os.environ, "PATH": "/nonexistent", "CI": ci}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize(("test", "program"), [(RULES, "promtool"), (PANELS, "prometheus")])
def test_a_missing_program_is_named_and_only_ci_insists_on_it(test: str, program: str) -> None:
    skipped, failed = without_tools(test, ci=""), without_tools(test, ci="true")

    assert skipped.returncode == 0, skipped.stdout
    assert f"{program} is not installed" in skipped.stdout
    assert "1 skipped" in skipped.stdout
    assert failed.returncode == 1, failed.stdout
    assert f"{program} is not installed" in failed.stdout
