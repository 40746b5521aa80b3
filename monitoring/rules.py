"""Recording rules and alerts, as data. Alerts tell of symptoms that a person can act on; each has a runbook.

A standby replica of the operator has no series of jobs, and neither has one that led before: `max by` the job joins who is left.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import yaml

RUNBOOKS: Final = "https://github.com/coterie/coterie/blob/main/docs/runbooks"
BY_JOB: Final = "by (job_namespace, job_name)"
ACTIVE: Final = "job_name:coterie_job_active:max"
MEAN_30M: Final = "job_name:coterie_round_duration_seconds:mean30m"
MEAN_1D: Final = "job_name:coterie_round_duration_seconds:mean1d"
ERRORS: Final = "coterie:reconcile_errors:ratio_rate15m"
REQUESTS: Final = "verb_code:coterie_api_requests:rate5m"
BYTES: Final = "job_name_direction:coterie_transferred_bytes:rate5m"


class Severity(StrEnum):
    """Critical: wake somebody. Warning: somebody should look today."""

    CRITICAL = "critical"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Recording:
    """A series that is worked out beforehand; named level:metric:operations."""

    record: str
    expr: str

    def dump(self) -> dict[str, Any]:
        """Return the rule as Prometheus reads it."""
        return {"record": self.record, "expr": self.expr}


@dataclass(frozen=True, slots=True)
class Alert:
    """What to tell a person, and when. `lasting`: for how long it must hold."""

    alert: str
    expr: str
    lasting: str
    severity: Severity
    summary: str
    description: str

    def dump(self) -> dict[str, Any]:
        """Return the rule as Prometheus reads it."""
        annotations = {"summary": self.summary, "description": self.description, "runbook_url": f"{RUNBOOKS}/{self.alert}.md"}
        return {
            "alert": self.alert,
            "expr": self.expr,
            "for": self.lasting,
            "labels": {"severity": self.severity.value},
            "annotations": annotations,
        }


def _mean(window: str) -> str:
    total, count = (f"sum {BY_JOB} (rate(coterie_round_duration_seconds_{part}[{window}]))" for part in ("sum", "count"))
    return f"{total} / ({count} > 0)"


RECORDINGS: Final = (
    Recording(
        ACTIVE,
        f'max {BY_JOB} (coterie_job_condition{{condition="Admitted",status="True"}} == 1) unless on (job_namespace, job_name) '
        'coterie_job_condition{condition=~"Succeeded|Failed|Suspended",status="True"} == 1',
    ),
    Recording(MEAN_30M, _mean("30m")),
    Recording(MEAN_1D, _mean("1d")),
    Recording(
        ERRORS,  # a class of errors has no series before its first
        "(sum(rate(coterie_reconcile_errors_total[15m])) or vector(0)) / (sum(rate(coterie_reconcile_seconds_count[15m])) > 0)",
    ),
    Recording(REQUESTS, "sum by (verb, code) (rate(coterie_api_requests_total[5m]))"),
    Recording(BYTES, "sum by (job_namespace, job_name, direction) (rate(coterie_transferred_bytes_total[5m]))"),
)

JOB: Final = "{{ $labels.job_namespace }}/{{ $labels.job_name }}"
DOMAIN: Final = "{{ $labels.domain_namespace }}/{{ $labels.domain }}"

ALERTS: Final = (
    Alert(
        "FederatedJobStuck",
        # A round may be tried three times within its deadline each.
        f"time() - max {BY_JOB} (coterie_job_last_round_timestamp_seconds) "
        f"> clamp_min(3 * max {BY_JOB} (coterie_job_round_deadline_seconds), 900) and on (job_namespace, job_name) {ACTIVE}",
        "5m",
        Severity.WARNING,
        "A federated job makes no progress.",
        f"Job {JOB} is admitted and has finished no round for {{{{ $value | humanizeDuration }}}}.",
    ),
    Alert(
        "FederatedJobTooFewSurvivors",
        f'sum {BY_JOB} (increase(coterie_round_attempts_total{{outcome="TooFewSurvivors"}}[30m])) > 2',
        "0m",
        Severity.WARNING,
        "Rounds of a federated job end with too few survivors again and again.",
        f"Job {JOB} had to repeat a round {{{{ $value | humanize }}}} times in 30 minutes; three times in a row end the job.",
    ),
    Alert(
        "FederatedJobAggregatorRestarting",
        f"max {BY_JOB} (coterie_job_aggregator_failures - min_over_time(coterie_job_aggregator_failures[1h])) >= 2",
        "0m",
        Severity.WARNING,
        "The aggregator of a federated job fails again and again.",
        f"The aggregator of job {JOB} failed {{{{ $value }}}} times within an hour; at backoffLimit the job fails.",
    ),
    Alert(
        "FederatedJobRoundsSlow",
        f"{MEAN_30M} > 2 * {MEAN_1D} and {MEAN_30M} > 10",
        "15m",
        Severity.WARNING,
        "Rounds of a federated job take longer than usual.",
        f"Rounds of job {JOB} take {{{{ $value | humanizeDuration }}}} now, more than twice their mean of a day.",
    ),
    Alert(
        "FederatedJobEvaluatorSilent",
        # A model is half an hour old and newer than the last one evaluated, and no evaluation came meanwhile. `changes` alone says 0
        # of a series that is a minute old, and of a job whose rounds last longer; the model's age alone, of evaluations that lag.
        "coterie_rounds_done - coterie_evaluated_rounds > 0 and coterie_rounds_done offset 30m > coterie_evaluated_rounds "
        "and changes(coterie_evaluated_rounds[30m]) == 0",
        "10m",
        Severity.WARNING,
        "The evaluator of a federated job tells nothing.",
        f"Job {JOB} has {{{{ $value }}}} rounds whose models were not evaluated, and no evaluation came for 30 minutes.",
    ),
    Alert(
        "CoterieOperatorNotLeading",
        "(sum(coterie_leader) or vector(0)) == 0",
        "5m",
        Severity.CRITICAL,
        "No replica of the operator acts.",
        "No replica of the operator leads or none can be scraped: jobs are neither started, ended nor cleaned up. Running rounds go on.",
    ),
    Alert(
        "CoterieReconcileErrors",
        f"{ERRORS} > 0.1",
        "15m",
        Severity.WARNING,
        "The operator fails in many of its passes over jobs.",
        "{{ $value | humanizePercentage }} of the operator's passes fail.",
    ),
    Alert(
        "CoterieApiThrottled",
        f'sum({REQUESTS}{{code="429"}}) > 0.05',
        "15m",
        Severity.WARNING,
        "The API server refuses requests of the operator because there are too many.",
        "{{ $value | humanize }} requests in a second are answered with 429.",
    ),
    Alert(
        "CoteriePrivacyBudgetNearlySpent",
        "max by (domain_namespace, domain) (coterie_privacy_epsilon_spent) "
        "/ max by (domain_namespace, domain) (coterie_privacy_epsilon_budget) > 0.9",
        "0m",
        Severity.WARNING,
        "A privacy budget is nearly spent.",
        f"{{{{ $value | humanizePercentage }}}} of the budget of domain {DOMAIN} is spent; what is spent never comes back.",
    ),
    Alert(
        "CoteriePrivacyLedgerDiverged",
        "max by (domain_namespace, domain) (coterie_privacy_ledger_diverged) == 1",
        "0m",
        Severity.CRITICAL,
        "A privacy ledger and its entries disagree.",
        f"The ledger of domain {DOMAIN} says something else than its entries: somebody changed one of them.",
    ),
)


def document() -> dict[str, Any]:
    """Return the file of rules."""
    recordings, alerts = [rule.dump() for rule in RECORDINGS], [rule.dump() for rule in ALERTS]
    return {"groups": [{"name": "coterie.rules", "rules": recordings}, {"name": "coterie.alerts", "rules": alerts}]}


def text() -> str:
    """Return the file of rules as YAML."""
    return "# Written by `make dashboards` from monitoring/rules.py.\n" + yaml.safe_dump(document(), sort_keys=False, width=140)
