"""Merge patches (RFC 7386) between two statuses."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def merge_patch(old: Json, new: Json) -> Json:
    """Return the patch that turns `old` into `new`: changed members, null for members that are gone; lists are replaced whole."""
    gone: Json = {key: None for key in old if key not in new}
    changed = {key: _member(old.get(key), value) for key, value in new.items() if key not in old or old[key] != value}
    return {**gone, **changed}


def _member(old: Any, new: Any) -> Any:
    return merge_patch(old, new) if isinstance(old, dict) and isinstance(new, dict) else new
