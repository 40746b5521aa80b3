"""JSON merge patch (RFC 7386) over plain objects."""

from __future__ import annotations

import copy
from typing import Any


def merge(target: Any, patch: Any) -> Any:
    """Return `target` with `patch` applied; null removes a member (RFC 7386, section 2).

    Neither argument is changed; the result shares with `target` what `patch` does not touch.
    """
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge(result.get(name), value)
    return result
