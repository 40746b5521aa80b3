"""One job."""

from __future__ import annotations

from typing import Final

from monitoring.boards.parts import NO_EVALUATOR, OF_JOB, ON_PUBLIC, PHASES, UNBOUNDED, WINDOW, number, of_job, quantile, rate
from monitoring.panels import ONE_JOB, ONE_NAMESPACE, Board, Level, Limit, Panel, Query, Row, Shape
from monitoring.rules import BY_JOB

_STARTED: Final = of_job("start_timestamp_seconds")
_ENDED: Final = of_job("completion_timestamp_seconds")

_SUMMARY: Final = Row(
    "Summary",
    (
        number("Rounds done", "Rounds whose sum was applied.", Query(of_job("rounds_done"), "rounds")),
        number("Survivors", "Clients in the last sum.", Query(of_job("survivors"), "clients")),
        number("Accuracy", ON_PUBLIC, Query(of_job("accuracy_ratio"), "accuracy"), unit="percentunit", quiet=NO_EVALUATOR),
        number(
            "Epsilon left",
            "What the job's own bound still allows, at its delta.",
            Query(f"{of_job('privacy_epsilon_budget')} - {of_job('privacy_epsilon_spent')}", "left"),
            quiet=UNBOUNDED,
        ),
        number(
            "Time",
            "Since the job first started its pods, until now or its end.",
            Query(f"({_ENDED} or {_STARTED} * 0 + time()) - {_STARTED}", "time"),
            unit="s",
            quiet="not started",
        ),
        number(
            "Bytes",
            "Of frames to and from clients, by the aggregator's last process.",
            Query(f"sum {BY_JOB} (max by (job_namespace, job_name, direction) (coterie_job_transferred_bytes{{{OF_JOB}}}))", "bytes"),
            unit="bytes",
        ),
    ),
)

_PROGRESS: Final = Row(
    "Progress",
    (
        Panel(
            "Conditions",
            "When each condition was True.",
            (Query(f'max by (condition) (coterie_job_condition{{{OF_JOB},status="True"}})', "{{condition}}"),),
            shape=Shape.STATES,
            base=Level.NEUTRAL,
            limits=(Limit(1, Level.GOOD),),
            bad=("Failed",),
        ),
        Panel("Rounds", "Done and asked for.", (Query(of_job("rounds_done"), "done"), Query(of_job("rounds"), "asked for"))),
    ),
)

_UTILITY: Final = Row(
    "Survivors, utility and privacy",
    (
        Panel(
            "Survivors",
            "Clients asked in the last round, and those in its sum.",
            (Query(of_job("cohort_clients"), "cohort"), Query(of_job("survivors"), "survivors")),
            width=6,
        ),
        Panel(
            "Accuracy",
            ON_PUBLIC,
            (Query(of_job("accuracy_ratio"), "accuracy"),),
            "percentunit",
            width=6,
            quiet=NO_EVALUATOR,
            is_from_zero=False,
        ),
        Panel("Loss", ON_PUBLIC, (Query(of_job("loss"), "loss"),), width=6, quiet=NO_EVALUATOR, is_from_zero=False),
        Panel(
            "Epsilon",
            "Privacy loss so far and its bound, at the job's delta.",
            (Query(of_job("privacy_epsilon_spent"), "spent"), Query(of_job("privacy_epsilon_budget"), "bound")),
            width=6,
            quiet=UNBOUNDED,
        ),
        Panel(
            "Drops",
            "Clients that dropped, by phase and reason. No metric says which.",
            (Query(f"sum by (phase, reason) (increase(coterie_drops_total{{{OF_JOB}}}{WINDOW})) > 0", "{{phase}}: {{reason}}"),),
            width=8,
            quiet="no client has dropped",
        ),
        Panel(
            "Update norm",
            "Euclidean norm of the last mean update, which is released: it falls as training converges.",
            (Query(of_job("update_norm"), "norm"),),
            width=8,
            quiet="no round has been done",
        ),
        Panel(
            "Clamped coordinates",
            "Coordinates clamped to the ring in the last sum: if many, the scale is too fine.",
            (Query(of_job("clamped_coordinates"), "clamped"),),
            width=8,
        ),
    ),
)

_TIMES: Final = Row(
    "Time and bytes",
    (
        Panel(
            "Round duration",
            "Half of the rounds are shorter than the first, 95 % than the second.",
            tuple(
                Query(quantile(share, "coterie_round_duration_seconds", f"{{{OF_JOB}}}"), name)
                for share, name in ((0.5, "median"), (0.95, "95 %"))
            ),
            "s",
            quiet="no round has been done in this time",
        ),
        Panel(
            "Phase duration",
            "Mean time in each phase.",
            (Query(f"{rate(f'{PHASES}_sum', 'phase')} / ({rate(f'{PHASES}_count', 'phase')} > 0)", "{{phase}}"),),
            "s",
            quiet="no round has been done in this time",
        ),
        Panel(
            "Traffic",
            "Between the aggregator and its clients.",
            (Query(rate("coterie_transferred_bytes_total", "direction"), "{{direction}}"),),
            "Bps",
            quiet="the aggregator isn't running",
        ),
        Panel(
            "Tries by outcome",
            "Rounds done and tries that failed.",
            (Query(f"sum by (outcome) (increase(coterie_round_attempts_total{{{OF_JOB}}}{WINDOW}))", "{{outcome}}"),),
            bad=("TooFewSurvivors",),
            quiet="the aggregator isn't running",
        ),
        Panel(
            "Aggregator memory",
            "Resident memory of the aggregator.",
            (Query(f"max {BY_JOB} (process_resident_memory_bytes{{{OF_JOB}}})", "resident"),),
            "bytes",
            quiet="the aggregator isn't running",
        ),
        Panel(
            "Aggregator failures",
            "Those that count against backoffLimit.",
            (Query(of_job("aggregator_failures"), "failures"),),
        ),
    ),
)

OF_ONE: Final = Board(
    "coterie-job",
    "Coterie / Job",
    "One federated job: progress, survivors, utility and privacy loss side by side, times and bytes.",
    (ONE_NAMESPACE, ONE_JOB),
    (_SUMMARY, _PROGRESS, _UTILITY, _TIMES),
)
