"""
OTLP's protobuf -> spans. No protobuf library: `delivery._wire` parts the fields.

A span's message is kept as it is and read again for its details. What is malformed is a
ValueError.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from struct import Struct
from sys import intern
from typing import Any, Final

from flowspan.cli.view._model import NO_ATTRIBUTES, Event, Link, Span
from flowspan.cli.view._stored import KEPT, Details, Store, Stored, StoredEvents, StoredLinks
from flowspan.cli.view._values import MAX_DEPTH, TOO_DEEP, Origin
from flowspan.delivery import _otlp
from flowspan.delivery._otlp import content, fixed, holds, integer
from flowspan.delivery._wire import BYTES, FIXED32, FIXED64, VARINT, Field, fields
from flowspan.delivery._wire import number as varint

_PARENT: Final = 4
_KIND: Final = 6
_STATUS_CODE: Final = 3
_DOUBLE: Final = Struct("<d")
# of InstrumentationScope
_SCOPE_NAME, _SCOPE_VERSION = 1, 2
# of AnyValue
_BOOL, _INT, _DOUBLES = 2, 3, 4
# of Event, and of Link
_TIME, _EVENT_NAME = 1, 2
_LINK_ATTRIBUTES: Final = 4
# What else there is: types, and names in OTLP's JSON, for `Details.more`
_STATE: Final = (BYTES, "traceState")
_LOST: Final = (VARINT, "droppedAttributesCount")
_FLAGS: Final = (FIXED32, "flags")
_MORE: Final = {
    _otlp.TRACE_STATE: _STATE,
    _otlp.ATTRIBUTES.dropped: _LOST,
    _otlp.EVENTS.dropped: (VARINT, "droppedEventsCount"),
    _otlp.LINKS.dropped: (VARINT, "droppedLinksCount"),
    16: _FLAGS,
}
_MORE_OF_EVENT: Final = {_otlp.EVENT_ATTRIBUTES.dropped: _LOST}
_MORE_OF_LINK: Final = {3: _STATE, 5: _LOST, 6: _FLAGS}
_KEPT: Final = frozenset(key.encode() for key in KEPT)
_KEY_TAG: Final = _otlp.KEY << 3 | BYTES
_FIXED: Final = (_otlp.START, _otlp.END)
_MOMENTS = _START_TAG, _END_TAG = tuple(number << 3 | FIXED64 for number in _FIXED)
_OFTEN: Final = 64  # bytes
(
    _TRACE_ID_TAG,
    _SPAN_ID_TAG,
    _PARENT_TAG,
    _NAME_TAG,
    _ATTRIBUTE_TAG,
    _EVENT_TAG,
    _LINK_TAG,
    _STATUS_TAG,
) = _SIZED = tuple(
    number << 3 | BYTES
    for number in (
        _otlp.TRACE_ID,
        _otlp.SPAN_ID,
        _PARENT,
        _otlp.NAME,
        _otlp.ATTRIBUTES.number,
        _otlp.EVENTS.number,
        _otlp.LINKS.number,
        _otlp.STATUS,
    )
)


def spans_of(body: bytes, store: Store, *, trusted: bool = False) -> Iterator[Span]:
    """Every span of a request. What is *trusted* to be one is not read to its last byte."""
    for resource in fields(body):
        if not holds(resource, _otlp.RESOURCE_SPANS):
            continue
        parts = list(fields(body, resource.value, resource.end))
        about = [content(body, part) for part in parts if holds(part, _otlp.OWNER)]
        attributes = _resource(b"".join(about))
        for scope in parts:
            if holds(scope, _otlp.SCOPE_SPANS):
                inner = list(fields(body, scope.value, scope.end))
                name, more = "", NO_ATTRIBUTES
                for owner in inner:
                    if holds(owner, _otlp.OWNER):
                        name, more = _scope(content(body, owner))
                origin = Origin(attributes, name, more)
                for field in inner:
                    if holds(field, _otlp.SPANS):
                        message = content(body, field)
                        if not trusted:
                            _decoded(message)
                        yield _span(message, origin, store)


@lru_cache(maxsize=64)
def _scope(data: bytes) -> tuple[str, Mapping[str, Any]]:
    """Its name; its version and attributes, if it has some. Shared, as resources are."""
    name = ""
    more: dict[str, Any] = {}
    attributes: dict[str, Any] = {}
    for field in fields(data):
        if field.number == _SCOPE_NAME:
            name = _text(content(data, field))
        elif field.number == _SCOPE_VERSION:
            more["version"] = _text(content(data, field))
        elif field.number == _otlp.SCOPE_ATTRIBUTES.number:
            _put(attributes, data, field)
    if attributes:
        more["attributes"] = attributes
    return name, more or NO_ATTRIBUTES


@lru_cache(maxsize=64)
def _resource(data: bytes) -> Mapping[str, Any]:
    """The same for the spans of one process, whatever request they are in."""
    found: dict[str, Any] = {}
    for field in fields(data):
        if holds(field, _otlp.RESOURCE_ATTRIBUTES.number):
            _put(found, data, field)
    return found or NO_ATTRIBUTES


def _span(data: bytes, origin: Origin, store: Store) -> Span:
    """
    Reads what lists and sums need and passes over the rest.

    In one loop: a call for each field takes longer than all else together.
    """
    trace_id = span_id = parent = b""
    name = message = ""
    kind = start = end = status = 0
    has_events = has_links = False
    kept: dict[str, Any] = {}
    at, size = 0, len(data)
    while at < size:
        tag = data[at]
        if tag & 7 == BYTES and tag < 0x80 and size - at > 1:
            length, value = data[at + 1], at + 2
            if length > 0x7F:
                if value < size and data[value] < 0x80:
                    length, value = length & 0x7F | data[value] << 7, value + 1
                else:
                    length, value = varint(data, at + 1, size)
            at = value + length
            if at > size:
                raise ValueError("a span that ends in the middle")
            if tag == _ATTRIBUTE_TAG:
                # Everybody writes the key first, and a short one.
                if (
                    length > 2
                    and data[value] == _KEY_TAG
                    and (key_size := data[value + 1]) < 0x80
                    and data[value + 2 : value + 2 + key_size] not in _KEPT
                ):
                    continue
                pair = data[value:at]
                key, said = _known_pair(pair) if length <= _OFTEN else _pair(pair)
                if key in KEPT:
                    kept[key] = said
            elif tag == _NAME_TAG:
                name = _text(data[value:at])
            elif tag == _TRACE_ID_TAG:
                trace_id = data[value:at]
            elif tag == _SPAN_ID_TAG:
                span_id = data[value:at]
            elif tag == _PARENT_TAG:
                parent = data[value:at]
            elif tag == _EVENT_TAG:
                has_events = True
            elif tag == _LINK_TAG:
                has_links = True
            elif tag == _STATUS_TAG and length:
                status, message = _status(data[value:at])
            continue
        if tag in _MOMENTS and size - at > 8:
            (moment,) = _otlp.FIXED.unpack_from(data, at + 1)
            if tag == _START_TAG:
                start = moment
            else:
                end = moment
            at += 9
            continue
        field = next(fields(data, at, size))
        number, at = field.number, field.end
        if number == _KIND:
            kind = integer(data, field)
        elif number in _FIXED or number << 3 | BYTES in _SIZED:
            raise ValueError(f"field {number} is not of OTLP's type")
    if len(trace_id) != 16 or len(span_id) != 8 or not any(trace_id) or not any(span_id):
        raise ValueError("a span without an id")
    stored = StoredProtobuf(store, data, kept or NO_ATTRIBUTES)
    return Span(
        trace_id=intern(trace_id.hex()),
        span_id=span_id.hex(),
        parent_id=intern(parent.hex()) if any(parent) else "",
        name=intern(name),
        kind=kind,
        start=start,
        end=end,
        status=status,
        status_message=message,
        attributes=stored,
        events=StoredEvents(stored) if has_events else (),
        links=StoredLinks(stored) if has_links else (),
        service=origin.service,
        scope=origin.scope,
        scope_more=origin.more,
        resource=origin.resource,
    )


class StoredProtobuf(Stored):
    """Kept as the message that it came in."""

    __slots__ = ()

    @staticmethod
    def decode(data: bytes) -> Details:
        try:
            return _decoded(data)
        except ValueError:  # of a file that was trusted
            return Details()


def _decoded(data: bytes) -> Details:
    attributes: dict[str, Any] = {}
    more: dict[str, Any] = {}
    events, links = [], []
    for field in fields(data):
        if field.number == _otlp.ATTRIBUTES.number:
            _put(attributes, data, field)
        elif field.number == _otlp.EVENTS.number:
            events.append(_event(content(data, field)))
        elif field.number == _otlp.LINKS.number:
            links.append(_link(content(data, field)))
        elif field.number in _MORE:
            _note(more, data, field, *_MORE[field.number])
    return Details(attributes or NO_ATTRIBUTES, events, links, more or NO_ATTRIBUTES)


def _event(data: bytes) -> Event:
    event = Event(name="", time=0)
    attributes: dict[str, Any] = {}
    more: dict[str, Any] = {}
    for field in fields(data):
        if field.number == _TIME:
            event.time = fixed(data, field)
        elif field.number == _EVENT_NAME:
            event.name = _text(content(data, field))
        elif field.number == _otlp.EVENT_ATTRIBUTES.number:
            _put(attributes, data, field)
        elif field.number in _MORE_OF_EVENT:
            _note(more, data, field, *_MORE_OF_EVENT[field.number])
    event.attributes, event.more = attributes or NO_ATTRIBUTES, more or NO_ATTRIBUTES
    return event


def _link(data: bytes) -> Link:
    link = Link(trace_id="", span_id="")
    attributes: dict[str, Any] = {}
    more: dict[str, Any] = {}
    for field in fields(data):
        if field.number == _otlp.TRACE_ID:
            link.trace_id = content(data, field).hex()
        elif field.number == _otlp.SPAN_ID:
            link.span_id = content(data, field).hex()
        elif field.number == _LINK_ATTRIBUTES:
            _put(attributes, data, field)
        elif field.number in _MORE_OF_LINK:
            _note(more, data, field, *_MORE_OF_LINK[field.number])
    link.attributes, link.more = attributes or NO_ATTRIBUTES, more or NO_ATTRIBUTES
    return link


def _status(data: bytes) -> tuple[int, str]:
    code, message = 0, ""
    for field in fields(data):
        if field.number == _STATUS_CODE:
            code = integer(data, field)
        elif field.number == _otlp.STATUS_MESSAGE:
            message = _text(content(data, field))
    return code, message


def _pair(data: bytes) -> tuple[str, Any]:
    """Key and value of a `KeyValue`."""
    key, value = _otlp.read_pair(data)
    return key, _value(value)


_known_pair: Final = lru_cache(maxsize=1024)(_pair)
"""Of a small one: kinds and statuses are the same on most spans."""


def _put(attributes: dict[str, Any], data: bytes, field: Field) -> None:
    key, value = _pair(content(data, field))
    attributes[key] = value


def _value(data: bytes, depth: int = 0) -> Any:
    """What an `AnyValue` holds; nothing is None."""
    if depth > MAX_DEPTH:
        raise ValueError(TOO_DEEP)
    found: Any = None
    for field in fields(data):
        number = field.number
        if number == _otlp.STRING:
            found = _text(content(data, field))
        elif number == _BOOL:
            found = bool(integer(data, field))
        elif number == _INT:
            whole = integer(data, field)
            found = whole - (1 << 64) if whole >> 63 else whole
        elif number == _DOUBLES:
            _otlp.expect(field, FIXED64)
            (found,) = _DOUBLE.unpack_from(data, field.value)
        elif number == _otlp.ARRAY:
            inner = content(data, field)
            found = [
                _value(content(inner, item), depth + 1)
                for item in fields(inner)
                if item.number == _otlp.ITEMS
            ]
        elif number == _otlp.MAPPING:
            inner = content(data, field)
            found = {}
            for item in fields(inner):
                if item.number == _otlp.ITEMS:
                    key, value = _otlp.read_pair(content(inner, item))
                    found[key] = _value(value, depth + 1)
        elif number == _otlp.RAW:
            found = content(data, field)
    return found


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _note(into: dict[str, Any], data: bytes, field: Field, wire_type: int, name: str) -> None:
    _otlp.expect(field, wire_type)
    if wire_type == VARINT:
        into[name] = _otlp.dropped(data, field)
    elif wire_type == FIXED32:
        into[name] = int.from_bytes(data[field.value : field.end], "little")
    else:
        into[name] = _text(content(data, field))
