"""The layout of one flat float32 vector: which tensor lies where, and what is not in the vector.

    vector   | trainable parameters … | float buffers … |        size = trainable + buffers
    initial model only                                    frozen parameters, integer buffers (Kind.FIXED)

A tied parameter has one place in the vector; its other names are aliases. Offsets are derived, never stored, so that a
layout read from JSON can't contradict itself about them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from math import isfinite, prod
from typing import TYPE_CHECKING, Any, Final

from coterie_worker.layout.dtypes import CODES, FLOATS
from coterie_worker.layout.errors import InvalidLayout

if TYPE_CHECKING:
    from collections.abc import Iterable

FORMAT: Final = "coterie/v1/layout"
MAX_ELEMENTS: Final = 2**63 - 1  # as many as any library counts; a number far beyond could not even be printed


class Kind(StrEnum):
    """What the aggregator does with a tensor."""

    PARAMETER = "Parameter"  # in the vector; the server optimizer moves it
    BUFFER = "Buffer"  # in the vector; takes the mean, skips server optimizer and clipping
    FIXED = "Fixed"  # not in the vector; stays as the initial model has it


_ORDER: Final = {kind: position for position, kind in enumerate(Kind)}
_KINDS: Final = frozenset(kind.value for kind in Kind)


@dataclass(frozen=True, slots=True)
class Entry:
    """One name of the model's `state_dict`.

    `offset` counts elements from the start of the vector, -1 for FIXED; an alias has the offset of what it names.
    `minimum`, where given, is the least value that a buffer may have (0 for variances): the mean of quantized updates
    can fall a hair below, and a negative variance would make the model return NaN.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    kind: Kind
    alias_of: str = ""
    minimum: float | None = None
    offset: int = -1

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def end(self) -> int:
        return self.offset + self.size


@dataclass(frozen=True)  # no slots: cached properties
class Layout:
    """Where each tensor of a model lies in the vector. Made by `Layout.of` or `Layout.from_json`, which check it."""

    entries: tuple[Entry, ...]

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Layout:
        """The layout of `entries`: parameters, then buffers, then fixed ones, each in the order given.

        Raises:
            InvalidLayout: duplicate names, an alias of no entry or of another kind, a type that can't lie in the vector, a size beyond any.
        """
        ordered = sorted(entries, key=lambda entry: _ORDER[entry.kind])
        _check(ordered)
        return cls(_place(ordered))

    @classmethod
    def from_json(cls, text: bytes | str) -> Layout:
        """The layout that `to_json` wrote.

        Raises:
            InvalidLayout: not JSON, another format, or what `of` refuses.
        """
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:  # no UTF-8, no JSON, a number of thousands of digits; too deep
            raise InvalidLayout(f"not JSON ({type(error).__name__})") from None
        if not isinstance(document, dict) or document.get("format") != FORMAT or not isinstance(document.get("entries"), list):
            raise InvalidLayout(f"no document of format {FORMAT!r} with entries")
        return cls.of(_parse(entry) for entry in document["entries"])

    def to_json(self) -> bytes:
        """Canonical JSON: equal layouts give equal bytes."""
        document = {"format": FORMAT, "entries": [_dump(entry) for entry in self.entries]}
        return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    @cached_property
    def hash(self) -> bytes:
        """SHA-256 of `to_json`, 32 bytes."""
        return hashlib.sha256(self.to_json()).digest()

    @cached_property
    def trainable(self) -> int:
        """Length of the part that the server optimizer touches; it comes first."""
        return sum(entry.size for entry in self.entries if entry.kind is Kind.PARAMETER and not entry.alias_of)

    @cached_property
    def size(self) -> int:
        """Length of the vector."""
        return sum(entry.size for entry in self.in_vector)

    @cached_property
    def in_vector(self) -> tuple[Entry, ...]:
        """The entries that have a place of their own in the vector, in its order."""
        return tuple(entry for entry in self.entries if entry.kind is not Kind.FIXED and not entry.alias_of)

    @cached_property
    def fixed(self) -> tuple[Entry, ...]:
        """The entries that stay as the initial model has them, without aliases."""
        return tuple(entry for entry in self.entries if entry.kind is Kind.FIXED and not entry.alias_of)


def _place(ordered: list[Entry]) -> tuple[Entry, ...]:
    places: dict[str, int] = {}
    offset = 0
    for entry in ordered:
        if entry.kind is not Kind.FIXED and not entry.alias_of:
            places[entry.name] = offset
            offset += entry.size
    return tuple(replace(entry, offset=places.get(entry.alias_of or entry.name, -1)) for entry in ordered)


def _check(entries: list[Entry]) -> None:
    named: dict[str, Entry] = {}
    for entry in entries:
        if entry.name in named:
            raise InvalidLayout(f"tensor {entry.name!r} is listed twice")
        named[entry.name] = entry
        _check_entry(entry)
    for entry in entries:
        if entry.alias_of:
            _check_alias(entry, named.get(entry.alias_of))


def _check_entry(entry: Entry) -> None:
    if not entry.name:
        raise InvalidLayout("a tensor without a name")
    if any("\ud800" <= character <= "\udfff" for character in entry.name):
        raise InvalidLayout(f"tensor {entry.name!r}: half a surrogate pair, which is no text, in its name")
    if any(n < 0 for n in entry.shape):
        raise InvalidLayout(f"tensor {entry.name!r}: shape {list(entry.shape)} has a negative dimension")
    if max(entry.size, *entry.shape, 0) > MAX_ELEMENTS:
        raise InvalidLayout(f"tensor {entry.name!r}: more than {MAX_ELEMENTS} elements, or such a dimension")
    allowed = CODES.keys() if entry.kind is Kind.FIXED else FLOATS
    if entry.dtype not in allowed:
        raise InvalidLayout(f"tensor {entry.name!r}: {entry.kind} of dtype {entry.dtype!r}, allowed {', '.join(sorted(allowed))}")
    if entry.minimum is not None and entry.kind is not Kind.BUFFER:
        raise InvalidLayout(f"tensor {entry.name!r}: a {entry.kind} has a minimum, only buffers may")
    if entry.minimum is not None and not isfinite(entry.minimum):
        raise InvalidLayout(f"tensor {entry.name!r}: its minimum is {entry.minimum}, allowed are finite ones")


def _check_alias(entry: Entry, target: Entry | None) -> None:
    if target is None or target.alias_of:
        raise InvalidLayout(f"tensor {entry.name!r}: alias of {entry.alias_of!r}, which has no place of its own")
    if (entry.shape, entry.dtype, entry.kind, entry.minimum) != (target.shape, target.dtype, target.kind, target.minimum):
        raise InvalidLayout(f"tensor {entry.name!r}: differs from {entry.alias_of!r}, whose alias it is")


def _dump(entry: Entry) -> dict[str, Any]:
    document: dict[str, Any] = {"name": entry.name, "shape": list(entry.shape), "dtype": entry.dtype, "kind": entry.kind.value}
    if entry.alias_of:
        document["aliasOf"] = entry.alias_of
    if entry.minimum is not None:
        document["minimum"] = entry.minimum
    return document


def _parse(document: Any) -> Entry:
    match document:
        case {"name": str(name), "shape": [*shape], "dtype": str(dtype), "kind": str(kind)} if kind in _KINDS:
            alias_of, minimum = document.get("aliasOf", ""), document.get("minimum")
        case _:
            raise InvalidLayout("an entry lacks name, shape, dtype or kind, or has another type there")
    if not all(type(n) is int for n in shape) or not isinstance(alias_of, str) or not isinstance(minimum, float | None):
        raise InvalidLayout(f"tensor {name!r}: shape, aliasOf or minimum has another type")
    return Entry(name, tuple(shape), dtype, Kind(kind), alias_of, minimum)
