"""What happens on the pictures: real jobs of the example, some of which go wrong, and made-up privacy budgets."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CollectorRegistry, Gauge

from coterie_api.podconfig import Role
from coterie_operator.metrics import BudgetMetrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from monitoring.live.federation import Federation

ROUNDS: Final = 120
OTHER_ROUNDS: Final = 60
NOTE: Final = "Epsilon and budgets are made up: this version books none."
DOMAINS: Final = {"hospital-a": 0.62, "hospital-b": 0.3, "hospital-c": 0.93}  # share that is spent at the end
BUDGET: Final = 10.0
BOUND: Final = 8.0
PATIENCE_SECONDS: Final = 300


class MadeUp:
    """What the ledger and a job with privacy would tell: nothing books on them yet."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._budgets = BudgetMetrics(self.registry)
        labels = ["job_namespace", "job_name"]
        self._spent = Gauge("coterie_job_privacy_epsilon_spent", "Made up.", labels, registry=self.registry)
        self._bound = Gauge("coterie_job_privacy_epsilon_budget", "Made up.", labels, registry=self.registry)

    def tell(self, share: float) -> None:
        """Tell what would be spent after that share of the story."""
        for domain, spent in DOMAINS.items():
            self._budgets.saw((domain, "digits"), BUDGET * spent * (0.6 + 0.4 * share), BUDGET, is_diverged=False)
        self._spent.labels("research", "digits").set(BOUND * 0.7 * share**0.5)
        self._bound.labels("research", "digits").set(BOUND)


def play(federation: Federation, made_up: MadeUp) -> None:
    """Let one job go on, another start, one be broken and one be paused; take a client and an aggregator away."""

    def rounds(job: str) -> int:
        made_up.tell(min(1.0, int(_status(federation, "digits").get("round", 0)) / ROUNDS))
        return int(_status(federation, job).get("round", 0))

    federation.apply("paused", suspend=True)
    until(federation, lambda: rounds("digits") >= ROUNDS // 6)
    federation.apply("broken", task={"entrypoint": "digits_task:Digits", "parameters": {"hidden": -1}})
    until(federation, lambda: rounds("digits") >= ROUNDS // 4)
    federation.kill(Role.CLIENT, "digits", number=1)
    until(federation, lambda: rounds("digits") >= ROUNDS // 2)
    federation.apply("wider", rounds=OTHER_ROUNDS, task={"entrypoint": "digits_task:Digits", "parameters": {"hidden": 128}})
    until(federation, lambda: rounds("wider") >= OTHER_ROUNDS // 5)
    federation.kill(Role.AGGREGATOR, "wider")
    until(federation, lambda: rounds("digits") >= ROUNDS)
    until(federation, lambda: rounds("wider") >= OTHER_ROUNDS * 4 // 5)


def _status(federation: Federation, job: str) -> dict[str, Any]:
    found: dict[str, Any] = federation.job(job).get("status") or {}
    return found


def until(federation: Federation, holds: Callable[[], bool]) -> None:
    """Wait for something while the federation goes on."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        federation.check()
        if time.monotonic() > deadline:
            raise TimeoutError(f"the story didn't go on for {PATIENCE_SECONDS} s")
        time.sleep(0.3)
