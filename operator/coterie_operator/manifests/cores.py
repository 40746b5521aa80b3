"""How many threads a container may compute with: one for each whole core of its CPU limit."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(n|u|m||k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?[0-9]{1,2})")
_DECIMAL = {suffix: Decimal(10) ** power for suffix, power in zip(("n", "u", "m", "", *"kMGTPE"), range(-9, 19, 3), strict=True)}
_BINARY = {f"{letter}i": Decimal(2) ** (10 * power) for power, letter in enumerate("KMGTPE", 1)}
_MULTIPLIERS = {**_DECIMAL, **_BINARY}


def threads(resources: Mapping[str, Any]) -> int | None:
    """Return the whole cores of a container's CPU limit, at least one; None where nothing limits it.

    A limit that is no quantity gives None too: the API server refuses the pod, with its own words.
    """
    limit = resources.get("limits", {}).get("cpu")
    found = _QUANTITY.fullmatch(str(limit))
    if limit is None or found is None:
        return None
    number, suffix = found.groups()
    scale = _MULTIPLIERS.get(suffix)
    return max(1, int(Decimal(number) * scale if scale is not None else Decimal(number + suffix)))
