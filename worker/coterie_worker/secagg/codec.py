"""Canonical CBOR (RFC 8949 §4.2.1) of the three kinds of value that messages are made of: numbers, bytes, lists.

Encoding is cbor2's. Decoding is ours: a decoder that can only ever yield `int`, `bytes` and `list`, accepts exactly one
encoding of each value, and never allocates more than its input is long, is short enough to be read whole. (A general
decoder also follows tags: dates, regular expressions, shared references.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import cbor2

from coterie_worker.secagg.errors import NotCanonical, OutOfRange, TooLarge, WrongLength, WrongType

MAX_PAYLOAD_BYTES: Final = 8 * 1024 * 1024  # a dealing of 200 clients and 256 slots is 6.7 MB
MAX_DEPTH: Final = 4

Value = Any  # int | bytes | list[Value]; recursive, and checked by a Shape before anyone uses it
T = TypeVar("T")
Shape = Callable[[Value, str], T]  # (value, name of the field) -> the typed value, or a named error


def encode(value: Value) -> bytes:
    """Return the one canonical encoding of numbers, bytes, text (in hashed contexts) and sequences of them."""
    return cbor2.dumps(value, canonical=True)


def parse(payload: bytes) -> Value:
    """Return the value that `payload` encodes, refusing every encoding but the canonical one.

    Raises: TooLarge, NotCanonical, WrongLength, WrongType (all Malformed).
    """
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise TooLarge(f"message of {len(payload)} bytes, at most {MAX_PAYLOAD_BYTES} are allowed")
    value, end = _item(payload, 0, MAX_DEPTH)
    if end != len(payload):
        raise NotCanonical(f"{len(payload) - end} bytes follow the message")
    return value


def _item(payload: bytes, at: int, depth: int) -> tuple[Value, int]:
    major, number, at = _head(payload, at)
    match major:
        case 0:
            return number, at
        case 2:
            if number > len(payload) - at:
                raise WrongLength(f"message ends {number - len(payload) + at} bytes early")
            return payload[at : at + number], at + number
        case 4:
            return _list(payload, at, number, depth)
    raise WrongType(f"CBOR major type {major}, only numbers, bytes and lists are allowed")


def _list(payload: bytes, at: int, count: int, depth: int) -> tuple[list[Value], int]:
    if depth == 0:
        raise TooLarge(f"lists nested deeper than {MAX_DEPTH}")
    if count > len(payload) - at:
        raise WrongLength(f"list of {count} items in {len(payload) - at} bytes")
    items = []
    for _ in range(count):
        item, at = _item(payload, at, depth - 1)
        items.append(item)
    return items, at


def _head(payload: bytes, at: int) -> tuple[int, int, int]:
    if at >= len(payload):
        raise WrongLength("message ends early")
    major, info = payload[at] >> 5, payload[at] & 31
    at += 1
    if info < 24:
        return major, info, at
    if info > 27:
        raise NotCanonical("indefinite or reserved length")
    size = 1 << (info - 24)
    if at + size > len(payload):
        raise WrongLength("message ends early")
    number = int.from_bytes(payload[at : at + size])
    if number < (24 if size == 1 else 1 << (4 * size)):
        raise NotCanonical(f"{number} in {size} bytes has a shorter encoding")
    return major, number, at + size


def uint(most: int) -> Shape[int]:
    """A number in [0, most]."""

    def check(value: Value, where: str) -> int:
        if not isinstance(value, int):
            raise WrongType(f"{where}: a {type(value).__name__}, expected a number")
        if value > most:
            raise OutOfRange(f"{where}: {value}, at most {most} is allowed")
        return value

    return check


def octets(size: int, most: int | None = None) -> Shape[bytes]:
    """Bytes of exactly `size`, or of `size` to `most`."""

    def check(value: Value, where: str) -> bytes:
        if not isinstance(value, bytes):
            raise WrongType(f"{where}: a {type(value).__name__}, expected bytes")
        if not size <= len(value) <= (size if most is None else most):
            raise WrongLength(f"{where}: {len(value)} bytes, expected {size if most is None else f'{size} to {most}'}")
        return value

    return check


def many(item: Shape[T], most: int) -> Shape[tuple[T, ...]]:
    """A list of at most `most` items."""

    def check(value: Value, where: str) -> tuple[T, ...]:
        if not isinstance(value, list):
            raise WrongType(f"{where}: a {type(value).__name__}, expected a list")
        if len(value) > most:
            raise TooLarge(f"{where}: {len(value)} items, at most {most} are allowed")
        return tuple(item(entry, where) for entry in value)

    return check


def row(*columns: Shape[Any]) -> Shape[tuple[Any, ...]]:
    """A list of exactly these columns."""

    def check(value: Value, where: str) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise WrongType(f"{where}: a {type(value).__name__}, expected a list")
        if len(value) != len(columns):
            raise WrongLength(f"{where}: {len(value)} columns, expected {len(columns)}")
        return tuple(column(cell, where) for column, cell in zip(columns, value, strict=True))

    return check
