"""The operator's metrics. No label is unbounded: jobs are counted by namespace-free condition, errors by a reason of the catalog."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from coterie_api.v1alpha1.types import JobState

BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0)


class OperatorMetrics:
    """All numbers of one operator process, in one registry."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._states: dict[tuple[str, str], str] = {}
        self._jobs = Gauge("coterie_jobs", "Federated jobs by their state.", ["state"], registry=self.registry)
        self.reconcile_seconds = Histogram(
            "coterie_reconcile_seconds", "Time of one pass over one job: observe, decide, act.", buckets=BUCKETS, registry=self.registry
        )
        self.queue_depth = Gauge("coterie_queue_depth", "Jobs that wait for a pass.", registry=self.registry)
        self.errors = Counter(
            "coterie_reconcile_errors_total", "Passes that failed, by class of the error.", ["reason"], registry=self.registry
        )
        self.writes = Counter("coterie_writes_total", "Writes to the API, by kind of action.", ["action"], registry=self.registry)
        self.is_leader = Gauge("coterie_leader", "1 if this replica acts, 0 if it stands by.", registry=self.registry)
        for state in JobState:
            self._jobs.labels(state.value).set(0)

    def saw(self, key: tuple[str, str], state: str) -> None:
        """Count a job under its present state."""
        self.forget(key)
        self._states[key] = state
        self._jobs.labels(state).inc()

    def forget(self, key: tuple[str, str]) -> None:
        """Stop counting a job that is gone."""
        former = self._states.pop(key, None)
        if former is not None:
            self._jobs.labels(former).dec()
