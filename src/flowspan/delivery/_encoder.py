"""
SDK spans -> OTLP protobuf bytes, without protobuf objects between them.

What is written means the same as what OpenTelemetry's own encoder writes, and is valid where that
one raises. Each span is encoded apart; one that cannot be costs only itself. Leans on `_attributes`
for values and texts, on `_wire`, and on the spans' public properties.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from struct import Struct
from typing import Any, Final, NamedTuple

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, EventBase, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceState

from flowspan._light_span import NO_STATUS, LightSpan
from flowspan.delivery._attributes import Attributes, Strings, keep, plain, text_field, utf8
from flowspan.delivery._wire import SMALL, framed, varint

MAX_BYTES: Final = 3_670_016  # of a request: gRPC receivers refuse more than 4 MiB
BREATHE_EVERY: Final = 8  # spans

_OWNERS: Final = 64  # resources and scopes that are kept
_MAX_64: Final = 2**64 - 1
_MAX_32: Final = 2**32 - 1

_pack_time: Final = Struct("<BQ").pack
_pack_times: Final = Struct("<BQBQ").pack  # fields 7 and 8 with their tags
_TIME: Final = 1 << 3 | 1  # of an event
_START: Final = 7 << 3 | 1
_END: Final = 8 << 3 | 1

# By identity: the hash of an enum's member is a call.
_KINDS: Final = {id(kind): bytes((6 << 3, kind.value + 1)) for kind in SpanKind}
_CODES: Final = {id(code): bytes((3 << 3, code.value)) for code in StatusCode if code.value}
_INTERNAL: Final = _KINDS[id(SpanKind.INTERNAL)]
_UNSET: Final = b"\x7a\x00"  # field 15, nothing in it
# Whether the parent, or the span of a link, is in another process is known (8) and so (9th bit).
_SPAN_FLAGS: Final = {False: b"\x85\x01\x00\x01\x00\x00", True: b"\x85\x01\x00\x03\x00\x00"}
_LINK_FLAGS: Final = {False: b"\x35\x00\x01\x00\x00", True: b"\x35\x00\x03\x00\x00"}


_NO_STATE: Final = SpanContext(0, 0, is_remote=False).trace_state  # nearly every span's


def _give_up_the_gil() -> None:
    time.sleep(0)


class Batch(NamedTuple):
    """One complete request in OTLP's protobuf, and how many spans it holds."""

    body: bytes
    spans: int


class Encoded(NamedTuple):
    """A span that is encoded already; *resource* and *scope* are the encoder's own."""

    span_id: int
    resource: bytes
    scope: bytes
    data: bytes


_new_encoded: Final = tuple.__new__  # without the call that a named tuple puts before it


class Encoder:
    """
    Encodes spans into requests of at most *max_bytes*; only a single span may be larger.

    *on_failure* is called once for each span that cannot be encoded. Safe from any thread. What it
    keeps (encoded names, short strings, resources, scopes) is bounded.
    """

    def __init__(
        self,
        *,
        on_failure: Callable[[Exception], None] | None = None,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._on_failure = on_failure
        self._max_bytes = max_bytes
        self._span_attributes = Attributes(9).write
        self._event_attributes = Attributes(3).write
        self._link_attributes = Attributes(4).write
        self._names = Strings(5).get
        self._event_names = Strings(2).get
        # By identity; the object is kept, so that no other gets its id.
        self._resources: dict[int, tuple[object, bytes]] = {}
        self._scopes: dict[int, tuple[object, bytes]] = {}

    def encode(
        self,
        spans: Sequence[ReadableSpan | Encoded],
        breathe: Callable[[], None] = _give_up_the_gil,
    ) -> list[Batch]:
        """
        *spans* as requests, each grouped by resource and scope.

        *breathe* is called after every 8 that are encoded here: the place to give up the GIL.
        """
        batches: list[Batch] = []
        request = _Request()
        encoded = 0
        for span in spans:
            if not isinstance(span, Encoded):
                encoded += 1
                try:
                    span = self.encode_one(span)
                except Exception as error:  # noqa: BLE001 - a span is what others made of it
                    if self._on_failure is not None:
                        self._on_failure(error)
                    continue
                finally:
                    if not encoded % BREATHE_EVERY:
                        breathe()
            _, resource, scope, data = span
            if not request.add(resource, scope, data, self._max_bytes):
                batches.append(request.batch())
                request = _Request()
                request.add(resource, scope, data, self._max_bytes)
        if request.spans:
            batches.append(request.batch())
        return batches

    def encode_one(self, span: ReadableSpan) -> Encoded:
        """For `encode` later. Raises what is raised when *span* cannot be encoded."""
        resource = self._resource(span.resource)
        scope = self._scope(span.instrumentation_scope)
        data = self._light(span) if type(span) is LightSpan else self._span(span)
        return _new_encoded(Encoded, (span.context.span_id, resource, scope, data))

    def encode_open(self, span: ReadableSpan) -> bytes:
        """
        A request that holds *span* as it stands now, with 0 as the time of its end.

        Raises ValueError if it cannot be encoded.
        """
        try:
            request = _Request()
            _, resource, scope, data = self.encode_one(span)
            request.add(resource, scope, data, 0)
        except Exception as error:
            raise ValueError(f"a span that cannot be encoded: {type(error).__name__}") from error
        return request.batch().body

    def _span(self, span: ReadableSpan) -> bytes:
        """The span as a field of its scope's message."""
        context: Any = span.get_span_context()  # these two may be anything
        if not issubclass(type(context), SpanContext):
            raise TypeError("a span without a context")
        out = self._head(span, context)
        state = _trace_state(context)
        if state:
            out.append(framed(3, state))
        parent: Any = span.parent
        if not issubclass(type(parent), SpanContext):
            out.append(_SPAN_FLAGS[False])
        else:
            out += (b"\x22\x08", parent.span_id.to_bytes(8, "big"))
            out.append(_SPAN_FLAGS[parent.is_remote is True])
        attributes = span.attributes
        if attributes:
            self._span_attributes(plain(attributes), out)
        if dropped := span.dropped_attributes:
            out += (b"\x50", _count(dropped))
        lost = span.dropped_events
        if events := span.events:
            lost += self._write_events(events, out)
        if lost:
            out += (b"\x60", _count(lost))
        lost = span.dropped_links
        if links := span.links:
            lost += self._write_links(links, out)
        if lost:
            out += (b"\x70", _count(lost))
        out.append(_status(span.status))
        data = b"".join(out)
        return b"".join((b"\x12", varint(len(data)), data))

    def _head(self, span: ReadableSpan, context: SpanContext) -> list[bytes]:
        """What each span begins with."""
        start, end = span.start_time, span.end_time
        if type(start) is not int or not 0 <= start <= _MAX_64:
            start = _nanos(start)
        if type(end) is not int or not 0 <= end <= _MAX_64:
            end = _nanos(end)
        return [
            b"\x0a\x10",
            context.trace_id.to_bytes(16, "big"),
            b"\x12\x08",
            context.span_id.to_bytes(8, "big"),
            self._names(span.name),
            _KINDS.get(id(span.kind), _INTERNAL),
            _pack_times(_START, start, _END, end),
        ]

    def _light(self, span: LightSpan) -> bytes:
        """As `_span`, from what the span has recorded: without the objects that it is shown in."""
        context, parent = span.context, span.parent
        out = self._head(span, context)
        state = context.trace_state
        if state is not _NO_STATE and (header := _trace_state(context)):
            out.append(framed(3, header))
        if parent is None:
            out.append(_SPAN_FLAGS[False])
        else:
            remote = _SPAN_FLAGS[parent.is_remote is True]
            out += (b"\x22\x08", parent.span_id.to_bytes(8, "big"), remote)
        if span.values:
            self._span_attributes(span.values.copy(), out)
        if dropped := span.dropped_attributes:
            out += (b"\x50", _count(dropped))
        for record in span.event_records.copy():
            self._write_event(*record, out)
        if dropped := span.dropped_events:
            out += (b"\x60", _count(dropped))
        lost = span.dropped_links
        if span.link_records:
            lost += self._write_links(span.links, out)
        if lost:
            out += (b"\x70", _count(lost))
        out.append(_UNSET if span.status is NO_STATUS else _status(span.status))
        data = b"".join(out)
        size = len(data)
        return b"".join((b"\x12", SMALL[size] if size < 4096 else varint(size), data))

    def _write_events(self, events: Iterable[Event], out: list[bytes]) -> int:
        """Returns how many there were that are no events."""
        lost = 0
        for event in events:
            if type(event) is not Event and not issubclass(type(event), EventBase):
                lost += 1
                continue
            attributes = event.attributes
            if type(attributes) is BoundedAttributes:  # nearly always: one look at it, not four
                dropped = attributes.dropped
                kept: Any = attributes.copy()
            else:
                dropped = event.dropped_attributes
                kept = plain(attributes)
            self._write_event(event.name, event.timestamp, kept, dropped, out)
        return lost

    def _write_event(
        self, name: str, at: int, attributes: dict[str, Any], dropped: int, out: list[bytes]
    ) -> None:
        if type(at) is not int or not 0 <= at <= _MAX_64:
            at = _nanos(at)
        parts = [_pack_time(_TIME, at), self._event_names(name)]
        self._event_attributes(attributes, parts)
        if dropped:
            parts += (b"\x20", _count(dropped))
        data = b"".join(parts)
        size = len(data)
        out += (b"\x5a", SMALL[size] if size < 4096 else varint(size), data)

    def _write_links(self, links: Iterable[Link], out: list[bytes]) -> int:
        """Returns how many there were that are no links, or have ids that are none."""
        lost = 0
        for link in links:
            try:
                context = _context_of(link)
                ids = (context.trace_id.to_bytes(16, "big"), context.span_id.to_bytes(8, "big"))
            except (TypeError, OverflowError):
                lost += 1
                continue
            parts = [b"\x0a\x10", ids[0], b"\x12\x08", ids[1]]
            state = _trace_state(context)
            if state:
                parts.append(framed(3, state))
            attributes = link.attributes
            if attributes:
                self._link_attributes(plain(attributes), parts)
            if dropped := link.dropped_attributes:
                parts += (b"\x28", _count(dropped))
            parts.append(_LINK_FLAGS[context.is_remote is True])
            data = b"".join(parts)
            out += (b"\x6a", varint(len(data)), data)
        return lost

    def _resource(self, resource: Resource) -> bytes:
        """Fields 1 and 3 of `ResourceSpans`."""
        found = self._resources.get(id(resource))
        if found is not None:
            return found[1]
        out: list[bytes] = []
        Attributes(1).write(plain(resource.attributes), out)
        data = framed(1, b"".join(out)) + text_field(3, resource.schema_url)
        keep(self._resources, id(resource), (resource, data), _OWNERS)
        return data

    def _scope(self, scope: InstrumentationScope | None) -> bytes:
        """Fields 1 and 3 of `ScopeSpans`."""
        found = self._scopes.get(id(scope))
        if found is not None:
            return found[1]
        if scope is None:
            data = framed(1, b"")
        else:
            out = [text_field(1, scope.name), text_field(2, scope.version)]
            Attributes(3).write(plain(scope.attributes), out)
            data = framed(1, b"".join(out)) + text_field(3, scope.schema_url)
        keep(self._scopes, id(scope), (scope, data), _OWNERS)
        return data


class _Request:
    """A request in the making: spans by scope by resource."""

    __slots__ = ("_groups", "_last", "_size", "spans")

    def __init__(self) -> None:
        self.spans = 0
        self._size = 0
        self._groups: dict[bytes, dict[bytes, list[bytes]]] = {}
        self._last: tuple[bytes, bytes, list[bytes]] = (b"", b"", [])

    def add(self, resource: bytes, scope: bytes, span: bytes, max_bytes: int) -> bool:
        """Adds *span* unless that makes the request too large; the first one always."""
        size = self._size + len(span)
        last_resource, last_scope, spans = self._last
        if resource is not last_resource or scope is not last_scope:
            scopes = self._groups.get(resource)
            if scopes is None:
                scopes = {}
                size += len(resource) + 11  # tag and length
            known = scopes.get(scope)
            if known is None:
                size += len(scope) + 11
            if size > max_bytes and self.spans:
                return False
            spans = scopes.setdefault(scope, [])
            self._groups[resource] = scopes
            self._last = (resource, scope, spans)
        elif size > max_bytes and self.spans:
            return False
        spans.append(span)
        self.spans += 1
        self._size = size
        return True

    def batch(self) -> Batch:
        out: list[bytes] = []
        for resource, scopes in self._groups.items():
            parts = [resource]
            for scope, spans in scopes.items():
                size = len(scope) + sum(map(len, spans))
                parts += (b"\x12", varint(size), scope)
                parts += spans
            out += (b"\x0a", varint(sum(map(len, parts))))
            out += parts
        return Batch(b"".join(out), self.spans)


def _context_of(link: Link) -> SpanContext:
    if issubclass(type(link), Link) and issubclass(type(link.context), SpanContext):
        return link.context
    raise TypeError("no link")


def _trace_state(context: SpanContext) -> bytes:
    state = context.trace_state
    return utf8(state.to_header()) if type(state) is TraceState and len(state) else b""


def _status(status: Any) -> bytes:
    if not issubclass(type(status), Status):
        return b"" if status is None else _UNSET
    code = status.status_code
    description = status.description
    if code is StatusCode.UNSET and description is None:
        return _UNSET
    return framed(15, text_field(2, description) + _CODES.get(id(code), b""))


def _nanos(at: Any) -> int:
    """Nanoseconds since 1970 as 64 bits can hold them; 0 for what is no number."""
    if type(at) is not int:
        if not issubclass(type(at), (int, float)):
            return 0
        try:
            at = int.__pos__(at) if issubclass(type(at), int) else int(float.__pos__(at))
        except (OverflowError, ValueError):  # infinite, or not a number
            return 0
    return 0 if at < 0 else min(at, _MAX_64)


def _count(number: int) -> bytes:
    return varint(min(number, _MAX_32))
