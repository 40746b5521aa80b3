"""A checkpoint claim that somebody deletes costs the rounds, and not the job: clients know which slots they have used."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
from tests.controlplane.scenario import JOBS, TENANTS, Run, digits_job

if TYPE_CHECKING:
    from tests.cluster.controlplane import ControlPlane
    from tests.cluster.replica import Replica

pytestmark = pytest.mark.usefixtures("tenants")
ROUNDS = 8


def suspend(run: Run, *, is_suspended: bool) -> None:
    patch = {"spec": {"suspend": is_suspended}}
    run.plane.kubectl("patch", "fjob", run.name, "-n", JOBS, "--type=merge", "-p", json.dumps(patch))


def test_a_deleted_checkpoint_claim_costs_the_rounds_and_not_the_job(plane: ControlPlane, operator: Replica) -> None:
    run = Run.begin(plane, digits_job("lost-checkpoint", rounds=ROUNDS))
    run.reaches(3)
    suspend(run, is_suspended=True)
    run.waits(lambda: not run.children("pods"), "its pods are gone")
    used = run.status["slots"]
    (claim,) = run.children("persistentvolumeclaims")
    name = claim["metadata"]["name"]
    plane.kubectl("delete", "pvc", name, "-n", JOBS, "--timeout=60s")
    shutil.rmtree(plane.folder / "node" / "claims" / JOBS / name)  # as a storage class that deletes what it reclaims

    suspend(run, is_suspended=False)
    status = run.succeeds()

    assert (status["round"], status["survivors"]) == (ROUNDS, len(TENANTS))
    assert status["slots"] >= used + ROUNDS, "no slot was asked for again"
    run.delete()
