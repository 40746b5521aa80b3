"""JSON ↔ frozen dataclasses, from what the classes say about themselves (`shape`).

Laws: `parse(cls, dump(x)) == x`; `dump` leaves out what is empty (None, "", (), {}) where empty is the default, and keeps
every other default, exactly as the API server stores the object after defaulting by the schema.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, TypeVar, cast

from coterie_api.errors import FieldError, InvalidObject
from coterie_api.shape import About, Entry, Kind, Node, entries, is_open, rules

T = TypeVar("T")

BAD: Final = object()  # stands for a value whose error has been noted
SHOWN: Final = 80  # characters of a found value that a message repeats
MAX_DEPTH: Final = 16  # of free JSON
LARGEST: Final = 1.0e308  # beyond it, a whole number has no float
SAFE_INTEGER: Final = 2**53  # above it, JSON readers of other languages round


def parse(cls: type[T], obj: Any, where: str = "spec", *, strict: bool = True) -> T:
    """Return the typed value of a JSON object, with defaults filled in.

    Args:
      cls: a dataclass, described or bare.
      obj: what a JSON or YAML reader returned.
      where: path of `obj`, put before each field's name in errors; may be empty for a whole object.
      strict: refuse unknown keys, with a guess at what was meant. The API server prunes them instead, and an older
        operator must read a newer object, so what comes from there is read with False.

    Raises:
      InvalidObject: with one FieldError for each field at fault.
    """
    reader = _Reader(strict)
    value = reader.read_object(cls, obj, where)
    if reader.errors:
        raise InvalidObject(tuple(reader.errors))
    return cast(T, value)


def dump(value: Any) -> dict[str, Any]:
    """Return the JSON object of a dataclass value, with camelCase keys."""
    cls: type = type(value)
    pairs = ((entry, getattr(value, entry.name)) for entry in entries(cls))
    plain = {entry.key: _plain(inner) for entry, inner in pairs if not (_is_empty(inner) and _is_empty(entry.default))}
    return {key: inner for key, inner in plain.items() if not (inner == {} and _rests(cls, key))}


def canonical(value: Any) -> bytes:
    """Return the one JSON text of `value`: sorted keys, no spaces, shortest numbers (1.0 is 1), UTF-8."""
    return json.dumps(_shortest(dump(value)), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


class _Reader:
    """One pass over one object; collects errors instead of stopping at the first."""

    def __init__(self, strict: bool) -> None:
        self.strict = strict
        self.errors: list[FieldError] = []

    def read(self, node: Node, obj: Any, where: str) -> Any:
        return READERS[node.kind](self, node, obj, where)

    def read_object(self, cls: type, obj: Any, where: str) -> Any:
        if not isinstance(obj, Mapping):
            return self.fail(where, obj, "an object")
        known = entries(cls)
        values = {entry.name: self._read_entry(entry, obj, where) for entry in known}
        if self.strict and not is_open(cls):
            self._refuse_unknown(obj, [entry.key for entry in known], where)
        if any(value is BAD for value in values.values()):
            return BAD
        return self._hold_to_rules(cls(**values), where)

    def _read_entry(self, entry: Entry, obj: Mapping[str, Any], where: str) -> Any:
        raw = obj.get(entry.key)
        path = _join(where, entry.key)
        if raw is not None:
            return self.read(entry.node, raw, path)
        if not entry.required:
            return entry.default
        if entry.node.nullable and entry.key in obj:
            return None
        return self.fail(path, None, words_for(entry.node))

    def _refuse_unknown(self, obj: Mapping[str, Any], known: Sequence[str], where: str) -> None:
        for key in obj:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(known)}"
                self.errors.append(FieldError(_join(where, str(key)), "an unknown field", hint))

    def _hold_to_rules(self, value: Any, where: str) -> Any:
        broken = [rule for rule in rules(type(value)) if not rule.holds(value)]
        for rule in broken:
            path = _join(where, rule.field) if rule.field else where
            self.fail(path, look_up(dump(value), rule.field), rule.message)
        return BAD if broken else value

    def fail(self, where: str, found: Any, allowed: str) -> Any:
        self.errors.append(FieldError(where or "object", show(found), allowed))
        return BAD

    def read_string(self, node: Node, obj: Any, where: str) -> Any:
        if node.about.int_or_string and isinstance(obj, int | float) and not isinstance(obj, bool):
            obj = json.dumps(obj)
        if not isinstance(obj, str) or not _text_fits(node.about, obj):
            return self.fail(where, obj, words_for(node))
        return obj

    def read_integer(self, node: Node, obj: Any, where: str) -> Any:
        if isinstance(obj, bool) or not isinstance(obj, int) or not _number_fits(node.about, obj):
            return self.fail(where, obj, words_for(node))
        return obj

    def read_number(self, node: Node, obj: Any, where: str) -> Any:
        if isinstance(obj, bool) or not isinstance(obj, int | float):
            return self.fail(where, obj, words_for(node))
        if abs(obj) > LARGEST or not math.isfinite(obj) or not _number_fits(node.about, obj):
            return self.fail(where, obj, words_for(node))
        return float(obj)

    def read_boolean(self, node: Node, obj: Any, where: str) -> Any:
        return obj if isinstance(obj, bool) else self.fail(where, obj, words_for(node))

    def read_enum(self, node: Node, obj: Any, where: str) -> Any:
        cls = cast(type[StrEnum], node.cls)
        return cls(obj) if isinstance(obj, str) and obj in set(cls) else self.fail(where, obj, words_for(node))

    def read_list(self, node: Node, obj: Any, where: str) -> Any:
        if not isinstance(obj, list | tuple) or not _count_fits(node.about, len(obj)):
            return self.fail(where, obj, words_for(node))
        item = cast(Node, node.item)
        values = tuple(self.read(item, raw, f"{where}[{index}]") for index, raw in enumerate(obj))
        return BAD if any(value is BAD for value in values) else self._refuse_repeats(node, values, where)

    def _refuse_repeats(self, node: Node, values: tuple[Any, ...], where: str) -> Any:
        about = node.about
        if not about.keys and not about.unique:
            return values
        seen: list[Any] = []
        for index, value in enumerate(values):
            key = {name: dump(value).get(name) for name in about.keys} if about.keys else value
            if key in seen:
                return self.fail(f"{where}[{index}]", key, f"no two elements with the same {' and '.join(about.keys) or 'value'}")
            seen.append(key)
        return values

    def read_map(self, node: Node, obj: Any, where: str) -> Any:
        if not isinstance(obj, Mapping) or not _size_fits(node.about, obj) or not all(isinstance(key, str) for key in obj):
            return self.fail(where, obj, words_for(node))
        values = {key: self.read(cast(Node, node.item), raw, f"{where}.{key}") for key, raw in obj.items()}
        return BAD if any(value is BAD for value in values.values()) else values

    def read_free(self, node: Node, obj: Any, where: str) -> Any:
        if not isinstance(obj, Mapping) or not _size_fits(node.about, obj) or not _is_json(obj):
            return self.fail(where, obj, words_for(node))
        return {key: _as_stored(value) for key, value in obj.items() if value is not None}

    def read_nested(self, node: Node, obj: Any, where: str) -> Any:
        return self.read_object(cast(type, node.cls), obj, where)


READERS: Final[dict[Kind, Callable[[_Reader, Node, Any, str], Any]]] = {
    Kind.STRING: _Reader.read_string,
    Kind.INTEGER: _Reader.read_integer,
    Kind.NUMBER: _Reader.read_number,
    Kind.BOOLEAN: _Reader.read_boolean,
    Kind.ENUM: _Reader.read_enum,
    Kind.LIST: _Reader.read_list,
    Kind.MAP: _Reader.read_map,
    Kind.FREE: _Reader.read_free,
    Kind.OBJECT: _Reader.read_nested,
}


def show(found: Any) -> str:
    """Return a found value as one short line."""
    if found is None:
        return "nothing"
    try:
        text = json.dumps(found, ensure_ascii=False, default=str)
    except (TypeError, ValueError):
        text = repr(found)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def look_up(obj: Any, path: str) -> Any:
    """Return what lies at a dotted path of a JSON object, None if nothing does."""
    for key in path.split(".") if path else ():
        obj = obj.get(key) if isinstance(obj, Mapping) else None
    return obj


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _text_fits(about: About, text: str) -> bool:
    shortest, longest = about.min_length or 0, about.max_length
    if len(text) < shortest or (longest is not None and len(text) > longest):
        return False
    return (
        about.pattern is None
        or re.search(about.pattern.removesuffix("$") + r"\Z" if about.pattern.endswith("$") else about.pattern, text) is not None
    )


def _number_fits(about: About, number: float) -> bool:
    bounds = (
        about.minimum is None or number >= about.minimum,
        about.maximum is None or number <= about.maximum,
        about.above is None or number > about.above,
        about.below is None or number < about.below,
    )
    return all(bounds)


def _count_fits(about: About, count: int) -> bool:
    return (about.min_items or 0) <= count and (about.max_items is None or count <= about.max_items)


def _size_fits(about: About, obj: Mapping[str, Any]) -> bool:
    return about.max_properties is None or len(obj) <= about.max_properties


def _is_json(obj: Any, depth: int = 0) -> bool:
    if depth > MAX_DEPTH:
        return False
    if isinstance(obj, Mapping):
        return all(isinstance(key, str) and _is_json(value, depth + 1) for key, value in obj.items())
    if isinstance(obj, list | tuple):
        return all(_is_json(value, depth + 1) for value in obj)
    if isinstance(obj, int | float):
        return abs(obj) <= LARGEST and math.isfinite(obj)
    return obj is None or isinstance(obj, str)


def _as_stored(obj: Any) -> Any:
    """Return free JSON as the API server would keep it, so that a task sees the same values wherever its manifest comes from.

    1.0 becomes 1, and a whole number beyond 64 bits becomes a float.
    """
    if isinstance(obj, Mapping):
        return {key: _as_stored(value) for key, value in obj.items()}
    if isinstance(obj, list | tuple):
        return [_as_stored(value) for value in obj]
    if isinstance(obj, int) and not isinstance(obj, bool) and not -(2**63) <= obj < 2**63:
        return float(obj)
    return _shortest(obj)


def words_for(node: Node) -> str:
    """Return what a node allows, in words."""
    about = node.about
    match node.kind:
        case Kind.ENUM:
            return "one of " + ", ".join(str(member) for member in cast(type[StrEnum], node.cls))
        case Kind.STRING:
            return _allowed_text(about)
        case Kind.INTEGER | Kind.NUMBER:
            return _allowed_number(about, "a whole number" if node.kind is Kind.INTEGER else "a number")
        case Kind.BOOLEAN:
            return "true or false"
        case Kind.LIST:
            most = f"at most {about.max_items}" if about.max_items is not None else "any number of"
            return f"a list of at least {about.min_items or 0} and {most} elements"
        case _:
            return "an object" if about.max_properties is None else f"an object of at most {about.max_properties} JSON values by name"


def _allowed_text(about: About) -> str:
    words = about.pattern_says or (f"text that matches {about.pattern}" if about.pattern else "text")
    return words if about.max_length is None else f"{words}, at most {about.max_length} characters"


def _allowed_number(about: About, words: str) -> str:
    bounds = (("from", about.minimum), ("above", about.above), ("to", about.maximum), ("below", about.below))
    return " ".join([words, *(f"{word} {bound:.12g}" for word, bound in bounds if bound is not None)])


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str | tuple | Mapping) and len(value) == 0)


def _rests(cls: type, key: str) -> bool:
    """Whether the field is an object that may be absent: then one without content needs no braces."""
    return any(
        entry.key == key and entry.node.kind is Kind.OBJECT and not entry.required and not entry.node.nullable for entry in entries(cls)
    )


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return dump(value)
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, StrEnum) else value


def _shortest(obj: Any) -> Any:
    if isinstance(obj, dict):
        return {key: _shortest(value) for key, value in obj.items()}
    if isinstance(obj, list):
        return [_shortest(value) for value in obj]
    is_whole = isinstance(obj, float) and obj.is_integer() and abs(obj) < SAFE_INTEGER
    return int(obj) if is_whole else obj
