"""What a dataclass says about its fields: the one source of parsing, defaults, validation and the OpenAPI schema.

A field is described by `Annotated[type, About("A sentence.", minimum=1)]`; a bare type works too. A class may add `RULES`,
each a CEL expression for the API server with a twin in Python for offline use, and `OPEN = True` where unknown keys are
not ours to judge (the metadata of Kubernetes).
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass
from enum import Enum, StrEnum
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints


@dataclass(frozen=True, slots=True)
class About:
    """What is said of one field: a sentence for people, and bounds that the schema and the parser both hold it to."""

    text: str = ""
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None  # exclusive minimum
    below: float | None = None  # exclusive maximum
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None  # in the common subset of RE2 and Python's re; anchored by hand
    pattern_says: str | None = None  # the pattern in words
    format: str | None = None  # of OpenAPI: int64, double, date-time
    min_items: int | None = None
    max_items: int | None = None
    keys: tuple[str, ...] = ()  # camelCase fields that make an element of the list unique
    unique: bool = False  # a list of scalars without repetition
    max_properties: int | None = None
    int_or_string: bool = False  # Kubernetes quantities: `cpu: 1` and `cpu: 500m`
    immutable: bool = False  # the API server refuses a change
    unchanged: str = "self == oldSelf"  # how CEL tells that it is the same


@dataclass(frozen=True, slots=True)
class Rule:
    """A law over several fields: in CEL for the API server, in Python for everyone else."""

    field: str  # camelCase path, relative to the object, of the field to blame
    cel: str
    message: str  # what is allowed, one sentence without a period
    holds: Callable[[Any], bool]


class Kind(Enum):
    """How a value looks in JSON."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    ENUM = "enum"
    LIST = "array"
    MAP = "map"
    OBJECT = "object"
    FREE = "free"


@dataclass(frozen=True, slots=True)
class Node:
    """The shape of a value: its kind, what is said about it, and what it is made of."""

    kind: Kind
    about: About
    cls: type | None = None  # of ENUM and OBJECT
    item: Node | None = None  # of LIST and MAP
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One field of a dataclass: its two names, its shape and its default."""

    name: str
    key: str
    node: Node
    default: Any  # MISSING when the field must be given

    @property
    def required(self) -> bool:
        return self.default is MISSING


SCALARS: dict[type, Kind] = {str: Kind.STRING, int: Kind.INTEGER, float: Kind.NUMBER, bool: Kind.BOOLEAN}
NOTHING = About()


def camel(name: str) -> str:
    """Return the camelCase of a snake_case name: `min_clients` → `minClients`."""
    head, *tail = name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in tail)


@cache
def entries(cls: type) -> tuple[Entry, ...]:
    """Return the fields of a dataclass in order. Raises TypeError for an annotation that has no JSON form."""
    hints = get_type_hints(cls, include_extras=True)
    return tuple(Entry(f.name, camel(f.name), node_of(hints[f.name]), _default(f)) for f in dataclasses.fields(cls))


def rules(cls: type) -> tuple[Rule, ...]:
    """Return the laws over several fields that `cls` declares."""
    declared: tuple[Rule, ...] = getattr(cls, "RULES", ())
    return declared


def is_open(cls: type) -> bool:
    """Return whether keys unknown to `cls` are somebody else's and are passed over."""
    return bool(getattr(cls, "OPEN", False))


def node_of(annotation: Any, about: About = NOTHING) -> Node:
    """Return the shape that a type annotation describes. Raises TypeError if it has none."""
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *notes = get_args(annotation)
        for note in reversed(notes):
            about = _merge(note, about) if isinstance(note, About) else about
        return node_of(inner, about)
    if origin in (Union, types.UnionType):
        return _optional(annotation, about)
    if origin is tuple:
        return Node(Kind.LIST, about, item=node_of(get_args(annotation)[0]))
    if origin is not None and issubclass(origin, Mapping):
        value = get_args(annotation)[1]
        return Node(Kind.FREE, about) if value is Any else Node(Kind.MAP, about, item=node_of(value))
    return _plain(annotation, about)


def _plain(annotation: Any, about: About) -> Node:
    if annotation in SCALARS:
        return Node(SCALARS[annotation], about)
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return Node(Kind.ENUM, about, cls=annotation)
    if dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
        return Node(Kind.OBJECT, about, cls=annotation)
    raise TypeError(f"{annotation!r} has no JSON form")


def _optional(annotation: Any, about: About) -> Node:
    inner = [arm for arm in get_args(annotation) if arm is not type(None)]
    if len(inner) != 1:
        raise TypeError(f"{annotation!r}: only X | None has a JSON form")
    return dataclasses.replace(node_of(inner[0], about), nullable=True)


def _merge(under: About, over: About) -> About:
    """Return `under` with whatever `over` says put on top: a field's own words win over those of its type."""
    said = {f.name: getattr(over, f.name) for f in dataclasses.fields(About) if getattr(over, f.name) != f.default}
    return dataclasses.replace(under, **said)


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default
