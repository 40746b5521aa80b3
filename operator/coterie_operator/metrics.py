"""The operator's metrics. Labels are bounded: a job's series go with the job, errors have a class, requests a verb and a code.

The labels of a job are `job_namespace` and `job_name`: Prometheus itself writes `namespace` and `job` on everything that it scrapes.
Nothing is told of a single client.
"""

from __future__ import annotations

import platform
from datetime import datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from coterie_api.v1alpha1.conditions import ConditionType
from coterie_api.v1alpha1.types import JobState

if TYPE_CHECKING:
    from coterie_api.v1alpha1.types import FederatedJobSpec, FederatedJobStatus

JobLabels = tuple[str, str]

BUCKETS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0)
JOB: Final = ("job_namespace", "job_name")
DOMAIN: Final = ("domain_namespace", "domain")
DIRECTIONS: Final = ("sent", "received")
STATUSES: Final = ("True", "False", "Unknown")
COMMON_ERRORS: Final = ("AlreadyExists", "Forbidden", "Invalid", "NotFound", "Unavailable")  # of the API server
NO_ANSWER: Final = "none"  # in place of a code


class RequestMetrics:
    """What is asked of the API server. It belongs to the client, which is there before anything that has a registry."""

    def __init__(self) -> None:
        self.requests = Counter(
            "coterie_api_requests_total",
            "Requests to the API server by verb and HTTP status; code none: no answer came. Kopf's own watches are not counted.",
            ["verb", "code"],
            registry=None,
        )
        self.seconds = Histogram(
            "coterie_api_request_duration_seconds",
            "Time from a request to the head of its answer.",
            ["verb"],
            buckets=BUCKETS,
            registry=None,
        )

    def answered(self, verb: str, code: int | None, seconds: float) -> None:
        """Count one request; `code` is None when no answer came."""
        self.requests.labels(verb, NO_ANSWER if code is None else str(code)).inc()
        self.seconds.labels(verb).observe(seconds)

    def register(self, registry: CollectorRegistry) -> None:
        """Show these numbers among those of `registry`."""
        registry.register(self.requests)
        registry.register(self.seconds)


class JobMetrics:
    """What each job's status says, and nothing else: so its final numbers stay as long as the job does, whatever restarts or is gone."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"coterie_job_{name}", text, [*JOB, *labels], registry=registry)

        self.condition = gauge("condition", "1 for the status that a condition of the job has, 0 for the other two.", "condition", "status")
        self.rounds = gauge("rounds", "Rounds that the job asks for.")
        self.rounds_done = gauge("rounds_done", "Rounds whose sum was applied.")
        self.cohort = gauge("cohort_clients", "Clients asked in the last round.")
        self.survivors = gauge("survivors", "Clients in the last sum.")
        self.openings = gauge("slots", "Slots opened so far, those of repeated rounds included.")
        self.restarts = gauge("aggregator_failures", "Failures of the aggregator that count against backoffLimit.")
        self.assemblies = gauge("assemblies", "Times that clients were assembled.")
        self.deadline = gauge("round_deadline_seconds", "Time that a round has, by the job's spec.")
        self.started = gauge("start_timestamp_seconds", "When the job first started its pods; absent before.")
        self.completed = gauge("completion_timestamp_seconds", "When the job ended; absent before.")
        self.last_round = gauge(
            "last_round_timestamp_seconds", "When the operator last saw a round done, the job start or resume, or itself begin to watch."
        )
        self.accuracy = gauge("accuracy_ratio", "Of the newest evaluated model, on public data; absent without one.")
        self.loss = gauge("loss", "Of the newest evaluated model, on public data; absent without one.")
        self.spent = gauge("privacy_epsilon_spent", "Privacy loss so far, at the job's delta; absent where nothing bounds it.")
        self.budget = gauge("privacy_epsilon_budget", "Bound on the job's privacy loss, by its spec; absent where nothing bounds it.")
        self.best = gauge("best_round", "Rounds done when the best model by evaluation.selectBy was made; absent without one.")
        self.norm = gauge("update_norm", "Euclidean norm of the last mean update, which is released; absent before the first.")
        self.clamped = gauge("clamped_coordinates", "Coordinates clamped to the ring in the last sum.")
        self.round_seconds = gauge("last_round_duration_seconds", "Time of the last round; absent before the first.")
        self.bytes = gauge("transferred_bytes", "Bytes of frames to and from clients, by the aggregator's last process.", "direction")
        self._rounds: dict[JobLabels, tuple[int, float]] = {}

    def saw(self, job: JobLabels, status: FederatedJobStatus, spec: FederatedJobSpec | None, now: datetime) -> None:
        """Show a job's present status."""
        held = {condition.type: condition.status for condition in status.conditions}
        for condition in ConditionType:
            for each in STATUSES:
                self.condition.labels(*job, condition.value, each).set(held.get(condition, "Unknown") == each)
        values = {
            self.rounds: status.rounds or (spec.rounds if spec else 0),
            self.rounds_done: status.round,
            self.cohort: status.cohort,
            self.survivors: status.survivors,
            self.openings: status.slots,
            self.restarts: status.attempts.aggregator,
            self.assemblies: status.attempts.assembly,
            self.deadline: spec.round_deadline_seconds if spec else None,
            self.started: _seconds(status.start_time),
            self.completed: _seconds(status.completion_time),
            self.last_round: self._last_round(job, status, now),
            self.accuracy: status.accuracy,
            self.loss: status.loss,
            self.spent: status.epsilon_spent,
            self.budget: spec.privacy.epsilon if spec else None,
            self.best: status.best_round,
            self.norm: status.update_norm,
            self.clamped: status.clamped,
            self.round_seconds: status.round_seconds,
        }
        for gauge, value in values.items():
            if value is None:
                _remove(gauge, *job)
            else:
                gauge.labels(*job).set(value)
        for direction, total in zip(DIRECTIONS, (status.bytes_sent, status.bytes_received), strict=True):
            self.bytes.labels(*job, direction).set(total)

    def _last_round(self, job: JobLabels, status: FederatedJobStatus, now: datetime) -> float:
        done, when = self._rounds.get(job, (-1, 0.0))
        if status.round != done:
            when = min(now.timestamp(), _seconds(status.completion_time) or float("inf"))
        self._rounds[job] = (status.round, when)
        return max(when, _seconds(status.active_since) or 0.0)

    def forget(self, job: JobLabels) -> None:
        """Remove the series of a job that is gone."""
        self._rounds.pop(job, None)
        for direction in DIRECTIONS:
            _remove(self.bytes, *job, direction)
        labeled = (self.condition, self.bytes)
        for gauge in [each for each in vars(self).values() if isinstance(each, Gauge) and each not in labeled]:
            _remove(gauge, *job)
        for condition in ConditionType:
            for each in STATUSES:
                _remove(self.condition, *job, condition.value, each)


class BudgetMetrics:
    """Privacy budgets by domain, and whether the ledger adds up."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.spent = Gauge("coterie_privacy_epsilon_spent", "Privacy loss booked on a domain.", DOMAIN, registry=registry)
        self.budget = Gauge("coterie_privacy_epsilon_budget", "Privacy loss that a domain allows in all.", DOMAIN, registry=registry)
        self.diverged = Gauge(
            "coterie_privacy_ledger_diverged",
            "1 if a domain's ledger and its entries disagree, 0 if they agree.",
            DOMAIN,
            registry=registry,
        )

    def saw(self, domain: tuple[str, str], spent: float, budget: float, *, is_diverged: bool) -> None:
        """Show a domain's present account."""
        self.spent.labels(*domain).set(spent)
        self.budget.labels(*domain).set(budget)
        self.diverged.labels(*domain).set(is_diverged)

    def forget(self, domain: tuple[str, str]) -> None:
        """Remove the series of a domain that is gone."""
        for gauge in (self.spent, self.budget, self.diverged):
            _remove(gauge, *domain)


class OperatorMetrics:
    """All numbers of one operator process, in one registry."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._states: dict[JobLabels, str] = {}
        self.jobs = Gauge("coterie_jobs", "Federated jobs by their state.", ["state"], registry=self.registry)
        self.job = JobMetrics(self.registry)
        self.budgets = BudgetMetrics(self.registry)
        self.reconcile_seconds = Histogram(
            "coterie_reconcile_seconds", "Time of one pass over one job: observe, decide, act.", buckets=BUCKETS, registry=self.registry
        )
        self.queue_depth = Gauge("coterie_queue_depth", "Jobs that are due for a pass and wait for a worker.", registry=self.registry)
        self.queue_age = Gauge(
            "coterie_queue_oldest_seconds", "For how long the job that is due longest has waited.", registry=self.registry
        )
        self.errors = Counter(
            "coterie_reconcile_errors_total", "Passes that failed, by class of the error.", ["reason"], registry=self.registry
        )
        self.is_leader = Gauge("coterie_leader", "1 if this replica acts, 0 if it stands by.", registry=self.registry)
        self.watches = Gauge(
            "coterie_watches",
            "Watches by kind and by whether they have seen all there is; jobs, data sets, namespaces: one each, all there was at start.",
            ["kind", "synced"],
            registry=self.registry,
        )
        self.build = Gauge("coterie_build_info", "1, labeled with the versions.", ["version", "python"], registry=self.registry)
        self.build.labels(version("coterie"), platform.python_version()).set(1)
        for state in JobState:
            self.jobs.labels(state.value).set(0)
        for error in COMMON_ERRORS:  # a counter that is born with its first error would hide it from every rate
            self.errors.labels(error)

    def saw(self, key: JobLabels, status: FederatedJobStatus, spec: FederatedJobSpec | None, now: datetime) -> None:
        """Count a job under its present state, and show its numbers."""
        self._uncount(key)
        self._states[key] = status.state.value
        self.jobs.labels(status.state.value).inc()
        self.job.saw(key, status, spec, now)

    def forget(self, key: JobLabels) -> None:
        """Stop counting a job that is gone."""
        self._uncount(key)
        self.job.forget(key)

    def _uncount(self, key: JobLabels) -> None:
        former = self._states.pop(key, None)
        if former is not None:
            self.jobs.labels(former).dec()


def _remove(gauge: Gauge, *labels: str) -> None:
    gauge.remove(*labels)


def _seconds(stamp: str | None) -> float | None:
    return datetime.fromisoformat(stamp).timestamp() if stamp else None
