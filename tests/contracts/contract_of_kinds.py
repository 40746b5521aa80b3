"""The laws of the `Cluster` port about kinds: generations, the status subresource, schemas, and what a pod keeps."""

from __future__ import annotations

import pytest
from tests.contracts.cluster_objects import config_map, dataset, federated_job, pod

from coterie_operator.cluster import CONFIG_MAP, FEDERATED_DATASET, FEDERATED_JOB, POD, Cluster, Conflict, Invalid, NotFound


class KindsContract:
    async def test_only_a_change_of_the_spec_makes_a_generation(self, cluster: Cluster, namespace: str) -> None:
        created = await cluster.create(FEDERATED_DATASET, dataset(namespace))
        labeled = await cluster.patch(FEDERATED_DATASET, namespace, "visits", {"metadata": {"labels": {"a": "b"}}})
        told = await cluster.patch(FEDERATED_DATASET, namespace, "visits", {"status": {"observedGeneration": 1}}, status=True)
        changed = await cluster.patch(FEDERATED_DATASET, namespace, "visits", {"spec": {"declaredRecords": 7}})

        assert [obj["metadata"]["generation"] for obj in (created, labeled, told, changed)] == [1, 1, 1, 2]

    async def test_status_is_written_through_its_subresource_alone(self, cluster: Cluster, namespace: str) -> None:
        await cluster.create(FEDERATED_DATASET, {**dataset(namespace), "status": {"observedGeneration": 5}})
        created = await cluster.get(FEDERATED_DATASET, namespace, "visits")
        ignored = await cluster.patch(FEDERATED_DATASET, namespace, "visits", {"status": {"observedGeneration": 6}})
        written = await cluster.patch(
            FEDERATED_DATASET, namespace, "visits", {"status": {"observedGeneration": 7}, "spec": {"declaredRecords": 7}}, status=True
        )

        assert created.get("status", {}).get("observedGeneration") != 5
        assert ignored.get("status", {}).get("observedGeneration") != 6
        assert written["status"]["observedGeneration"] == 7
        assert written["spec"].get("declaredRecords") != 7

    async def test_a_stale_resource_version_is_a_conflict_for_status_too(self, cluster: Cluster, namespace: str) -> None:
        stale = (await cluster.create(FEDERATED_DATASET, dataset(namespace)))["metadata"]["resourceVersion"]
        await cluster.patch(FEDERATED_DATASET, namespace, "visits", {"metadata": {"labels": {"a": "b"}}})

        body = {"metadata": {"resourceVersion": stale}, "status": {"observedGeneration": 1}}
        with pytest.raises(Conflict):
            await cluster.patch(FEDERATED_DATASET, namespace, "visits", body, status=True)

    async def test_a_kind_without_status_has_no_subresource(self, cluster: Cluster, namespace: str) -> None:
        await cluster.create(CONFIG_MAP, config_map(namespace))

        with pytest.raises(NotFound):
            await cluster.patch(CONFIG_MAP, namespace, "settings", {"status": {"a": 1}}, status=True)

    async def test_an_object_against_the_schema_is_invalid(self, cluster: Cluster, namespace: str) -> None:
        broken = dataset(namespace)
        broken["spec"]["declaredRecords"] = "many"

        with pytest.raises(Invalid, match="declaredRecords"):
            await cluster.create(FEDERATED_DATASET, broken)

    async def test_unknown_fields_are_dropped_and_defaults_are_filled_in(self, cluster: Cluster, namespace: str) -> None:
        given = dataset(namespace)
        given["spec"]["nonsense"] = 1
        stored = await cluster.create(FEDERATED_DATASET, given)

        assert "nonsense" not in stored["spec"]
        assert stored["spec"]["requirements"]["secureAggregation"] is True

    async def test_an_immutable_field_of_ours_can_not_be_changed(self, cluster: Cluster, namespace: str) -> None:
        await cluster.create(FEDERATED_JOB, federated_job(namespace))

        with pytest.raises(Invalid, match="rounds"):
            await cluster.patch(FEDERATED_JOB, namespace, "digits", {"spec": {"rounds": 9}})
        assert (await cluster.patch(FEDERATED_JOB, namespace, "digits", {"spec": {"suspend": True}}))["spec"]["suspend"] is True

    async def test_a_new_pod_is_pending(self, cluster: Cluster, namespace: str) -> None:
        created = await cluster.create(POD, {**pod(namespace), "status": {"phase": "Succeeded"}})

        assert created["status"]["phase"] == "Pending"

    async def test_the_spec_of_a_pod_stays(self, cluster: Cluster, namespace: str) -> None:
        await cluster.create(POD, pod(namespace))

        with pytest.raises(Invalid):
            await cluster.patch(POD, namespace, "one", {"spec": {"restartPolicy": "Always"}})
