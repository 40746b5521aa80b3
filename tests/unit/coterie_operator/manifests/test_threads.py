"""How many threads a container is told to compute with."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.coterie_operator.manifests.started_parts import parts, tenant

from coterie_operator.local.embedded import SETTINGS
from coterie_operator.manifests.aggregator import aggregator_job
from coterie_operator.manifests.client import client_job
from coterie_operator.manifests.cores import threads

PVC = {"persistentVolumeClaim": {"claimName": "data"}}
CORES = [("4", 4), ("2.9", 2), ("500m", 1), ("0", 1), ("1999m", 1), ("2000m", 2), ("3e0", 3), ("12e-1", 1), ("2k", 2000), ("1Ki", 1024)]


@pytest.mark.parametrize(("request_", "expected"), [*CORES, ("4000000000n", 4), ("3000000u", 3), (8, 8)])
def test_whole_cores_count_and_there_is_at_least_one(request_: Any, expected: int) -> None:
    assert threads({"requests": {"cpu": request_}}) == expected


@pytest.mark.parametrize("requests", [{}, {"memory": "4Gi"}, {"cpu": "two"}, {"cpu": "-1"}, {"cpu": ""}, {"cpu": "1 "}])
def test_without_a_request_that_says_how_many_nothing_is_set(requests: dict[str, Any]) -> None:
    assert threads({"requests": requests}) is None


def told(job: dict[str, Any]) -> dict[str, str | None]:
    spec = job["spec"]["template"]["spec"]
    variables = {
        container["name"]: [entry["value"] for entry in container["env"] if entry["name"] == "COTERIE_THREADS"]
        for container in [*spec.get("initContainers", []), *spec["containers"]]
    }
    assert all(len(values) < 2 for values in variables.values())
    return {name: next(iter(values), None) for name, values in variables.items()}


def test_whoever_has_torch_is_told_and_the_aggregator_is_not() -> None:
    started = parts(evaluation={"public": {"source": PVC}}, evaluator={"resources": {"requests": {"cpu": "3"}}})

    assert told(aggregator_job(started, 0)) == {"initialize": "3", "evaluator": "3", "aggregator": None}
    assert told(client_job(started, tenant(), 0)) == {"client": "1"}


def test_the_owner_of_the_data_has_the_last_word() -> None:
    started = parts(clients={"resources": {"limits": {"cpu": "8"}}})

    assert told(client_job(started, tenant(pod={"resources": {"limits": {"cpu": "1500m"}}}), 0)) == {"client": "1"}


def test_on_one_machine_clients_share_its_cores_unless_the_job_asks_for_more() -> None:
    asked = parts(SETTINGS, clients={"resources": {"limits": {"cpu": "2"}}})

    assert told(client_job(parts(SETTINGS), tenant(), 0)) == {"client": None}
    assert told(client_job(asked, tenant(), 0)) == {"client": "2"}
