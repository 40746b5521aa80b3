"""All metrics of the data plane. No label: a process serves one job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Gauge, generate_latest

if TYPE_CHECKING:
    from coterie_api.progress import Progress

REGISTRY = CollectorRegistry()
GAUGES = {
    "rounds_done": Gauge("coterie_rounds_done", "Rounds whose sum was applied.", registry=REGISTRY),
    "rounds": Gauge("coterie_rounds", "Rounds of the job.", registry=REGISTRY),
    "slot": Gauge("coterie_slot", "Last slot opened.", registry=REGISTRY),
    "connected": Gauge("coterie_clients_connected", "Clients with a session.", registry=REGISTRY),
    "cohort": Gauge("coterie_cohort_clients", "Clients asked in the last round.", registry=REGISTRY),
    "survivors": Gauge("coterie_survivors", "Clients in the last sum.", registry=REGISTRY),
    "accuracy": Gauge("coterie_accuracy_ratio", "Of the last model evaluated, on public data.", registry=REGISTRY),
    "loss": Gauge("coterie_loss", "Of the last model evaluated, on public data.", registry=REGISTRY),
    "bytes_sent": Gauge("coterie_sent_bytes", "Bytes of frames sent to clients by this process.", registry=REGISTRY),
    "bytes_received": Gauge("coterie_received_bytes", "Bytes of frames received from clients by this process.", registry=REGISTRY),
    "round_seconds": Gauge("coterie_round_seconds", "Duration of the last round.", registry=REGISTRY),
    "clamped": Gauge("coterie_clamped_coordinates", "Coordinates clamped to the ring in the last sum.", registry=REGISTRY),
}


def exposition(progress: Progress) -> bytes:
    """The metrics of an aggregator, in Prometheus' text format."""
    for name, gauge in GAUGES.items():
        value = getattr(progress, name)
        gauge.set(float("nan") if value is None else value)
    return generate_latest(REGISTRY)
