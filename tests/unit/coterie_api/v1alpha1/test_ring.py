"""The scale that a clip asks for: as fine as the ring holds, and never a larger clip than was asked."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie_api.fields import parse
from coterie_api.v1alpha1 import ring
from coterie_api.v1alpha1.types import FederatedJob
from coterie_api.v1alpha1.validate import validate_job
from coterie_worker.secagg import Encoding, Member, SessionParameters
from coterie_worker.secagg.parameters import check_session

MEMBERS = st.integers(1, 258)


def with_members(count: int, **spec: Any) -> FederatedJob:
    datasets = [{"namespace": f"tenant-{index}", "name": "data"} for index in range(count)]
    given = {"rounds": 3, "task": {"entrypoint": "a:B"}, "privacy": {"mode": "None"}, "participants": {"datasets": datasets}}
    return parse(FederatedJob, {"metadata": {"name": "x", "namespace": "y"}, "spec": {**given, **spec}}, "")


@given(MEMBERS, st.floats(ring.LEAST_CLIP, 1e6))
def test_the_narrow_ring_never_holds_more_than_the_clip_and_wastes_less_than_a_step(members: int, clip: float) -> None:
    units = ring.scale(members, ring.NARROW, clip)

    assert ring.clip_in_force(members, ring.NARROW, units) <= clip or units == 1
    assert units == 1 or ring.bound(members, ring.NARROW) / (units - 1) >= clip


@given(st.integers(1, 1000), st.floats(ring.LEAST_WIDE_CLIP, 1e6))
def test_every_clip_that_is_allowed_has_a_scale_that_clients_accept(members: int, clip: float) -> None:
    units = ring.scale(members, ring.WIDE, clip)
    roster = tuple(Member(f"t{index}", index.to_bytes(32)) for index in range(members))

    check_session(SessionParameters("uid", bytes(32), roster, members, 0, members, ring.WIDE, units, 1))
    assert ring.clip_in_force(members, ring.WIDE, units) <= clip


@pytest.mark.parametrize("members", [1, 3, 10, 258])
@pytest.mark.parametrize("bits", [ring.NARROW, ring.WIDE])
def test_client_and_operator_compute_the_same_clip(members: int, bits: int) -> None:
    units = ring.scale(members, bits, 2.0)
    roster = tuple(Member(f"t{index}", index.to_bytes(32)) for index in range(members))

    assert ring.bound(members, bits) == Encoding(units, members, 5, weighted=False, ring_bits=bits).bound
    assert SessionParameters("uid", bytes(32), roster, 3, 0, 3, bits, units).clip == ring.clip_in_force(members, bits, units)


def test_without_a_clip_the_scale_is_the_default() -> None:
    assert {ring.scale(members, ring.WIDE, None) for members in (1, 10, 1000)} == {65536}


def test_the_most_data_sets_of_the_narrow_ring_still_have_eight_bits() -> None:
    assert ring.bound(ring.MOST_NARROW, ring.NARROW) >= 127 > ring.bound(ring.MOST_NARROW + 1, ring.NARROW)


def test_a_job_with_more_data_sets_than_the_narrow_ring_holds_is_refused() -> None:
    narrow = {"secureAggregation": {"ringBits": 16, "clip": 0.5}}

    assert validate_job(with_members(ring.MOST_NARROW, **narrow)) == ()
    with pytest.raises(ValueError, match=r"secureAggregation.ringBits: found 16, allowed: 32 with more than 258 data sets"):
        with_members(ring.MOST_NARROW + 1, **narrow)


@pytest.mark.parametrize(("members", "cohort", "is_refused"), [(200, 150, False), (201, 200, True), (201, 201, False), (1000, 900, True)])
def test_a_cohort_of_neighbors_is_refused_where_clients_have_neighbors(members: int, cohort: int, is_refused: bool) -> None:
    errors = validate_job(with_members(members, strategy={"cohortSize": cohort}))

    assert [error.field for error in errors] == (["spec.strategy.cohortSize"] if is_refused else [])
    assert validate_job(with_members(members, strategy={"cohortSize": cohort}, secureAggregation={"protocol": "None"})) == ()
