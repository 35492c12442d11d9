"""
A span too large for any receiver, made to fit: its texts are cut, then its events are left out.

Works on the bytes of a request with one span. JSON stays valid JSON, what was cut says so
(`flowspan.truncated` names the attributes), what was left out is counted where OTLP counts it.
Leans on `_otlp`, and on `_payload` for cutting a text.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from flowspan import semconv
from flowspan._payload import shortened
from flowspan.delivery._otlp import (
    ARRAY,
    ATTRIBUTES,
    EVENT_ATTRIBUTES,
    EVENTS,
    ITEMS,
    LINKS,
    MAPPING,
    NAME,
    OWNER,
    RAW,
    RESOURCE_ATTRIBUTES,
    RESOURCE_SPANS,
    SCOPE_ATTRIBUTES,
    SCOPE_SPANS,
    STATUS,
    STATUS_MESSAGE,
    STRING,
    TRACE_STATE,
    Part,
    content,
    dropped,
    holds,
    mapped,
    pair,
    read_pair,
    spans_of,
    text,
)
from flowspan.delivery._wire import BYTES, VARINT, fields, framed, tag, varint

# A value is cut to one of these many bytes; what is shorter than the last are names and ids.
_ROOMS: Final = (1_048_576, 262_144, 65_536, 16_384, 4_096, 1_024, 256)
_SHORT: Final = 256
_KEPT: Final = frozenset((1, 2, 4, 6, 7, 8, 16))  # a span's ids, kind, times and flags
_COUNTS: Final = 64  # bytes for what was left out, and for lengths that grow
_WHOLE: Final = 2**31  # bytes: uncut


def shrink(body: bytes, max_bytes: int) -> bytes:
    """
    A request of one span in at most *max_bytes*.

    Values are cut evenly; if that is not enough, the oldest events are left out, then links, then
    the largest attributes. Raises ValueError if *body* holds another number of spans, or if
    *max_bytes* is too small for a bare span.
    """
    if len(body) <= max_bytes:
        return body
    spans = sum(1 for _ in spans_of(body))
    if spans != 1:
        raise ValueError(f"{spans} spans: only a request of one is shrunk")
    body = mapped(body, bytes)  # without resources and scopes that have no span
    (span,) = spans_of(body)
    around = len(body) - (span.end - span.value)
    if around > max_bytes // 2:
        body = _with_small_owners(body, max_bytes // 4)
        (span,) = spans_of(body)
        around = len(body) - (span.end - span.value)
    found = mapped(body, lambda data: _Span(data, max_bytes - around).fitted())
    if len(found) > max_bytes:
        raise ValueError(f"{max_bytes} bytes are too few for a span")
    return found


class _Attributes:
    """The attributes of one message, to be cut and written again."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.pairs: list[tuple[str, bytes]] = []
        self.dropped = 0

    def size(self, room: int = _WHOLE) -> int:
        """What they take at most when each value is cut to *room*."""
        return sum(len(key.encode()) + min(len(value), room) + 24 for key, value in self.pairs)

    def cut(self, room: int) -> list[str]:
        """Cuts each value to *room*; the names of those that were larger."""
        names = []
        for at, (key, value) in enumerate(self.pairs):
            if len(value) > room and key != semconv.TRUNCATED:
                self.pairs[at] = (key, _cut(value, room))
                names.append(key)
        return names

    def drop_to(self, room: int) -> None:
        """Leaves out the largest until the others take no more than *room*."""
        sizes = [len(key.encode()) + len(value) + 24 for key, value in self.pairs]
        total = sum(sizes)
        gone = set()
        for at in sorted(range(len(sizes)), key=sizes.__getitem__, reverse=True):
            if total <= room:
                break
            total -= sizes[at]
            gone.add(at)
        self.pairs = [kept for at, kept in enumerate(self.pairs) if at not in gone]
        self.dropped += len(gone)

    def write(self) -> bytes:
        out = [framed(self.part.number, pair(key, value)) for key, value in self.pairs]
        return b"".join(out) + _counted(self.part, self.dropped)


class _Event:
    def __init__(self, data: bytes) -> None:
        self.attributes = _Attributes(EVENT_ATTRIBUTES)
        self.rest = _read(data, self.attributes)

    def size(self, room: int = _WHOLE) -> int:
        return len(self.rest) + self.attributes.size(room) + 24

    def write(self) -> bytes:
        return framed(EVENTS.number, self.rest + self.attributes.write())


class _Span:
    def __init__(self, data: bytes, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._attributes = _Attributes(ATTRIBUTES)
        self._links: list[bytes] = []
        self._events_dropped = self._links_dropped = 0
        self._texts: dict[int, bytes] = {}  # name, trace state, status
        out = []
        events = []
        for field in fields(data):
            if holds(field, ATTRIBUTES.number):
                self._attributes.pairs.append(read_pair(content(data, field)))
            elif field.number == ATTRIBUTES.dropped:
                self._attributes.dropped = dropped(data, field)
            elif holds(field, EVENTS.number):
                events.append(content(data, field))
            elif field.number == EVENTS.dropped:
                self._events_dropped = dropped(data, field)
            elif holds(field, LINKS.number):
                self._links.append(data[field.start : field.end])
            elif field.number == LINKS.dropped:
                self._links_dropped = dropped(data, field)
            elif field.number in (NAME, TRACE_STATE, STATUS):
                self._texts[field.number] = content(data, field)
            elif field.number in _KEPT and field.end - field.start <= 64:
                out.append(data[field.start : field.end])
        self._rest = b"".join(out)
        # Of a hundred thousand only those are read that may fit when they are cut.
        taken = kept = 0
        while kept < len(events) and taken <= max_bytes:
            kept += 1
            taken += min(len(events[-kept]), _SHORT)
        self._events_dropped += len(events) - kept
        self._events = [_Event(event) for event in events[len(events) - kept :]]

    def fitted(self) -> bytes:
        """The span in at most *max_bytes*, or as small as it can be."""
        max_bytes = self._max_bytes
        self._cut_texts(_SHORT if max_bytes < 65_536 else 16_384)
        left = max_bytes - self._fixed_size()
        room = _SHORT
        if self._size(room) <= left:
            room = next(room for room in _ROOMS if self._size(room) <= left)
        names = self._attributes.cut(room)
        for event in self._events:
            names += event.attributes.cut(room)
        self._mark(names)
        of_attributes = self._attributes.size()
        of_links = sum(map(len, self._links))
        of_events = self._drop_events(left - of_attributes - of_links)
        self._drop_links(left - of_attributes - of_events)
        self._attributes.drop_to(left)
        return self._write()

    def _fixed_size(self) -> int:
        return len(self._rest) + sum(len(data) + 8 for data in self._texts.values()) + _COUNTS

    def _size(self, room: int) -> int:
        """What attributes, events and links take at most when each value is cut to *room*."""
        size = self._attributes.size(room) + sum(event.size(room) for event in self._events)
        cut = {key for key, value in self._attributes.pairs if len(value) > room}
        for event in self._events:
            cut.update(key for key, value in event.attributes.pairs if len(value) > room)
        return size + sum(map(len, self._links)) + sum(len(key.encode()) + 8 for key in cut) + 64

    def _mark(self, names: Iterable[str]) -> None:
        """Names in `flowspan.truncated` what was cut, beside what was cut before."""
        pairs = self._attributes.pairs
        before = [
            name for key, value in pairs if key == semconv.TRUNCATED for name in _names(value)
        ]
        items = dict.fromkeys([*before, *names])
        if len(items) > len(before):
            array = b"".join(framed(ITEMS, text(name)) for name in items)
            pairs[:] = [kept for kept in pairs if kept[0] != semconv.TRUNCATED]
            pairs.append((semconv.TRUNCATED, framed(ARRAY, array)))

    def _drop_events(self, room: int) -> int:
        """Keeps the youngest events that fit into *room*, and says what they take at most."""
        taken = 0
        for kept, event in enumerate(reversed(self._events)):
            size = event.size()
            if taken + size > room:
                self._events_dropped += len(self._events) - kept
                self._events = self._events[len(self._events) - kept :]
                break
            taken += size
        return taken

    def _drop_links(self, room: int) -> None:
        taken = 0
        for kept, link in enumerate(self._links):
            taken += len(link)
            if taken > room:
                self._links_dropped += len(self._links) - kept
                self._links = self._links[:kept]
                break

    def _cut_texts(self, room: int) -> None:
        found = self._texts
        if len(found.get(TRACE_STATE, b"")) > room:  # half of it would be another one
            del found[TRACE_STATE]
        if len(found.get(NAME, b"")) > room:
            found[NAME] = _short(found[NAME], room)
        status = found.get(STATUS, b"")
        if len(status) > room:
            found[STATUS] = b"".join(
                framed(STATUS_MESSAGE, _short(content(status, field), room))
                if field.number == STATUS_MESSAGE
                else status[field.start : field.end]
                for field in fields(status)
                if field.number == STATUS_MESSAGE or field.wire_type == VARINT
            )

    def _write(self) -> bytes:
        out = [self._rest]
        out += [framed(number, data) for number, data in self._texts.items()]
        out.append(self._attributes.write())
        out += [event.write() for event in self._events]
        out.append(_counted(EVENTS, self._events_dropped))
        out += self._links
        out.append(_counted(LINKS, self._links_dropped))
        return b"".join(out)


def _read(data: bytes, attributes: _Attributes) -> bytes:
    """Fills *attributes* from a message and returns its other fields."""
    out = []
    for field in fields(data):
        if holds(field, attributes.part.number):
            attributes.pairs.append(read_pair(content(data, field)))
        elif field.number == attributes.part.dropped:
            attributes.dropped = dropped(data, field)
        else:
            out.append(data[field.start : field.end])
    return b"".join(out)


def _cut(value: bytes, room: int) -> bytes:
    """The content of an `AnyValue` in at most *room* bytes, if it was larger."""
    if len(value) <= room:
        return value
    for field in fields(value):
        if field.wire_type != BYTES:
            continue
        data = content(value, field)
        inner = room - 8  # tag and length
        if field.number == STRING:
            return framed(STRING, _short(data, inner))
        if field.number == RAW:
            return framed(RAW, data[:inner])
        if field.number in (ARRAY, MAPPING):
            last = 0
            for item in fields(data):
                if item.end > inner:
                    break
                last = item.end
            return framed(field.number, data[:last])
    return b""


def _short(data: bytes, room: int) -> bytes:
    return shortened(data.decode("utf-8", "replace"), room).encode()


def _names(value: bytes) -> list[str]:
    """The strings of an `AnyValue` that is an array."""
    found = []
    for field in fields(value):
        if field.number == ARRAY:
            array = content(value, field)
            for item in fields(array):
                data = content(array, item)
                found += [
                    content(data, leaf).decode("utf-8", "replace")
                    for leaf in fields(data)
                    if leaf.number == STRING
                ]
    return found


def _counted(part: Part, number: int) -> bytes:
    return tag(part.dropped, VARINT) + varint(min(number, 2**32 - 1)) if number else b""


def _with_small_owners(body: bytes, room: int) -> bytes:
    """*body* without the largest attributes of resource and scope: *room* bytes each."""
    out = []
    for resource in fields(body):
        parts = []
        for field in fields(body, resource.value, resource.end):
            if holds(field, OWNER):
                parts.append(_small_owner(content(body, field), RESOURCE_ATTRIBUTES, room))
            elif holds(field, SCOPE_SPANS):
                scope = []
                for of_scope in fields(body, field.value, field.end):
                    if holds(of_scope, OWNER):
                        data = content(body, of_scope)
                        scope.append(_small_owner(data, SCOPE_ATTRIBUTES, room))
                    elif of_scope.end - of_scope.start <= room or of_scope.number == 2:
                        scope.append(body[of_scope.start : of_scope.end])
                parts.append(framed(SCOPE_SPANS, b"".join(scope)))
            elif field.end - field.start <= room:
                parts.append(body[field.start : field.end])
        out.append(framed(RESOURCE_SPANS, b"".join(parts)))
    return b"".join(out)


def _small_owner(data: bytes, part: Part, room: int) -> bytes:
    attributes = _Attributes(part)
    rest = _read(data, attributes)
    if len(rest) > room // 2:
        rest = b""
    attributes.drop_to(room - len(rest))
    return framed(OWNER, rest + attributes.write())
