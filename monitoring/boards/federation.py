"""All jobs."""

from __future__ import annotations

from typing import Final

from monitoring.boards.parts import ANY_IS_BAD, EACH_JOB, FIRING, IN_NAMESPACE, NO_EVALUATOR, ON_PUBLIC, number, of_jobs
from monitoring.panels import NAMESPACE, Board, Level, Limit, Panel, Query, Row, Shape
from monitoring.rules import ACTIVE, BY_JOB, BYTES, MEAN_30M

_OVERVIEW: Final = Row(
    "Overview",
    (
        number("Jobs by state", "Of all namespaces.", Query("max by (state) (coterie_jobs)", "{{state}}"), width=12, bad=("Failed",)),
        number(
            "At work",
            "Jobs that are admitted, not suspended and not over.",
            Query(f"count({ACTIVE}{IN_NAMESPACE}) or vector(0)", "jobs"),
        ),
        number(
            "Clients connected",
            "Clients with a session at an aggregator.",
            Query(f"sum(coterie_clients_connected{IN_NAMESPACE}) or vector(0)", "clients"),
        ),
        number(
            "Alerts firing",
            "Coterie's own, where its rules are loaded. Each has a runbook.",
            Query(f"count({FIRING}) or vector(0)", "alerts"),
            base=Level.GOOD,
            limits=ANY_IS_BAD,
        ),
    ),
)

_EVERY_JOB: Final = Panel(
    "Every job",
    "Click on a job to see all of it. A job that has ended stays here until it is deleted.",
    (
        Query(
            f"max by (job_namespace, job_name, condition) (coterie_job_condition{IN_NAMESPACE[:-1]},"
            'condition=~"Running|Suspended|Succeeded|Failed",status="True"}) == 1',
            "",  # its label is the column
        ),
        Query(of_jobs("rounds_done"), "rounds done"),
        Query(of_jobs("rounds"), "of"),
        Query(of_jobs("survivors"), "survivors"),
        Query(of_jobs("cohort_clients"), "of cohort"),
        Query(of_jobs("accuracy_ratio"), "accuracy", "percentunit"),
        Query(of_jobs("privacy_epsilon_spent"), "epsilon"),
        Query(f"time() - {of_jobs('last_round_timestamp_seconds')} and on (job_namespace, job_name) {ACTIVE}", "last progress", "s"),
        Query(of_jobs("aggregator_failures"), "failures"),
    ),
    shape=Shape.TABLE,
    width=24,
    quiet="there is no job",
    link="coterie-job",
)

_ALL_JOBS: Final = Row(
    "Progress",
    (
        Panel(
            "Rounds done",
            "Share of the rounds that each job asks for.",
            (Query(f"{of_jobs('rounds_done')} / ({of_jobs('rounds')} > 0)", EACH_JOB),),
            "percentunit",
            Shape.BARS,
            quiet="there is no job",
        ),
        Panel("Accuracy", ON_PUBLIC, (Query(of_jobs("accuracy_ratio"), EACH_JOB),), "percentunit", quiet=NO_EVALUATOR, is_from_zero=False),
        Panel(
            "Survivors",
            "Share of the clients asked in the last round that are in its sum.",
            (Query(f"{of_jobs('survivors')} / ({of_jobs('cohort_clients')} > 0)", EACH_JOB),),
            "percentunit",
            quiet="no round has been done",
        ),
        Panel(
            "Failed tries",
            "Rounds that had to be repeated since too few survived, in half an hour; three in a row end a job.",
            (
                Query(
                    f'sum {BY_JOB} (increase(coterie_round_attempts_total{{job_namespace=~"$namespace",outcome="TooFewSurvivors"}}[30m]))',
                    EACH_JOB,
                ),
            ),
            limits=(Limit(2, Level.BAD),),
            quiet="no job is running",
        ),
        Panel(
            "Round duration",
            "Mean of half an hour, of jobs that run.",
            (Query(f"{MEAN_30M}{IN_NAMESPACE}", EACH_JOB),),
            "s",
            quiet="no round has been done in this time",
        ),
        Panel(
            "Traffic",
            "Between aggregators and clients, as the aggregators see it.",
            (Query(f"sum {BY_JOB} ({BYTES}{IN_NAMESPACE})", EACH_JOB),),
            "Bps",
            quiet="no job is running",
        ),
    ),
)

FEDERATION: Final = Board(
    "coterie-federation", "Coterie / Federation", "All federated jobs.", (NAMESPACE,), (_OVERVIEW, Row("Jobs", (_EVERY_JOB,)), _ALL_JOBS)
)
