"""Messages as bytes, once more, for `second_party`: its own writer and reader of canonical CBOR, and the messages' shapes."""

from __future__ import annotations

from typing import Any

LIMIT = 8 * 2**20
ROSTER = 1024
SLOTS = 256


class Refused(Exception):
    """What the other implementation raises as an error of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def need(condition: object, name: str) -> None:
    if not condition:
        raise Refused(name)


# --- bytes ---------------------------------------------------------------------------------------------------------------


def dumps(value: Any) -> bytes:
    if isinstance(value, int):
        return head(0, value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    return head(4, len(value)) + b"".join(dumps(item) for item in value)


def head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes([major << 5 | number])
    size = next(size for size in (1, 2, 4, 8) if number < 256**size)
    return bytes([major << 5 | 23 + size.bit_length()]) + number.to_bytes(size, "big")


def loads(data: bytes) -> Any:
    need(len(data) <= LIMIT, "TooLarge")
    value, rest = item(data, 4)
    need(not rest, "NotCanonical")
    return value


def item(data: bytes, depth: int) -> tuple[Any, bytes]:
    need(data, "WrongLength")
    major, low, rest = data[0] >> 5, data[0] & 31, data[1:]
    need(low < 28, "NotCanonical")
    size = 0 if low < 24 else 2 ** (low - 24)
    need(len(rest) >= size, "WrongLength")
    number, rest = (int.from_bytes(rest[:size], "big"), rest[size:]) if size else (low, rest)
    need(size == 0 or len(head(0, number)) == size + 1, "NotCanonical")
    need(major in (0, 2, 4), "WrongType")
    if major == 0:
        return number, rest
    if major == 4:
        need(depth, "TooLarge")
    need(number <= len(rest), "WrongLength")
    if major == 2:
        return rest[:number], rest[number:]
    items = []
    for _ in range(number):
        one, rest = item(rest, depth - 1)
        items.append(one)
    return items, rest


NUMBER, INDEX = ("number", 2**63 - 1), ("number", ROSTER - 1)


def octets(low: int, high: int | None = None) -> tuple[str, int, int]:
    return "bytes", low, low if high is None else high


HASH, SIGNATURE = octets(32), octets(64)
PER_SLOT = octets(32, 32 * SLOTS)
SHAPES: dict[int, list[Any]] = {
    1: [NUMBER, NUMBER],
    2: [HASH, NUMBER, NUMBER, INDEX, HASH, PER_SLOT, PER_SLOT, octets(0, 32), SIGNATURE],
    3: [("many", octets(1, 64 * SLOTS + 512))],
    4: [HASH, ("many", [INDEX, octets(0, 66 * SLOTS + 16), octets(64, 64 * SLOTS)]), SIGNATURE],
    5: [HASH, ("many", [INDEX, octets(0, 66 * SLOTS + 16)])],
    6: [HASH, ("many", [INDEX, HASH]), SIGNATURE],
    7: [HASH, NUMBER, HASH, ("many", INDEX), NUMBER, NUMBER, HASH],
    8: [HASH, NUMBER, ("many", [INDEX, HASH, SIGNATURE])],
    9: [HASH, NUMBER, SIGNATURE],
    10: [HASH, NUMBER, ("many", [INDEX, SIGNATURE])],
    11: [HASH, NUMBER, ("many", [INDEX, octets(33)])],
    12: [HASH, NUMBER, NUMBER, INDEX, SIGNATURE],
    13: [HASH, HASH],
    14: [HASH, ("many", [INDEX, HASH])],
    15: [HASH, NUMBER, INDEX, ("many", HASH), SIGNATURE, ("many", [INDEX, octets(64, 64 * SLOTS), octets(33)])],
}


def read(data: bytes) -> tuple[int, list[Any]]:
    """Return a message's number and fields."""
    value = loads(data)
    need(isinstance(value, list) and len(value) >= 2, "WrongType")
    need(value[0] == 1, "UnknownVersion")
    need(isinstance(value[1], int) and value[1] in SHAPES, "UnknownMessage")
    shapes, values = SHAPES[value[1]], value[2:]
    need(len(shapes) == len(values), "WrongLength")
    for shape, one in zip(shapes, values, strict=True):
        check(shape, one)
    return value[1], values


def check(shape: Any, value: Any) -> None:
    if isinstance(shape, list):
        need(isinstance(value, list), "WrongType")
        need(len(value) == len(shape), "WrongLength")
        for column, cell in zip(shape, value, strict=True):
            check(column, cell)
    elif shape[0] == "number":
        need(isinstance(value, int), "WrongType")
        need(value <= shape[1], "OutOfRange")
    elif shape[0] == "bytes":
        need(isinstance(value, bytes), "WrongType")
        need(shape[1] <= len(value) <= shape[2], "WrongLength")
    else:
        need(isinstance(value, list), "WrongType")
        need(len(value) <= ROSTER, "TooLarge")
        for one in value:
            check(shape[1], one)
