"""A running job says why its models are not evaluated, and goes on."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.coterie_operator.world import RUNNING, World

from coterie_api.progress import Drop, DropReason
from coterie_api.v1alpha1.types import JobState

FAILURE = Drop("", DropReason.NO_DATA, "FileNotFoundError", "task.py:12", "a1b2c3")


async def test_a_running_job_tells_why_its_newest_model_has_no_accuracy_and_stops_when_it_has() -> None:
    world = await (await World().start()).until_running()
    world.progress = replace(RUNNING, evaluation_failure=FAILURE)
    await world.settle()
    failing = (await world.job()).status
    world.progress = RUNNING
    await world.settle()
    again = (await world.job()).status

    assert failing.state is again.state is JobState.RUNNING
    assert failing.message == (
        "the newest evaluation failed: the data set has no examples "
        "(FileNotFoundError at task.py:12), incident a1b2c3 in the evaluator's log"
    )
    assert again.message == ""
