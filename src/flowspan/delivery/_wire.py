"""
Protobuf's wire format, as much of it as OTLP's trace messages use.

Writing is a matter of tags and lengths; reading yields the fields of one message as slices of it.
Holds no name of OTLP's; what it reads may be anything, and anything malformed is a ValueError.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

VARINT: Final = 0
FIXED64: Final = 1
BYTES: Final = 2
FIXED32: Final = 5

_MAX_VARINT: Final = 10  # bytes: 64 bits, seven in each


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


# Nearly every length of a span, its attributes and its events.
SMALL: Final = tuple(_varint(number) for number in range(4096))


_TAGS: Final = tuple(_varint(number << 3 | BYTES) for number in range(32))


def varint(number: int) -> bytes:
    """*number*, from 0 below 2**64; a negative one is given as its two's complement."""
    return SMALL[number] if number < 4096 else _varint(number)


def tag(number: int, wire_type: int = BYTES) -> bytes:
    """What stands before a field."""
    return _varint(number << 3 | wire_type)


def framed(number: int, data: bytes) -> bytes:
    """The field *number*, below 32, that holds *data*: a string, bytes or a message."""
    size = len(data)
    if size < 4096:
        return _TAGS[number] + SMALL[size] + data
    return b"".join((_TAGS[number], _varint(size), data))


class Field(NamedTuple):
    """
    One field of a message, as positions in the bytes it was read from.

    `data[start:end]` is the field with its tag; `data[value:end]` what is in it.
    """

    number: int
    wire_type: int
    start: int
    value: int
    end: int


_new_field: Final = tuple.__new__  # without the call that a named tuple puts before it


def fields(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Field]:
    """The fields of the message in `data[start:end]`, in their order. Raises ValueError."""
    if end is None:
        end = len(data)
    while start < end:
        # Nearly every tag and most lengths are one byte: no call for them.
        key, at = data[start], start + 1
        if key > 0x7F:
            key, at = number(data, start, end)
        wire_type = key & 7
        value = at
        if wire_type == BYTES:
            if at < end and data[at] <= 0x7F:
                value = at + 1
                at = value + data[at]
            else:
                length, value = number(data, at, end)
                at = value + length
        elif wire_type == VARINT:
            _, at = number(data, at, end)
        elif wire_type == FIXED64:
            at += 8
        elif wire_type == FIXED32:
            at += 4
        else:
            raise ValueError(f"no wire type that OTLP uses: {wire_type}")
        if at > end or not 0 < key >> 3 < 1 << 29:
            raise ValueError("a protobuf message that ends in the middle, or is none")
        yield _new_field(Field, (key >> 3, wire_type, start, value, at))
        start = at


def number(data: bytes, start: int, end: int) -> tuple[int, int]:
    """The varint at *start* and where it ends. Raises ValueError."""
    found = shift = 0
    for at in range(start, min(end, start + _MAX_VARINT)):
        byte = data[at]
        found |= (byte & 0x7F) << shift
        if byte < 0x80:
            return found & 0xFFFFFFFFFFFFFFFF, at + 1
        shift += 7
    raise ValueError("a number that does not end")
