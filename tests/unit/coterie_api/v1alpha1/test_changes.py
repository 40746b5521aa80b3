"""What may change in a stored job, and what may not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from coterie_api.fields import dump, parse
from coterie_api.v1alpha1.changes import refused_changes
from coterie_api.v1alpha1.types import FederatedJob, FederatedJobSpec

if TYPE_CHECKING:
    from collections.abc import Callable


def stored(manifest: Callable[..., dict[str, Any]], changes: dict[str, Any] | None = None) -> dict[str, Any]:
    spec: dict[str, Any] = dump(parse(FederatedJob, manifest("FederatedJob", changes), ""))["spec"]
    return spec


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"spec.rounds": 21}, "spec.rounds"),
        ({"spec.seed": None}, "spec.seed"),
        ({"spec.task.entrypoint": "other:Task"}, "spec.task"),
        ({"spec.task.parameters": {"hiddn": 32, "rates": [0.5, 1e-3], "deep": {"er": True}}}, "spec.task"),
        ({"spec.training.batchSize": 7}, "spec.training"),
        ({"spec.strategy.weighting": "Uniform"}, "spec.strategy"),
        ({"spec.participants.minClients": None}, "spec.participants.minClients"),
        ({"spec.participants.assemblyDeadlineSeconds": 5}, "spec.participants.assemblyDeadlineSeconds"),
        ({"spec.participants.datasets": [{"namespace": name, "name": "visits"} for name in "abc"]}, "spec.participants.datasets"),
        ({"spec.secureAggregation.protocol": "None"}, "spec.secureAggregation"),
        ({"spec.evaluation": None}, "spec.evaluation"),
        ({"spec.output": None}, "spec.output"),
        ({"spec.initialModel": {"source": {"configMap": {"name": "x"}}}}, "spec.initialModel"),
        ({"spec.clients.image": None}, "spec.clients"),
        ({"spec.roundDeadlineSeconds": 5}, "spec.roundDeadlineSeconds"),
    ],
    ids=str,
)
def test_what_a_job_promised_can_not_be_changed(manifest: Callable[..., dict[str, Any]], change: dict[str, Any], field: str) -> None:
    errors = refused_changes(FederatedJobSpec, stored(manifest), stored(manifest, change))

    assert [error.field for error in errors] == [field]


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"spec.suspend": True},
        {"spec.backoffLimit": 0},
        {"spec.activeDeadlineSeconds": None},
        {"spec.ttlSecondsAfterFinished": 5},
        {"spec.participants.assemblyDeadlineSeconds": None},  # 600 is the default
    ],
    ids=str,
)
def test_what_only_steers_a_job_can(manifest: Callable[..., dict[str, Any]], change: dict[str, Any]) -> None:
    assert refused_changes(FederatedJobSpec, stored(manifest), stored(manifest, change)) == ()
