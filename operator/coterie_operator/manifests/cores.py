"""How many threads a container computes with: one for each whole core that its node sets aside for it.

Not of its limit: threads that wait for each other do so busily, and on a node whose cores are promised twice that slows all of them
down: five clients on two cores took several times as long.
"""

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
    """Return the whole cores of a container's CPU request, at least one; None where it has none.

    A request that is no quantity gives None too: the API server refuses the pod, with its own words.
    """
    request = resources.get("requests", {}).get("cpu")
    found = _QUANTITY.fullmatch(str(request))
    if request is None or found is None:
        return None
    number, suffix = found.groups()
    scale = _MULTIPLIERS.get(suffix)
    return max(1, int(Decimal(number) * scale if scale is not None else Decimal(number + suffix)))
