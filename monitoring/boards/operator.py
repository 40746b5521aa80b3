"""The operator's health."""

from __future__ import annotations

from typing import Final

from monitoring.boards.parts import WINDOW, number, quantile
from monitoring.panels import Board, Level, Limit, Panel, Query, Row, Shape
from monitoring.rules import ERRORS, REQUESTS

OPERATOR: Final = Board(
    "coterie-operator",
    "Coterie / Operator health",
    "The operator's replicas, their passes over jobs, and the API server.",
    (),
    (
        Row(
            "Replicas",
            (
                number(
                    "Leaders",
                    "Replicas that act: one.",
                    Query("sum(coterie_leader) or vector(0)", "leaders"),
                    base=Level.BAD,
                    limits=(Limit(1, Level.GOOD), Limit(2, Level.BAD)),
                ),
                number(
                    "Version",
                    "Replicas by version: more than one only during an upgrade.",
                    Query("count by (version, python) (coterie_build_info)", "{{version}}, Python {{python}}"),
                    width=6,
                ),
                number(
                    "Failing passes",
                    "Share of passes over jobs that failed, of a quarter of an hour.",
                    Query(ERRORS, "failing"),
                    unit="percentunit",
                    base=Level.GOOD,
                    limits=(Limit(0.02, Level.WORTH_A_LOOK), Limit(0.1, Level.BAD)),
                    quiet="no pass was made",
                ),
                number(
                    "Watches not synced",
                    "Watches that have not yet seen all there is; those on children also if they broke.",
                    Query('sum by (kind) (coterie_watches{synced="false"})', "{{kind}}"),
                    width=10,
                    base=Level.GOOD,
                    limits=(Limit(1, Level.WORTH_A_LOOK),),
                ),
                Panel(
                    "Leader",
                    "When which replica acted.",
                    (Query("max by (instance) (coterie_leader)", "{{instance}}"),),
                    shape=Shape.STATES,
                    width=8,
                    limits=(Limit(1, Level.GOOD),),
                ),
                Panel(
                    "Memory",
                    "Resident memory.",
                    (Query("process_resident_memory_bytes and on (instance) coterie_leader", "{{instance}}"),),
                    "bytes",
                    width=8,
                ),
                Panel(
                    "CPU",
                    "Cores in use.",
                    (Query(f"rate(process_cpu_seconds_total{WINDOW}) and on (instance) coterie_leader", "{{instance}}"),),
                    width=8,
                ),
            ),
        ),
        Row(
            "Passes",
            (
                Panel(
                    "Pass duration",
                    "Half of the passes are shorter than the first, 99 % than the second.",
                    tuple(Query(quantile(share, "coterie_reconcile_seconds"), name) for share, name in ((0.5, "median"), (0.99, "99 %"))),
                    "s",
                    quiet="no pass was made in this time",
                ),
                Panel("Passes", "Over jobs.", (Query(f"sum(rate(coterie_reconcile_seconds_count{WINDOW}))", "passes"),), "ops"),
                Panel(
                    "Errors",
                    "Passes that failed, by class of the error. Each is repeated.",
                    (Query(f"sum by (reason) (rate(coterie_reconcile_errors_total{WINDOW})) > 0", "{{reason}}"),),
                    "ops",
                    width=8,
                    quiet="no pass has failed",
                ),
                Panel("Queue depth", "Jobs that are due and wait for a worker.", (Query("max(coterie_queue_depth)", "jobs"),), width=8),
                Panel(
                    "Longest wait", "Of the job that is due longest.", (Query("max(coterie_queue_oldest_seconds)", "wait"),), "s", width=8
                ),
            ),
        ),
        Row(
            "API server",
            (
                Panel(
                    "Requests",
                    "By verb and code; 429 is throttling, none is no answer.",
                    (Query(REQUESTS, "{{verb}} {{code}}"),),
                    "reqps",
                ),
                Panel(
                    "Request duration",
                    "99 % are shorter.",
                    (Query(quantile(0.99, "coterie_api_request_duration_seconds", by="verb"), "{{verb}}"),),
                    "s",
                    quiet="nothing was asked in this time",
                ),
            ),
        ),
    ),
)
