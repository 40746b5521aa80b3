"""Everything that a job consists of, as files to read. `COTERIE_UPDATE_GOLDEN=1 pytest …` writes them anew; the diff is reviewed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from tests.unit.coterie_operator.manifests.started_parts import parts, tenant

from coterie_operator.manifests.aggregator import aggregator_job, certificate_secret, standing_children
from coterie_operator.manifests.client import client_job
from coterie_operator.manifests.client import standing_children as client_children


class _Plain(yaml.SafeDumper):
    """Writes a value in full wherever it stands."""

    def ignore_aliases(self, data: object) -> bool:
        return True


GOLDEN = Path(__file__).parent / "golden"
PVC = {"persistentVolumeClaim": {"claimName": "test-data"}}


def _job_namespace() -> list[object]:
    started = parts(
        evaluation={"public": {"source": PVC}, "selectBy": "accuracy"}, output={"persistentVolumeClaim": {"claimName": "models"}}
    )
    return [*standing_children(started), certificate_secret(started, 0), aggregator_job(started, 0)]


def _tenant_namespace() -> list[object]:
    chosen = tenant(state={"persistentVolumeClaim": {"claimName": "visits-state"}}, requirements={"minClients": 3})
    return [*client_children(parts(), chosen), client_job(parts(), chosen, 0)]


@pytest.mark.parametrize(("name", "build"), [("job-namespace", _job_namespace), ("tenant-namespace", _tenant_namespace)])
def test_manifests_are_as_reviewed(name: str, build: object) -> None:
    assert callable(build)
    text = yaml.dump_all(build(), Dumper=_Plain, sort_keys=False, width=140)
    file = GOLDEN / f"{name}.yaml"
    if os.environ.get("COTERIE_UPDATE_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)

    assert file.read_text() == text
