"""
OTLP's trace messages as fields of protobuf: their numbers, and the way through a request.

A request holds resources, these hold scopes, these hold spans. Leans on `_wire`; what is read may
be anything, and what is no request is a ValueError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from struct import Struct
from typing import Final, NamedTuple

from flowspan.delivery._wire import BYTES, FIXED64, VARINT, Field, fields, framed, number

RESOURCE_SPANS: Final = 1  # of the request
SCOPE_SPANS: Final = 2  # of ResourceSpans
SPANS: Final = 2  # of ScopeSpans
OWNER: Final = 1  # of ResourceSpans and of ScopeSpans: the resource, the scope
# of Span
TRACE_ID: Final = 1
SPAN_ID: Final = 2
TRACE_STATE: Final = 3
NAME: Final = 5
START: Final = 7
END: Final = 8
STATUS: Final = 15
STATUS_MESSAGE: Final = 2  # of Status
# of KeyValue
KEY: Final = 1
VALUE: Final = 2
# of AnyValue
STRING: Final = 1
ARRAY: Final = 5
MAPPING: Final = 6
RAW: Final = 7
ITEMS: Final = 1  # of ArrayValue and KeyValueList


class Part(NamedTuple):
    """What a message has many of: the field it is in, and the one that counts those it lost."""

    number: int
    dropped: int


ATTRIBUTES: Final = Part(9, 10)  # of Span
EVENTS: Final = Part(11, 12)
LINKS: Final = Part(13, 14)
EVENT_ATTRIBUTES: Final = Part(3, 4)
RESOURCE_ATTRIBUTES: Final = Part(1, 2)
SCOPE_ATTRIBUTES: Final = Part(3, 4)

FIXED: Final = Struct("<Q")


def spans_of(body: bytes) -> Iterator[Field]:
    for resource in fields(body):
        if holds(resource, RESOURCE_SPANS):
            for scope in fields(body, resource.value, resource.end):
                if holds(scope, SCOPE_SPANS):
                    for span in fields(body, scope.value, scope.end):
                        if holds(span, SPANS):
                            yield span


def mapped(body: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """*body* with each span's message changed."""
    return rebuilt(body, lambda f: [framed(SPANS, change(body[f.value : f.end]))])


def rebuilt(body: bytes, spans: Callable[[Field], list[bytes]]) -> bytes:
    """*body* with what *spans* gives for each span; a resource or scope without spans is left."""
    out = []
    for resource in fields(body):
        if not holds(resource, RESOURCE_SPANS):
            continue
        of_resource: list[bytes] = []
        any_span = False
        for scope in fields(body, resource.value, resource.end):
            if not holds(scope, SCOPE_SPANS):
                of_resource.append(body[scope.start : scope.end])
                continue
            of_scope: list[bytes] = []
            found: list[bytes] = []
            for span in fields(body, scope.value, scope.end):
                if holds(span, SPANS):
                    found += spans(span)
                else:
                    of_scope.append(body[span.start : span.end])
            if found:
                any_span = True
                of_resource.append(framed(SCOPE_SPANS, b"".join(of_scope + found)))
        if any_span:
            out.append(framed(RESOURCE_SPANS, b"".join(of_resource)))
    return b"".join(out)


def holds(field: Field, number: int) -> bool:
    """Whether *field* is the message *number* of the one it is in."""
    if field.number != number:
        return False
    expect(field, BYTES)
    return True


def expect(field: Field, wire_type: int) -> None:
    if field.wire_type != wire_type:
        raise ValueError(f"field {field.number} is not of OTLP's type")


def content(data: bytes, field: Field) -> bytes:
    expect(field, BYTES)
    return data[field.value : field.end]


def fixed(data: bytes, field: Field) -> int:
    expect(field, FIXED64)
    return int(FIXED.unpack_from(data, field.value)[0])


def integer(data: bytes, field: Field) -> int:
    expect(field, VARINT)
    return number(data, field.value, field.end)[0]


def dropped(data: bytes, field: Field) -> int:
    """A count of what was lost, as 32 bits hold it."""
    return min(integer(data, field), 2**32 - 1)


def pair(key: str, value: bytes) -> bytes:
    """A `KeyValue`; *value* is the content of its `AnyValue`."""
    return framed(KEY, key.encode()) + framed(VALUE, value)


def text(value: str) -> bytes:
    """The content of an `AnyValue` that is a string."""
    return framed(STRING, value.encode())


def read_pair(data: bytes) -> tuple[str, bytes]:
    """Key and value, the content of an `AnyValue`, of a `KeyValue`."""
    key = value = b""
    for field in fields(data):
        if field.number == KEY:
            key = content(data, field)
        elif field.number == VALUE:
            value = content(data, field)
    return key.decode("utf-8", "replace"), value
