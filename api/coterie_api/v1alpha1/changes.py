"""Which changes of a stored object the API server refuses: the offline twin of the transition rules in the CRDs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from coterie_api.errors import FieldError
from coterie_api.fields import show
from coterie_api.shape import Kind, entries

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def refused_changes(cls: type, before: Mapping[str, Any], after: Mapping[str, Any], where: str = "spec") -> tuple[FieldError, ...]:
    """Return an error for each immutable field in which two stored JSON objects of `cls` differ, at any depth.

    Both must have gone through defaulting, as everything that is stored has.
    """
    return tuple(_refused(cls, before, after, where))


def _refused(cls: type, before: Mapping[str, Any], after: Mapping[str, Any], where: str) -> Iterator[FieldError]:
    for entry in entries(cls):
        old, new, path = before.get(entry.key), after.get(entry.key), f"{where}.{entry.key}"
        if entry.node.about.immutable and old != new:
            yield FieldError(path, show(new), f"{show(old)}: it can't be changed")
        elif entry.node.kind is Kind.OBJECT:
            yield from _refused(cast(type, entry.node.cls), old or {}, new or {}, path)
