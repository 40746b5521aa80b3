"""A tenant's policy against an operator that writes a weaker one: the client's process ends, says why, and gives nothing away."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.local.dataplane.endings import ends_well, last_used

from coterie_api.names import EXIT_RETRY, EXIT_TERMINAL
from coterie_api.pinned import pin
from coterie_api.podconfig import Aggregation, TenantPolicy
from coterie_api.progress import DropReason

if TYPE_CHECKING:
    from tests.local.dataplane.pods import DataPlane, Pod

pytestmark = pytest.mark.local
WEAK = TenantPolicy(secure_aggregation=False)  # what an operator writes that wants no trouble


def key_file(member: Pod) -> bytes:
    return (member.place("/etc/coterie/identity") / "private.pem").read_bytes()


def put(member: Pod, content: bytes) -> None:
    (member.place("/etc/coterie/identity") / "private.pem").write_bytes(content)


def known(job: DataPlane) -> dict[str, str]:
    return {entry.namespace: entry.public_key for entry in job.job.roster}


def gave_nothing_away(job: DataPlane, member: Pod) -> None:
    """It never trained, used no slot, and took no part in any epoch: not even a key of its own was shown."""
    assert not member.reached.exists()
    assert last_used(member) == -1
    assert "masked" not in member.log
    assert "is in the sum" not in "".join(line for line in job.aggregator.log.splitlines() if "tenant-0/line" in line)


PINNED = {
    "more clients in a sum": (TenantPolicy(min_clients=4), "least survivors: 3, the policy pinned beside the tenant's key requires 4"),
    "a higher threshold": (TenantPolicy(threshold=4), "threshold: 3, .* requires 4"),
    "more colluders": (TenantPolicy(colluders=1), "colluders: 0, .* requires 1"),
    "a tighter clip": (TenantPolicy(clip=1.0), "clip: 8192, .* allows 1"),
    "a coarser scale": (TenantPolicy(scale=256), "scale: 65536, .* allows 256"),
}


@pytest.mark.parametrize("what", PINNED)
def test_a_pinned_policy_holds_where_the_operators_is_weaker(plane, what: str) -> None:
    policy, says = PINNED[what]
    job = plane(4, rounds=1, policy=WEAK)
    put(job.members[0], pin(key_file(job.members[0]), policy))
    job.start()

    assert job.members[0].wait() == EXIT_TERMINAL
    ends_well(job, 1)
    word = job.members[0].last_word
    assert word.reason == DropReason.POLICY_REFUSED
    assert_says(word.message, says)
    gave_nothing_away(job, job.members[0])
    assert job.history[0]["survivors"] == 3


def assert_says(message: str, pattern: str) -> None:
    with pytest.raises(ValueError, match=pattern):
        raise ValueError(message)


def test_a_pinned_policy_refuses_a_job_without_secure_aggregation(plane) -> None:
    job = plane(4, rounds=1, policy=WEAK, aggregation=Aggregation("None", 3, 0, 3))
    put(job.members[0], pin(key_file(job.members[0]), TenantPolicy()))
    job.start()

    assert job.members[0].wait() == EXIT_TERMINAL
    ends_well(job, 1)
    assert "requires secure aggregation" in job.members[0].last_word.message
    gave_nothing_away(job, job.members[0])


def test_a_pinned_roster_refuses_tenants_that_an_operator_invented(plane) -> None:
    job = plane(4, rounds=1, policy=WEAK)
    invented = {name: key for name, key in known(job).items() if name != "tenant-3"}
    swapped = known(job) | {"tenant-3": base64.b64encode(bytes(32)).decode()}
    put(job.members[0], pin(key_file(job.members[0]), TenantPolicy(members=invented)))
    put(job.members[1], pin(key_file(job.members[1]), TenantPolicy(members=swapped)))
    job.start()

    assert [job.members[index].wait() for index in (0, 1)] == [EXIT_TERMINAL] * 2
    assert "tenant-3 is in it" in job.members[0].last_word.message
    assert "tenant-3 has another public key" in job.members[1].last_word.message
    assert job.aggregator.wait() == EXIT_TERMINAL, job.aggregator.log
    gave_nothing_away(job, job.members[0])


def test_a_job_that_is_as_strong_as_the_pinned_policy_goes_on(plane) -> None:
    job = plane(3, rounds=1, policy=WEAK)
    policy = TenantPolicy(True, 3, 3, 0, 32, 65536, 2**31 / 3 / 65536, known(job))
    for member in job.members:
        put(member, pin(key_file(member), policy))
    job.start()

    ends_well(job, 1)
    assert job.history[0]["survivors"] == 3


def test_a_stricter_policy_of_the_operator_still_counts_beside_a_pinned_one(plane) -> None:
    job = plane(3, rounds=1, policy=replace(WEAK, colluders=1))
    put(job.members[0], pin(key_file(job.members[0]), TenantPolicy()))
    job.start()

    assert job.members[0].wait() == EXIT_TERMINAL
    assert "colluders: 0, the tenant's policy requires 1" in job.members[0].last_word.message


def test_a_pinned_policy_that_can_not_be_read_is_never_passed_over(plane) -> None:
    job = plane(4, rounds=1, policy=WEAK)
    body = base64.b64encode(b'{"minimumClients": 4}')
    put(job.members[0], key_file(job.members[0]) + b"-----BEGIN COTERIE POLICY-----\n" + body + b"\n-----END COTERIE POLICY-----\n")
    job.start()

    assert job.members[0].wait() == EXIT_RETRY
    ends_well(job, 1)
    assert job.members[0].last_word.reason == "UnusablePolicy"
    gave_nothing_away(job, job.members[0])
