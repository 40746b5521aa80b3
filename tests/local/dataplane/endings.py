"""How a job that was disturbed must end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from coterie_api.names import EXIT_OK

if TYPE_CHECKING:
    from tests.local.dataplane.pods import DataPlane, Pod


def ends_well(job: DataPlane, rounds: int) -> None:
    """The aggregator ends with all rounds done, every round once, and slots that only ever increased."""
    assert job.aggregator.wait() == EXIT_OK, job.aggregator.log
    assert [line["round"] for line in job.history] == list(range(1, rounds + 1))
    assert job.slots == sorted(set(job.slots))
    for member in job.members:
        assert last_used(member) <= job.slots[-1]


def last_used(member: Pod) -> int:
    """The last slot that a client has used, by its own record; -1 for none."""
    record = member.place("/state") / "slots.json"
    (last,) = json.loads(record.read_bytes())["last_slots"].values() if record.exists() else (-1,)
    return last
