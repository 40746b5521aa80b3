"""What the operator's numbers do, not that they are there."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from coterie_api.v1alpha1.conditions import ConditionStatus, ConditionType
from coterie_api.v1alpha1.types import Attempts, Condition, FederatedJobStatus, JobState
from coterie_operator.cluster import CONFIG_MAP, ApiError, Unavailable
from coterie_operator.kube import KubeCluster
from coterie_operator.metrics import OperatorMetrics, RequestMetrics

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

NOW = datetime(2026, 1, 1, tzinfo=UTC)
JOB = ("research", "digits")
LABELS = {"job_namespace": "research", "job_name": "digits"}


def status(round_: int = 0, **fields: Any) -> FederatedJobStatus:
    return replace(FederatedJobStatus(state=JobState.RUNNING, rounds=10, round=round_), **fields)


def held(type_: ConditionType, answer: ConditionStatus) -> Condition:
    return Condition(type=type_.value, status=answer, reason="Training", message="", last_transition_time="2026-01-01T00:00:00Z")


def spec(epsilon: float | None = None) -> Any:
    return SimpleNamespace(rounds=10, round_deadline_seconds=600, privacy=SimpleNamespace(epsilon=epsilon))


@pytest.fixture
def metrics() -> OperatorMetrics:
    return OperatorMetrics()


def value(metrics: OperatorMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, {**LABELS, **labels})


def series_of_jobs(registry: CollectorRegistry) -> list[str]:
    return [sample.name for family in registry.collect() for sample in family.samples if "job_name" in sample.labels]


def test_each_condition_is_one_hot(metrics: OperatorMetrics) -> None:
    metrics.saw(JOB, status(conditions=(held(ConditionType.RUNNING, ConditionStatus.TRUE),)), spec(), NOW)
    metrics.saw(JOB, status(conditions=(held(ConditionType.RUNNING, ConditionStatus.FALSE),)), spec(), NOW)

    def answers(condition: ConditionType) -> dict[str, float | None]:
        return {each: value(metrics, "coterie_job_condition", condition=condition, status=each) for each in ("True", "False", "Unknown")}

    assert answers(ConditionType.RUNNING) == {"True": 0, "False": 1, "Unknown": 0}
    assert answers(ConditionType.FAILED) == {"True": 0, "False": 0, "Unknown": 1}


def test_a_job_that_is_gone_leaves_no_series(metrics: OperatorMetrics) -> None:
    metrics.saw(JOB, status(3, accuracy=0.5, epsilon_spent=1.0, bytes_sent=7, round_seconds=2.0), spec(8.0), NOW)
    assert value(metrics, "coterie_job_transferred_bytes", direction="sent") == 7
    assert len(series_of_jobs(metrics.registry)) > 30

    metrics.forget(JOB)

    assert series_of_jobs(metrics.registry) == []
    assert metrics.registry.get_sample_value("coterie_jobs", {"state": "Running"}) == 0


def test_a_job_that_is_gone_takes_no_other_with_it(metrics: OperatorMetrics) -> None:
    metrics.saw(JOB, status(3), spec(), NOW)
    metrics.saw(("elsewhere", "digits"), status(4), spec(), NOW)

    metrics.forget(("elsewhere", "digits"))
    metrics.forget(("elsewhere", "never seen"))

    assert value(metrics, "coterie_job_rounds_done") == 3


def test_an_ended_job_keeps_its_final_numbers(metrics: OperatorMetrics) -> None:
    metrics.saw(JOB, status(9, accuracy=0.8), spec(), NOW)
    ended = status(10, accuracy=0.9, state=JobState.SUCCEEDED, completion_time="2026-01-01T00:00:00Z")
    metrics.saw(JOB, ended, spec(), NOW + timedelta(days=1))

    assert value(metrics, "coterie_job_accuracy_ratio") == 0.9
    assert value(metrics, "coterie_job_completion_timestamp_seconds") == NOW.timestamp()
    assert value(metrics, "coterie_job_last_round_timestamp_seconds") == NOW.timestamp()


STATUS = {  # what a status says, and the metric that shows it
    "rounds_done": ({"round": 3}, 3),
    "rounds": ({"rounds": 12}, 12),
    "cohort_clients": ({"cohort": 5}, 5),
    "survivors": ({"survivors": 4}, 4),
    "slots": ({"slots": 7}, 7),
    "aggregator_failures": ({"attempts": Attempts(assembly=2, aggregator=1)}, 1),
    "assemblies": ({"attempts": Attempts(assembly=2, aggregator=1)}, 2),
    "start_timestamp_seconds": ({"start_time": "2026-01-01T00:00:00Z"}, NOW.timestamp()),
    "completion_timestamp_seconds": ({"completion_time": "2026-01-01T00:00:00Z"}, NOW.timestamp()),
    "accuracy_ratio": ({"accuracy": 0.9}, 0.9),
    "loss": ({"loss": 0.3}, 0.3),
    "best_round": ({"best_round": 2}, 2),
    "update_norm": ({"update_norm": 0.25}, 0.25),
    "clamped_coordinates": ({"clamped": 6}, 6),
    "last_round_duration_seconds": ({"round_seconds": 1.5}, 1.5),
    "privacy_epsilon_spent": ({"epsilon_spent": 2.0}, 2),
}


@pytest.mark.parametrize("name", STATUS)
def test_each_number_of_a_status_has_its_metric_and_moves_no_other(metrics: OperatorMetrics, name: str) -> None:
    fields, expected = STATUS[name]

    def all_but_the_time() -> dict[str, float | None]:
        return {each: value(metrics, f"coterie_job_{each}") for each in STATUS}

    metrics.saw(JOB, status(), spec(), NOW)
    before = all_but_the_time()
    metrics.saw(JOB, status(**{"round_": fields["round"]} if "round" in fields else fields), spec(), NOW)
    after = all_but_the_time()

    assert after[name] == expected
    others = {"aggregator_failures", "assemblies"} if name in {"aggregator_failures", "assemblies"} else {name}
    assert {each for each in STATUS if before[each] != after[each]} == others


def test_a_rounds_deadline_is_that_of_the_spec(metrics: OperatorMetrics) -> None:
    metrics.saw(JOB, status(), spec(), NOW)
    assert value(metrics, "coterie_job_round_deadline_seconds") == 600

    metrics.saw(JOB, status(), None, NOW)
    assert value(metrics, "coterie_job_round_deadline_seconds") is None


def test_what_nobody_knows_has_no_series(metrics: OperatorMetrics) -> None:
    metrics.saw(JOB, status(), None, NOW)

    absent = ("accuracy_ratio", "loss", "best_round", "update_norm", "last_round_duration_seconds", "start_timestamp_seconds")
    for name in (*absent, "privacy_epsilon_spent", "privacy_epsilon_budget"):
        assert value(metrics, f"coterie_job_{name}") is None


def test_a_number_that_is_taken_back_takes_its_series_back(metrics: OperatorMetrics) -> None:
    metrics.saw(JOB, status(accuracy=0.5), spec(), NOW)
    metrics.saw(JOB, status(accuracy=None), spec(), NOW)

    assert value(metrics, "coterie_job_accuracy_ratio") is None


def test_epsilon_is_shown_beside_its_bound(metrics: OperatorMetrics) -> None:
    metrics.saw(JOB, status(epsilon_spent=2.0), spec(8.0), NOW)

    assert value(metrics, "coterie_job_privacy_epsilon_spent") == 2
    assert value(metrics, "coterie_job_privacy_epsilon_budget") == 8


def test_the_last_round_is_the_time_when_the_count_changed_and_not_of_the_last_look(metrics: OperatorMetrics) -> None:
    metrics.saw(JOB, status(1), spec(), NOW)
    metrics.saw(JOB, status(2), spec(), NOW + timedelta(seconds=10))
    metrics.saw(JOB, status(2), spec(), NOW + timedelta(seconds=500))

    assert value(metrics, "coterie_job_last_round_timestamp_seconds") == NOW.timestamp() + 10


def test_a_resumed_job_has_all_its_time_again(metrics: OperatorMetrics) -> None:
    metrics.saw(JOB, status(1), spec(), NOW)
    metrics.saw(JOB, status(1, active_since="2026-01-02T00:00:00Z"), spec(), NOW + timedelta(days=2))

    assert value(metrics, "coterie_job_last_round_timestamp_seconds") == (NOW + timedelta(days=1)).timestamp()


def test_a_domain_that_is_gone_leaves_no_series(metrics: OperatorMetrics) -> None:
    labels = {"domain_namespace": "hospital-a", "domain": "visits"}
    metrics.budgets.saw(("hospital-a", "visits"), 3.0, 10.0, is_diverged=True)
    assert metrics.registry.get_sample_value("coterie_privacy_epsilon_spent", labels) == 3
    assert metrics.registry.get_sample_value("coterie_privacy_ledger_diverged", labels) == 1

    metrics.budgets.forget(("hospital-a", "visits"))

    assert metrics.registry.get_sample_value("coterie_privacy_epsilon_spent", labels) is None


def test_the_build_is_told_once(metrics: OperatorMetrics) -> None:
    (family,) = [family for family in metrics.registry.collect() if family.name == "coterie_build_info"]

    assert [sample.value for sample in family.samples] == [1]
    assert family.samples[0].labels["version"]


def test_errors_of_the_api_server_are_counted_from_zero_so_that_rates_see_the_first(metrics: OperatorMetrics) -> None:
    public = {error.__name__ for error in ApiError.__subclasses__() if not error.__name__.startswith("_")}
    counted = public - {"Conflict"}  # which is no error: the pass is made again

    samples = next(iter(metrics.errors.collect())).samples
    assert {each.labels["reason"]: each.value for each in samples if each.name.endswith("_total")} == dict.fromkeys(counted, 0)


class Api:
    """Answers every request with one status, or fails."""

    def __init__(self, status: int | None) -> None:
        self.status = status

    async def param_serialize(self, method: str, path: str, **_: Any) -> tuple[Any, ...]:
        return (method, path)

    async def call_api(self, *_: Any, **__: Any) -> Any:
        if self.status is None:
            raise OSError("no route")

        async def read() -> bytes:
            return b'{"metadata": {"resourceVersion": "1"}, "items": []}'

        return SimpleNamespace(response=SimpleNamespace(status=self.status, read=read))


def requests(cluster: KubeCluster) -> dict[tuple[str, str], float]:
    samples = next(iter(cluster.metrics.requests.collect())).samples
    return {(each.labels["verb"], each.labels["code"]): each.value for each in samples if each.name.endswith("_total")}


async def test_requests_are_counted_by_verb_and_code() -> None:
    cluster = KubeCluster(Api(200))  # type: ignore[arg-type]
    await cluster.get(CONFIG_MAP, "n", "a")
    await cluster.list(CONFIG_MAP, "n")
    await cluster.list(CONFIG_MAP)
    await cluster.create(CONFIG_MAP, {"metadata": {"namespace": "n"}})
    await cluster.delete(CONFIG_MAP, "n", "a")

    assert requests(cluster) == {("get", "200"): 1, ("list", "200"): 2, ("create", "200"): 1, ("delete", "200"): 1}


@pytest.mark.parametrize(("status", "code"), [(429, "429"), (503, "503"), (None, "none")])
async def test_a_request_that_fails_is_counted_as_what_it_was(status: int | None, code: str) -> None:
    cluster = KubeCluster(Api(status))  # type: ignore[arg-type]
    with pytest.raises(Unavailable):
        await cluster.patch(CONFIG_MAP, "n", "a", {})

    assert requests(cluster) == {("patch", code): 1}


def test_the_clients_numbers_are_shown_among_the_operators(metrics: OperatorMetrics) -> None:
    of_requests = RequestMetrics()
    of_requests.register(metrics.registry)
    of_requests.answered("get", 200, 0.02)

    assert metrics.registry.get_sample_value("coterie_api_requests_total", {"verb": "get", "code": "200"}) == 1
    assert metrics.registry.get_sample_value("coterie_api_request_duration_seconds_bucket", {"verb": "get", "le": "0.01"}) == 0
    assert metrics.registry.get_sample_value("coterie_api_request_duration_seconds_bucket", {"verb": "get", "le": "0.05"}) == 1
