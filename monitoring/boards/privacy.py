"""Privacy budgets and what jobs have spent."""

from __future__ import annotations

from typing import Final

from monitoring.boards.parts import (
    ALLOWED,
    ANY_IS_BAD,
    BY_DOMAIN,
    EACH_DOMAIN,
    EACH_JOB,
    NEARLY_SPENT,
    NO_BUDGET,
    OF_DOMAIN,
    SPENT,
    number,
    of_jobs,
)
from monitoring.panels import DOMAIN, NAMESPACE, Board, Level, Panel, Query, Row, Shape

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
                    (Query(f"{SPENT} / {ALLOWED}", EACH_DOMAIN),),
                    "percentunit",
                    Shape.BARS,
                    base=Level.GOOD,
                    limits=NEARLY_SPENT,
                    quiet=NO_BUDGET,
                ),
                Panel(
                    "Epsilon left",
                    "What each domain still allows. What is spent never comes back.",
                    (Query(f"{ALLOWED} - {SPENT}", EACH_DOMAIN),),
                    quiet=NO_BUDGET,
                ),
                Panel(
                    "Ledgers that diverge",
                    "When a ledger and its entries disagreed: somebody changed one of them.",
                    (Query(f"max {BY_DOMAIN} (coterie_privacy_ledger_diverged{OF_DOMAIN})", EACH_DOMAIN),),
                    shape=Shape.STATES,
                    width=24,
                    height=5,
                    base=Level.GOOD,
                    limits=ANY_IS_BAD,
                    quiet=NO_BUDGET,
                ),
            ),
        ),
        Row(
            "Jobs",
            (
                number(
                    "Jobs without a bound",
                    "Jobs whose privacy.mode is None: nothing bounds what their models tell.",
                    Query(f"count({of_jobs('rounds')} unless {of_jobs('privacy_epsilon_budget')}) or vector(0)", "jobs"),
                    width=6,
                    height=8,
                ),
                number(
                    "Jobs with a bound",
                    "Jobs that bound their privacy loss.",
                    Query(f"count({of_jobs('privacy_epsilon_budget')}) or vector(0)", "jobs"),
                    width=6,
                    height=8,
                ),
                Panel(
                    "Epsilon spent by job",
                    "At each job's own delta.",
                    (Query(of_jobs("privacy_epsilon_spent"), EACH_JOB),),
                    quiet="no job bounds it",
                ),
            ),
        ),
    ),
)
