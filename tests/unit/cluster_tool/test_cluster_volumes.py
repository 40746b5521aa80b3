from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from tests.cluster import layout
from tests.cluster.volumes import released, wanted

FOLDER = Path("/volumes")
CLAIM: dict[str, Any] = {
    "metadata": {
        "name": "models",
        "namespace": "research",
        "uid": "u1",
        "annotations": {
            "volume.kubernetes.io/storage-provisioner": layout.PROVISIONER,
            "volume.kubernetes.io/selected-node": layout.NODE,
        },
    },
    "spec": {"storageClassName": "local", "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}


def noted(**notes: str) -> dict[str, str]:
    return {
        **CLAIM["metadata"]["annotations"],
        **{f"volume.kubernetes.io/{name.replace('_', '-')}": value for name, value in notes.items()},
    }


def claim(**changed: Any) -> dict[str, Any]:
    made = copy.deepcopy(CLAIM)
    for path, value in changed.items():
        part, _, name = path.partition("_")
        made[part][name] = value
    return made


def volume(phase: str, policy: str = "Delete", **metadata: Any) -> dict[str, Any]:
    made = wanted([CLAIM], [], FOLDER)[0]
    made["metadata"].update(metadata)
    made["spec"]["persistentVolumeReclaimPolicy"] = policy
    return {**made, "status": {"phase": phase}}


def test_a_claim_on_the_chosen_node_gets_a_volume_bound_to_it_alone() -> None:
    (made,) = wanted([CLAIM], [], FOLDER)

    assert made["spec"]["local"] == {"path": "/volumes/pvc-u1"}
    assert made["spec"]["claimRef"]["uid"] == "u1"
    assert made["spec"]["capacity"] == {"storage": "1Gi"}


@pytest.mark.parametrize(
    "waiting",
    [
        pytest.param(claim(metadata_annotations={}), id="no pod uses it yet"),
        pytest.param(claim(metadata_annotations=noted(selected_node="other")), id="another node"),
        pytest.param(claim(metadata_annotations=noted(storage_provisioner="other")), id="another provisioner's"),
        pytest.param(claim(spec_volumeName="pvc-u1"), id="bound"),
        pytest.param(claim(metadata_deletionTimestamp="2026-01-01T00:00:00Z"), id="being deleted"),
    ],
)
def test_no_volume_is_made_for_a_claim_that_waits_for_something_else(waiting: dict[str, Any]) -> None:
    assert wanted([waiting], [], FOLDER) == []


def test_a_volume_that_is_there_is_not_made_twice() -> None:
    assert wanted([CLAIM], [volume("Available")], FOLDER) == []


def test_a_released_volume_is_removed() -> None:
    assert released([volume("Released")]) == [volume("Released")]


@pytest.mark.parametrize(
    "kept",
    [
        pytest.param(volume("Bound"), id="in use"),
        pytest.param(volume("Released", "Retain"), id="to be kept"),
        pytest.param(volume("Released", annotations={}), id="made by hand"),
        pytest.param(volume("Released", deletionTimestamp="2026-01-01T00:00:00Z"), id="on its way"),
    ],
)
def test_no_other_volume_is_removed(kept: dict[str, Any]) -> None:
    assert released([kept]) == []
