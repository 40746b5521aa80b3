"""What a tenant requires reaches its client's own file, number by number."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.coterie_operator.manifests.started_parts import parts, tenant

from coterie_api.fields import parse
from coterie_api.names import FILE_ROLE
from coterie_api.podconfig import ClientRole, TenantPolicy
from coterie_api.shape import entries
from coterie_api.v1alpha1.types import Requirements
from coterie_operator.manifests import client

REQUIRED: dict[str, Any] = {
    "secureAggregation": False,
    "minClients": 3,
    "threshold": 2,
    "colluders": 1,
    "ringBits": 32,
    "scale": 65536,
    "clip": 20000.5,
}


def policy_of(**requirements: Any) -> TenantPolicy:
    config, _ = client.standing_children(parts(), tenant(requirements=requirements))
    return parse(ClientRole, json.loads(config["data"][FILE_ROLE]), FILE_ROLE).policy


@pytest.mark.parametrize("field", REQUIRED)
def test_every_requirement_of_a_data_set_is_in_the_policy_that_its_client_reads(field: str) -> None:
    name = next(entry.name for entry in entries(TenantPolicy) if entry.key == field)

    assert getattr(policy_of(**{field: REQUIRED[field]}), name) == REQUIRED[field]
    assert getattr(policy_of(), name) == getattr(TenantPolicy(), name)


def test_no_requirement_is_forgotten() -> None:
    """Privacy modes and metrics are refused unless they ask for nothing; `members` is for the tenant's own file alone."""
    required = {entry.key for entry in entries(Requirements)} - {"modes", "metrics"}

    assert required == set(REQUIRED) == {entry.key for entry in entries(TenantPolicy)} - {"members"}
