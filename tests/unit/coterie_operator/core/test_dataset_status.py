"""What a data set is told: accepted or not and why, and how many jobs use it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.unit.coterie_operator import builders

from coterie_api.v1alpha1.conditions import Condition, ConditionStatus, ConditionType, DatasetConditionType, find_condition
from coterie_api.v1alpha1.types import FederatedJobStatus, Frozen, FrozenDataset, TenantState, TenantStatus
from coterie_operator.core.datasets import Dataset, Use, dataset_status, uses
from coterie_operator.core.observed import stamp
from coterie_operator.observe import read_dataset

NOW = builders.START
LATER = NOW + timedelta(hours=1)


def read(**spec: Any) -> Dataset:
    raw = builders.dataset("hospital-a", **spec)
    raw["metadata"] |= {"uid": "u", "generation": 4}
    return read_dataset(raw)


def accepted(dataset: Dataset) -> Condition:
    found = find_condition(dataset_status(dataset, 0, NOW).conditions, DatasetConditionType.ACCEPTED)
    assert found is not None
    return found


def test_a_valid_data_set_is_accepted() -> None:
    found = accepted(read())

    assert (found.status, found.reason, found.observed_generation) == (ConditionStatus.TRUE, "Accepted", 4)


REFUSED = {
    "what is not offered": ({"budget": {"unit": "Record", "epsilon": 1, "delta": 1e-6}}, "NotImplemented", "spec.budget"),
    "no key": ({"identity": {}}, "InvalidSpec", "spec.identity.publicKey: found nothing"),
    "what does not parse": ({"grants": 7}, "InvalidSpec", "spec.grants"),
}


@pytest.mark.parametrize(("spec", "reason", "told"), REFUSED.values(), ids=REFUSED.keys())
def test_a_data_set_that_can_not_take_part_is_told_the_field(spec: dict[str, Any], reason: str, told: str) -> None:
    found = accepted(read(**spec))

    assert (found.status, found.reason) == (ConditionStatus.FALSE, reason)
    assert told in found.message


def test_a_sentence_is_never_longer_than_the_schema_allows() -> None:
    grants = [{"jobs": {"namespaces": ["research"]}, "images": ["*"], "maxEpsilonPerJob": 3.0}] * 64

    assert len(accepted(read(grants=grants)).message) == 1024


def test_a_status_that_is_as_it_should_be_stays_the_same_value() -> None:
    dataset = read()
    told = replace(dataset, status=dataset_status(dataset, 2, NOW))

    assert dataset_status(told, 2, LATER) == told.status
    assert dataset_status(told, 1, LATER).active_jobs == 1


def test_the_time_of_transition_changes_with_the_answer_alone() -> None:
    told = replace(read(), status=dataset_status(read(), 0, NOW))
    mended = dataset_status(replace(told, metadata=replace(told.metadata, generation=5)), 0, LATER)
    broken = dataset_status(replace(read(identity={}), status=told.status), 0, LATER)

    assert mended.observed_generation == mended.conditions[0].observed_generation == 5
    assert mended.conditions[0].last_transition_time == stamp(NOW)
    assert broken.conditions[0].last_transition_time == stamp(LATER)


def test_a_status_of_somebody_else_is_made_anew() -> None:
    raw = {**builders.dataset("hospital-a"), "status": {"activeJobs": "many"}}

    assert dataset_status(read_dataset(raw), 1, NOW).active_jobs == 1


def status(*conditions: ConditionType, frozen: bool = True, **tenants: TenantState) -> FederatedJobStatus:
    roster = tuple(FrozenDataset(name, "visits", f"uid-{name}", 1, "") for name in ("a", "b"))
    return FederatedJobStatus(
        frozen=Frozen(stamp(NOW), "", datasets=roster) if frozen else None,
        conditions=tuple(Condition(kind.value, ConditionStatus.TRUE, "X", stamp(NOW)) for kind in conditions),
        tenants=tuple(TenantStatus(name, "visits", state) for name, state in tenants.items()),
    )


def test_a_started_job_uses_its_roster() -> None:
    assert uses(status(a=TenantState.READY, b=TenantState.BACKING_OFF)) == {Use("a", "visits", "uid-a"), Use("b", "visits", "uid-b")}


UNUSED = {
    "has not started": status(frozen=False),
    "has succeeded": status(ConditionType.SUCCEEDED),
    "has failed": status(ConditionType.FAILED),
    "is suspended": status(ConditionType.SUSPENDED),
}


@pytest.mark.parametrize("job", UNUSED.values(), ids=UNUSED.keys())
def test_a_job_uses_nothing_that(job: FederatedJobStatus) -> None:
    assert uses(job) == frozenset()


def test_a_tenant_that_is_lost_for_good_is_not_used_any_more() -> None:
    assert uses(status(a=TenantState.FAILED, b=TenantState.READY)) == {Use("b", "visits", "uid-b")}
