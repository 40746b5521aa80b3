"""Expressions, limits and words that several dashboards share."""

from __future__ import annotations

from typing import Any, Final

from monitoring.panels import Level, Limit, Panel, Query, Shape
from monitoring.rules import BY_JOB

IN_NAMESPACE: Final = '{job_namespace=~"$namespace"}'
OF_JOB: Final = 'job_namespace="$namespace",job_name="$job"'
OF_DOMAIN: Final = '{domain=~"$domain"}'
BY_DOMAIN: Final = "by (domain_namespace, domain)"
EACH_JOB: Final = "{{job_namespace}}/{{job_name}}"
EACH_DOMAIN: Final = "{{domain_namespace}}/{{domain}}"
WINDOW: Final = "[$__rate_interval]"
ON_PUBLIC: Final = "Of the newest evaluated model, on public data."
PHASES: Final = "coterie_phase_duration_seconds"
SPENT: Final = f"max {BY_DOMAIN} (coterie_privacy_epsilon_spent{OF_DOMAIN})"
ALLOWED: Final = f"max {BY_DOMAIN} (coterie_privacy_epsilon_budget{OF_DOMAIN})"
FIRING: Final = 'ALERTS{alertname=~"Coterie.+|FederatedJob.+",alertstate="firing"}'
NO_EVALUATOR: Final = "no model has been evaluated"
UNBOUNDED: Final = "nothing bounds it"
NO_BUDGET: Final = "no domain has a budget"
ANY_IS_BAD: Final = (Limit(1, Level.BAD),)
NEARLY_SPENT: Final = (Limit(0.75, Level.WORTH_A_LOOK), Limit(0.9, Level.BAD))


def of_jobs(name: str) -> str:
    """Return a number of each job in the chosen namespaces, told by the operator."""
    return f"max {BY_JOB} (coterie_job_{name}{IN_NAMESPACE})"


def of_job(name: str) -> str:
    """Return a number of the chosen job, told by the operator."""
    return f"max {BY_JOB} (coterie_job_{name}{{{OF_JOB}}})"


def rate(name: str, by: str) -> str:
    """Return a counter's rate in the chosen job, told by its aggregator."""
    return f"sum by ({by}) (rate({name}{{{OF_JOB}}}{WINDOW}))"


def quantile(share: float, name: str, selector: str = "", by: str = "") -> str:
    """Return a quantile of a histogram of times; nothing, rather than NaN, where nothing was observed."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({name}_bucket{selector}{WINDOW}))) >= 0"


def number(title: str, text: str, *queries: Query, unit: str = "short", **more: Any) -> Panel:
    """Return a small panel with the newest number; `more` are fields of Panel."""
    return Panel(title, text, queries, unit, Shape.NUMBER, **{"width": 4, "height": 4, **more})
