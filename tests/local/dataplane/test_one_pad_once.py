"""Two processes of one tenant, as whole processes: never two updates under the masks of one slot."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.local.dataplane.endings import ends_well, last_used
from tests.local.dataplane.pods import wait_for

from coterie_api.names import EXIT_RETRY

if TYPE_CHECKING:
    from tests.local.dataplane.pods import Pod

pytestmark = pytest.mark.local


def masked(pod: Pod) -> list[int]:
    """The slots in which a process masked a vector, in the order of its log."""
    return [int(slot) for slot in re.findall(r"slot (\d+): masked", pod.log)]


def twin_of(pod: Pod) -> Pod:
    """A second process on the very same volumes."""
    return replace(pod, process=None, nursery=None)


def test_a_second_pod_beside_one_that_trains_refuses_and_the_job_ends_with_each_slot_masked_once(plane) -> None:
    job = plane(4, rounds=2)
    job.members[0].misbehave("hold")
    job.start()
    wait_for(job.members[0].reached.exists, "client 0 trains")
    twin = twin_of(job.members[0])

    twin.start()

    assert twin.wait() == EXIT_RETRY
    assert twin.last_word.reason == "FolderInUse"
    job.members[0].behave()
    ends_well(job, 2)
    assert [line["survivors"] for line in job.history] == [4, 4]
    assert masked(job.members[0]) == job.slots


def test_a_pod_that_takes_over_the_state_masks_no_slot_of_the_one_before_it(plane) -> None:
    job = plane(4, rounds=3)
    job.members[0].misbehave("hold")
    job.members[1].misbehave("hold")
    job.start()
    wait_for(job.members[0].reached.exists, "client 0 trains")
    wait_for(lambda: last_used(job.members[0]) > 0, "client 0 has written its slot down, before any byte of it left")
    pod, first = job.members[0], last_used(job.members[0])
    pod.kill()
    pod.behave()

    pod.start()
    wait_for(lambda: pod.log.count("a new session") == 2, "the second process has its own session")
    job.members[1].behave()

    ends_well(job, 3)
    assert masked(pod)
    assert masked(pod) == sorted(set(masked(pod)))
    assert all(slot > first for slot in masked(pod))
    assert json.loads((pod.place("/state") / "slots.json").read_bytes())["last_slots"].keys() == {job.job.job_uid}
