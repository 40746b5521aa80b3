"""Every metric that the code registers, read off the registries themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from coterie_operator.metrics import OperatorMetrics, RequestMetrics
from coterie_worker.metrics import AggregatorMetrics

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.registry import Collector

PREFIX = "coterie_"


@dataclass(frozen=True, slots=True)
class Described:
    """One metric; `name` is a counter's with `_total`, a histogram's without `_bucket`."""

    name: str
    kind: str
    labels: tuple[str, ...]
    text: str

    @property
    def series(self) -> tuple[str, ...]:
        """The names under which Prometheus stores it."""
        return tuple(f"{self.name}_{part}" for part in ("bucket", "count", "sum")) if self.kind == "histogram" else (self.name,)


def operator() -> list[Described]:
    """Return the metrics of the operator."""
    metrics = OperatorMetrics()
    RequestMetrics().register(metrics.registry)
    return _described(metrics.registry)


def aggregator() -> list[Described]:
    """Return the metrics of an aggregator."""
    return _described(AggregatorMetrics().registry)


def _described(registry: CollectorRegistry) -> list[Described]:
    collectors: set[Collector] = set(registry._collector_to_names)  # noqa: SLF001 - the registry has no other list
    found = [_one(collector) for collector in collectors if hasattr(collector, "describe")]
    return sorted((each for each in found if each.name.startswith(PREFIX)), key=lambda each: each.name)


def _one(collector: Collector) -> Described:
    family = next(iter(collector.describe()))  # type: ignore[attr-defined]
    name = f"{family.name}_total" if family.type == "counter" else family.name
    return Described(name, family.type, tuple(getattr(collector, "_labelnames", ())), family.documentation)
