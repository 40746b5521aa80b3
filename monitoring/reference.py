"""`docs/metrics.md`, made of the registries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitoring import registries

if TYPE_CHECKING:
    from collections.abc import Iterable

    from monitoring.registries import Described

HEAD = """\
# Metrics

Written by `make dashboards` from the code: change the code, not this page. `NaN` and absent series mean that there is no such number.

No metric names a client, a tenant or an update: of training only what is public or released is told. `job_namespace` and `job_name`
are those of the FederatedJob.

What a job's status holds the operator tells, also after the job's end and after its own restart, until the job is deleted: by
`ttlSecondsAfterFinished`, where that is set. While it runs, the aggregator tells some of these numbers too: never add the two up.
"""
OPERATOR = """
## Operator

Port 9090 of each replica; only the leader has series of jobs that are up to date. `coterie run` shows the same numbers.

Three have no series yet, since this version books no privacy budgets: `coterie_privacy_epsilon_spent`, `coterie_privacy_epsilon_budget`
and `coterie_privacy_ledger_diverged`; nor has `coterie_job_privacy_epsilon_spent`. Panels on them say so, and alerts on them stay silent.
An aggregator's `coterie_epsilon_spent` and `coterie_epsilon_left` are NaN likewise.
"""
AGGREGATOR = """
## Aggregator

Port 9090 of an aggregator's pod, while the job runs. A process serves one job, so no metric has a label for it: the chart's PodMonitor
writes `job_namespace` and `job_name` from the pod's labels. A scrape configuration of your own must do so too, for dashboards and rules.
Counters begin at 0 with each process.
"""
TAIL = """
Both have `process_cpu_seconds_total`, `process_resident_memory_bytes`, `process_start_time_seconds` and `process_open_fds` too.
"""


def page() -> str:
    """Return the page."""
    return HEAD + OPERATOR + _table(registries.operator()) + AGGREGATOR + _table(registries.aggregator()) + TAIL


def _table(metrics: Iterable[Described]) -> str:
    rows = [f"| `{each.name}` | {each.kind} | {_labels(each)} | {each.text} |" for each in metrics]
    return "\n".join(["", "| metric | kind | labels | what it is |", "| --- | --- | --- | --- |", *rows, ""])


def _labels(metric: Described) -> str:
    return " ".join(f"`{label}`" for label in metric.labels)
