"""Ticks of an axis, and numbers with their units as Grafana writes them."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Final

STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
THOUSANDS: Final = ("", " K", " Mil", " Bil")
SUFFIX: Final = {"reqps": " req/s", "ops": " ops/s"}


def ticks(low: float, high: float, unit: str = "short", at_most: int = 5) -> list[float]:
    """Return values that are round in their unit, from at or below `low` to at or above `high`."""
    if high <= low:
        high = low + 1
    rough = (high - low) / max(at_most - 1, 1)
    whole = 1024 ** max(math.floor(math.log(high, 1024)), 0) if unit == "bytes" else 1
    size: float = 10.0 ** math.floor(math.log10(rough / whole)) * whole
    step = next(step * size for step in STEPS if step * size >= rough * 0.999)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


def written(value: float, unit: str) -> str:
    """Return a number with its unit."""
    match unit:
        case "percentunit":
            return f"{_short(value * 100)}%"
        case "s":
            return _duration(value)
        case "bytes":
            return _bytes(value, 1024, ("B", "KiB", "MiB", "GiB"))
        case "Bps":
            return _bytes(value, 1000, ("B/s", "kB/s", "MB/s", "GB/s"))
        case _:
            return _thousands(value) + SUFFIX.get(unit, "")


def clock(moment: float) -> str:
    """Return the time of a moment of the epoch."""
    return datetime.fromtimestamp(moment, UTC).strftime("%H:%M:%S")


def _short(value: float) -> str:
    """Return three digits, without zeros that say nothing."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _duration(value: float) -> str:
    if value == 0:
        return "0 s"
    if abs(value) < 0.001:
        return f"{_short(value * 1e6)} µs"
    if abs(value) < 1:
        return f"{_short(value * 1e3)} ms"
    if abs(value) < 60:
        return f"{_short(value)} s"
    return f"{_short(value / 60)} min" if abs(value) < 3600 else f"{_short(value / 3600)} hours"


def _bytes(value: float, thousand: int, names: tuple[str, ...]) -> str:
    power = 0
    while abs(value) >= thousand and power < len(names) - 1:
        value, power = value / thousand, power + 1
    return f"{_short(value)} {names[power]}"


def _thousands(value: float) -> str:
    power = 0
    while abs(value) >= 1000 and power < len(THOUSANDS) - 1:
        value, power = value / 1000, power + 1
    return f"{_short(value)}{THOUSANDS[power]}"
