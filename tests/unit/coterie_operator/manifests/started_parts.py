"""A started job's parts, for tests of builders."""

from __future__ import annotations

from typing import Any

from tests.unit.coterie_operator import builders

from coterie_api.fields import parse
from coterie_api.v1alpha1.types import FederatedDataset, FederatedJob
from coterie_operator.core.observed import Job, NamespaceState, Observed
from coterie_operator.core.rules.quorum import aggregation, verdict
from coterie_operator.manifests.client import Tenant
from coterie_operator.manifests.naming import DatasetKey, JobKey
from coterie_operator.manifests.parts import Parts, Place
from coterie_operator.manifests.parts import parts as make_parts
from coterie_operator.settings import Settings

KEY = JobKey("research", "fashion", "5f1c2d3e-0000-4000-8000-000000000001")
AUTHORITY = "-----BEGIN CERTIFICATE-----\nexample\n-----END CERTIFICATE-----\n"


def parts(settings: Settings | None = None, tenants: int = 3, **spec: Any) -> Parts:
    """Return the parts of a job that has started with all its tenants."""
    settings = settings or Settings()
    spec["clients"] = {"image": builders.IMAGE, **spec.get("clients", {})}
    raw = builders.job(tenants, **spec)
    job = parse(FederatedJob, {**raw, "metadata": {**raw["metadata"], "uid": KEY.uid}}, "")
    datasets = {DatasetKey(name, "visits"): dataset(name) for name in builders.TENANTS[:tenants]}
    seen = Observed(
        now=builders.START,
        settings=settings,
        job=Job(job.metadata, job.spec),
        datasets=datasets,
        namespaces=dict.fromkeys(["research", *builders.TENANTS], NamespaceState.ACTIVE),
    )
    frozen = verdict(seen, KEY, job.spec).frozen
    assert frozen is not None
    return make_parts(KEY, job.spec, frozen, aggregation(job.spec, frozen.datasets), Place(settings, AUTHORITY))


def dataset(namespace: str, **spec: Any) -> FederatedDataset:
    """Return a typed data set."""
    raw = builders.dataset(namespace, **spec)
    return parse(FederatedDataset, {**raw, "metadata": {**raw["metadata"], "uid": f"uid-of-{namespace}"}}, "")


def tenant(namespace: str = "hospital-a", index: int = 0, **spec: Any) -> Tenant:
    """Return an entry of the roster with its data set."""
    found = dataset(namespace, **spec)
    return Tenant(index, DatasetKey(namespace, "visits"), found.metadata.uid, found.spec)
