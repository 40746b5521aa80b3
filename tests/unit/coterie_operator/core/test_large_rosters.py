"""Jobs of more tenants than a complete graph has: what the operator writes is what clients accept, and fits where it is kept."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from tests.unit.coterie_operator import builders

from coterie_api.fields import canonical, dump, parse
from coterie_api.podconfig import JobConfig, TenantPolicy
from coterie_api.v1alpha1.quorum import COMPLETE_UP_TO
from coterie_api.v1alpha1.types import FederatedDataset, FederatedJob
from coterie_api.v1alpha1.validate import validate_job, warn_job
from coterie_operator.core.guarantees import GRAPH, guarantees
from coterie_operator.core.observed import Job, NamespaceState, Observed
from coterie_operator.core.rules.quorum import aggregation, verdict
from coterie_operator.core.verdict import Stage
from coterie_operator.manifests.naming import DatasetKey, JobKey
from coterie_operator.manifests.parts import job_config
from coterie_operator.settings import Settings
from coterie_worker.secagg import check_policy, parameters_of
from coterie_worker.secagg.graph import degree_for
from coterie_worker.secagg.parameters import check_masked_session

KEY = JobKey("research", "fashion", "5f1c2d3e-0000-4000-8000-000000000001")
CONFIG_MAP_BYTES = 2**20  # what an API server keeps at most
OBJECT_BYTES = 3 * 2**19  # of one object in etcd
STRICT = {"minClients": 50, "threshold": 150, "colluders": 70, "ringBits": 32, "scale": 65536}


def key(index: int) -> str:
    return base64.b64encode(hashlib.sha256(b"%d" % index).digest()).decode()


def seen_with(members: int, **spec: Any) -> tuple[Observed, FederatedJob]:
    names = [f"hospital-{index:04}-of-the-federation" for index in range(members)]
    raw = builders.job(0, **spec)
    raw["spec"]["participants"]["datasets"] = [{"namespace": name, "name": "visits"} for name in names]
    job = parse(FederatedJob, {**raw, "metadata": {**raw["metadata"], "uid": KEY.uid}}, "")
    datasets = {}
    for index, name in enumerate(names):
        document = builders.dataset(name, identity={"publicKey": key(index)}, requirements=STRICT if index == 3 else {})
        datasets[DatasetKey(name, "visits")] = parse(
            FederatedDataset, {**document, "metadata": {**document["metadata"], "uid": f"5f1c2d3e-0000-4000-8000-{index:012}"}}, ""
        )
    spaces = dict.fromkeys(["research", *names], NamespaceState.ACTIVE)
    seen = Observed(now=builders.START, settings=Settings(), job=Job(job.metadata, job.spec), datasets=datasets, namespaces=spaces)
    return seen, job


@pytest.mark.parametrize("members", [COMPLETE_UP_TO, COMPLETE_UP_TO + 1, 1000])
def test_what_a_large_job_is_told_is_what_its_clients_accept(members: int) -> None:
    seen, job = seen_with(members)
    assert (validate_job(job), warn_job(job)) == ((), ())
    answer = verdict(seen, KEY, job.spec)
    assert answer.stage is Stage.FREEZING
    assert answer.frozen is not None
    found = aggregation(job.spec, answer.frozen.datasets)
    content = canonical(job_config(KEY, job.spec, answer.frozen, found))
    parameters = parameters_of(parse(JobConfig, json.loads(content), ""), hashlib.sha256(content).digest())

    check_masked_session(parameters)
    check_policy(parameters, TenantPolicy(True, 50, 150 if members > 200 else 134, 66, 32, 65536), masked=True)
    assert parameters.is_sparse is (members > COMPLETE_UP_TO)
    assert parameters.quorum == found.threshold
    assert (GRAPH in guarantees(job.spec, found, members)) is parameters.is_sparse
    assert not parameters.is_sparse or degree_for(members, found.colluders) is not None
    assert len(content) < CONFIG_MAP_BYTES // 2
    assert len(json.dumps(dump(answer.frozen))) + len(json.dumps(dump(job))) < OBJECT_BYTES // 2


def test_the_strictest_of_many_tenants_raises_what_all_get() -> None:
    seen, job = seen_with(COMPLETE_UP_TO + 1)
    answer = verdict(seen, KEY, job.spec)
    assert answer.frozen is not None
    found = aggregation(job.spec, answer.frozen.datasets)

    assert (found.threshold, found.colluders, found.min_survivors) == (150, 70, 150)


def test_a_roster_that_shrinks_below_the_limit_is_a_complete_graph_again() -> None:
    """Whoever can't take part is left out before the roster is fixed; the client counts the roster, not the names in the spec."""
    seen, job = seen_with(COMPLETE_UP_TO + 1)
    gone = min(seen.datasets, key=str)
    del seen.datasets[gone]  # type: ignore[attr-defined]
    answer = verdict(seen, KEY, job.spec)
    assert answer.frozen is not None

    assert len(answer.frozen.datasets) == COMPLETE_UP_TO
    assert GRAPH not in guarantees(job.spec, aggregation(job.spec, answer.frozen.datasets), COMPLETE_UP_TO)
