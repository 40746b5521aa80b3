"""The four dashboards: all jobs, one job, privacy, the operator."""

from __future__ import annotations

from typing import Final

from monitoring.panels import DOMAIN, JOB, NAMESPACE, Board, Panel, Query, Row, Shape
from monitoring.rules import ACTIVE, BY_JOB, BYTES, MEAN_30M, REQUESTS

IN_NAMESPACE: Final = '{job_namespace=~"$namespace"}'
OF_JOB: Final = 'job_namespace=~"$namespace",job_name=~"$job"'
OF_DOMAIN: Final = '{domain=~"$domain"}'
BY_DOMAIN: Final = "by (domain_namespace, domain)"
EACH_JOB: Final = "{{job_namespace}}/{{job_name}}"
EACH_DOMAIN: Final = "{{domain_namespace}}/{{domain}}"
WINDOW: Final = "[$__rate_interval]"
ON_PUBLIC: Final = "Of the newest evaluated model, on public data."
PHASES: Final = "coterie_phase_duration_seconds"
SPENT: Final = f"max {BY_DOMAIN} (coterie_privacy_epsilon_spent{OF_DOMAIN})"
ALLOWED: Final = f"max {BY_DOMAIN} (coterie_privacy_epsilon_budget{OF_DOMAIN})"


def _of_jobs(name: str) -> str:
    return f"max {BY_JOB} (coterie_job_{name}{IN_NAMESPACE})"


def _of_job(name: str) -> str:
    return f"max {BY_JOB} (coterie_job_{name}{{{OF_JOB}}})"


def _rate(name: str, by: str) -> str:
    return f"sum by ({by}) (rate({name}{{{OF_JOB}}}{WINDOW}))"


def _quantile(share: float, name: str, selector: str = "", by: str = "") -> str:
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({name}_bucket{selector}{WINDOW})))"


FEDERATION: Final = Board(
    "coterie-federation",
    "Coterie / Federation",
    "All federated jobs.",
    (NAMESPACE,),
    (
        Row(
            "Overview",
            (
                Panel(
                    "Jobs by state",
                    "Of all namespaces.",
                    (Query("max by (state) (coterie_jobs)", "{{state}}"),),
                    shape=Shape.NUMBER,
                    width=12,
                ),
                Panel(
                    "Jobs at work",
                    "Admitted, not suspended and not over.",
                    (Query(f"count({ACTIVE}{IN_NAMESPACE}) or vector(0)", "at work"),),
                    shape=Shape.NUMBER,
                    width=6,
                ),
                Panel(
                    "Clients connected",
                    "Clients with a session at an aggregator.",
                    (Query(f"sum(coterie_clients_connected{IN_NAMESPACE}) or vector(0)", "clients"),),
                    shape=Shape.NUMBER,
                    width=6,
                ),
            ),
        ),
        Row(
            "Jobs",
            (
                Panel(
                    "Rounds done",
                    "Share of the rounds that each job asks for.",
                    (Query(f"{_of_jobs('rounds_done')} / ({_of_jobs('rounds')} > 0)", EACH_JOB),),
                    "percentunit",
                    Shape.BARS,
                ),
                Panel(
                    "Survivors",
                    "Share of the clients asked in the last round that are in its sum.",
                    (Query(f"{_of_jobs('survivors')} / ({_of_jobs('cohort_clients')} > 0)", EACH_JOB),),
                    "percentunit",
                ),
                Panel(
                    "Accuracy",
                    ON_PUBLIC,
                    (Query(_of_jobs("accuracy_ratio"), EACH_JOB),),
                    "percentunit",
                ),
                Panel("Round duration", "Mean of half an hour.", (Query(f"{MEAN_30M}{IN_NAMESPACE}", EACH_JOB),), "s"),
                Panel(
                    "Traffic",
                    "Between aggregators and clients, as the aggregator sees it.",
                    (Query(f"sum {BY_JOB} ({BYTES}{IN_NAMESPACE})", EACH_JOB),),
                    "Bps",
                ),
                Panel(
                    "Failed tries",
                    "Rounds that had to be repeated since too few survived, in an hour.",
                    (
                        Query(
                            f"sum {BY_JOB} (increase(coterie_round_attempts_total"
                            '{job_namespace=~"$namespace",outcome="TooFewSurvivors"}[1h]))',
                            EACH_JOB,
                        ),
                    ),
                ),
            ),
        ),
    ),
)

OF_ONE: Final = Board(
    "coterie-job",
    "Coterie / Job",
    "One federated job: progress, survivors, utility and privacy loss side by side, times and bytes.",
    (NAMESPACE, JOB),
    (
        Row(
            "Progress",
            (
                Panel(
                    "Conditions",
                    "1 while a condition is True.",
                    (Query(f'max by (condition) (coterie_job_condition{{{OF_JOB},status="True"}})', "{{condition}}"),),
                    shape=Shape.STATES,
                ),
                Panel("Rounds", "Done and asked for.", (Query(_of_job("rounds_done"), "done"), Query(_of_job("rounds"), "asked for"))),
                Panel(
                    "Cohort and survivors",
                    "Clients asked in the last round, and those in its sum.",
                    (Query(_of_job("cohort_clients"), "cohort"), Query(_of_job("survivors"), "survivors")),
                ),
                Panel(
                    "Drops",
                    "Clients that dropped, by phase and reason. No metric says which.",
                    (Query(f"sum by (phase, reason) (increase(coterie_drops_total{{{OF_JOB}}}{WINDOW}))", "{{phase}}: {{reason}}"),),
                ),
            ),
        ),
        Row(
            "Utility and privacy",
            (
                Panel(
                    "Accuracy",
                    ON_PUBLIC,
                    (Query(_of_job("accuracy_ratio"), "accuracy"),),
                    "percentunit",
                    width=8,
                ),
                Panel("Loss", ON_PUBLIC, (Query(_of_job("loss"), "loss"),), width=8),
                Panel(
                    "Epsilon",
                    "Privacy loss so far and its bound, at the job's delta; nothing where nothing bounds it.",
                    (Query(_of_job("privacy_epsilon_spent"), "spent"), Query(_of_job("privacy_epsilon_budget"), "bound")),
                    width=8,
                ),
                Panel(
                    "Update norm",
                    "Euclidean norm of the last mean update, which is released.",
                    (Query(f"max {BY_JOB} (coterie_update_norm{{{OF_JOB}}})", "norm"),),
                ),
                Panel(
                    "Clamped coordinates",
                    "Coordinates clamped to the ring in the last sum: if many, the scale is too fine.",
                    (Query(f"max {BY_JOB} (coterie_clamped_coordinates{{{OF_JOB}}})", "clamped"),),
                ),
            ),
        ),
        Row(
            "Time and bytes",
            (
                Panel(
                    "Round duration",
                    "Half of the rounds are shorter than the first, 95 % than the second.",
                    tuple(
                        Query(_quantile(share, "coterie_round_duration_seconds", f"{{{OF_JOB}}}"), name)
                        for share, name in ((0.5, "median"), (0.95, "95 %"))
                    ),
                    "s",
                ),
                Panel(
                    "Phase duration",
                    "Mean time in each phase.",
                    (
                        Query(
                            f"{_rate(f'{PHASES}_sum', 'phase')} / {_rate(f'{PHASES}_count', 'phase')}",
                            "{{phase}}",
                        ),
                    ),
                    "s",
                ),
                Panel(
                    "Traffic",
                    "Between the aggregator and its clients.",
                    (Query(_rate("coterie_transferred_bytes_total", "direction"), "{{direction}}"),),
                    "Bps",
                ),
                Panel(
                    "Tries by outcome",
                    "Rounds done and tries that failed.",
                    (Query(f"sum by (outcome) (increase(coterie_round_attempts_total{{{OF_JOB}}}{WINDOW}))", "{{outcome}}"),),
                ),
                Panel(
                    "Aggregator memory",
                    "Resident memory of the aggregator.",
                    (Query(f"max {BY_JOB} (process_resident_memory_bytes{{{OF_JOB}}})", "resident"),),
                    "bytes",
                ),
                Panel(
                    "Aggregator failures",
                    "Those that count against backoffLimit.",
                    (Query(_of_job("aggregator_failures"), "failures"),),
                ),
            ),
        ),
    ),
)

PRIVACY: Final = Board(
    "coterie-privacy",
    "Coterie / Privacy",
    "Privacy budgets by domain, and what jobs have spent.",
    (DOMAIN, NAMESPACE),
    (
        Row(
            "Domains",
            (
                Panel(
                    "Budget spent",
                    "Share of each domain's budget that is booked.",
                    (
                        Query(
                            f"{SPENT} / {ALLOWED}",
                            EACH_DOMAIN,
                        ),
                    ),
                    "percentunit",
                    Shape.BARS,
                ),
                Panel(
                    "Epsilon left",
                    "What each domain still allows.",
                    (
                        Query(
                            f"{ALLOWED} - {SPENT}",
                            EACH_DOMAIN,
                        ),
                    ),
                ),
                Panel(
                    "Ledgers that diverge",
                    "1 where a ledger and its entries disagree.",
                    (Query(f"max {BY_DOMAIN} (coterie_privacy_ledger_diverged{OF_DOMAIN})", EACH_DOMAIN),),
                    shape=Shape.STATES,
                    width=24,
                ),
            ),
        ),
        Row(
            "Jobs",
            (
                Panel("Epsilon spent by job", "At each job's own delta.", (Query(_of_jobs("privacy_epsilon_spent"), EACH_JOB),)),
                Panel(
                    "Jobs without a bound",
                    "Jobs whose privacy.mode is None: nothing bounds what their models tell.",
                    (
                        Query(
                            f"count({_of_jobs('rounds')} unless {_of_jobs('privacy_epsilon_budget')}) or vector(0)",
                            "jobs",
                        ),
                    ),
                    shape=Shape.NUMBER,
                ),
            ),
        ),
    ),
)

OPERATOR: Final = Board(
    "coterie-operator",
    "Coterie / Operator health",
    "The operator's replicas, their passes over jobs, and the API server.",
    (),
    (
        Row(
            "Replicas",
            (
                Panel(
                    "Leader",
                    "1 for the replica that acts.",
                    (Query("max by (instance) (coterie_leader)", "{{instance}}"),),
                    shape=Shape.STATES,
                ),
                Panel(
                    "Version",
                    "Replicas by version.",
                    (Query("count by (version, python) (coterie_build_info)", "{{version}}, Python {{python}}"),),
                    shape=Shape.NUMBER,
                    width=6,
                ),
                Panel(
                    "Watches not synced",
                    "Watches on children that have not yet seen all there is, or broke.",
                    (Query('sum by (kind) (coterie_watches{synced="false"})', "{{kind}}"),),
                    shape=Shape.NUMBER,
                    width=6,
                ),
                Panel(
                    "Memory",
                    "Resident memory.",
                    (Query("process_resident_memory_bytes and on (instance) coterie_leader", "{{instance}}"),),
                    "bytes",
                ),
                Panel(
                    "CPU",
                    "Cores in use.",
                    (Query(f"rate(process_cpu_seconds_total{WINDOW}) and on (instance) coterie_leader", "{{instance}}"),),
                ),
            ),
        ),
        Row(
            "Passes",
            (
                Panel(
                    "Pass duration",
                    "Half of the passes are shorter than the first, 99 % than the second.",
                    tuple(Query(_quantile(share, "coterie_reconcile_seconds"), name) for share, name in ((0.5, "median"), (0.99, "99 %"))),
                    "s",
                ),
                Panel(
                    "Errors",
                    "Passes that failed, by class of the error.",
                    (Query(f"sum by (reason) (rate(coterie_reconcile_errors_total{WINDOW}))", "{{reason}}"),),
                    "ops",
                ),
                Panel("Queue depth", "Jobs that are due and wait for a worker.", (Query("max(coterie_queue_depth)", "jobs"),)),
                Panel("Longest wait", "Of the job that is due longest.", (Query("max(coterie_queue_oldest_seconds)", "wait"),), "s"),
            ),
        ),
        Row(
            "API server",
            (
                Panel("Requests", "By verb and code.", (Query(REQUESTS, "{{verb}} {{code}}"),), "reqps"),
                Panel(
                    "Request duration",
                    "99 % are shorter.",
                    (Query(_quantile(0.99, "coterie_api_request_duration_seconds", by="verb"), "{{verb}}"),),
                    "s",
                ),
            ),
        ),
    ),
)

BOARDS: Final = (FEDERATION, OF_ONE, PRIVACY, OPERATOR)
