"""What the operator's process costs its node."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.controlplane.scenario import Run, digits_job

if TYPE_CHECKING:
    from tests.cluster.controlplane import ControlPlane
    from tests.cluster.replica import Replica

MOST_MIB = 130


def resident_mib(pid: int) -> float:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


@pytest.mark.usefixtures("tenants")
def test_the_operator_stays_small_after_a_job(plane: ControlPlane, operator: Replica) -> None:
    run = Run.begin(plane, digits_job("footprint", rounds=2))
    run.succeeds()
    run.delete()

    assert operator.process is not None
    assert resident_mib(operator.process.pid) <= MOST_MIB
