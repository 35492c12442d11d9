"""
A span that does what the SDK's does, at a third of the cost; `_light_tracer` makes it.

To its user and to processors it is the SDK's `Span`: limits, warnings, values that are frozen and
put right are the SDK's own. Nearly every attribute is a plain value under a short name: such are
taken as they are, and what is only looked at by exporters (`Event`, `Link`) is made when asked for.
Built on public seams: every public name of the SDK's span is overridden, and nothing here needs its
private ones; those that others are known to reach for are there as well. Leans on the SDK alone.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from time import time_ns
from types import MappingProxyType, TracebackType
from typing import Any, Final, NamedTuple

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanLimits, SpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationInfo, InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.util import types

logger = logging.getLogger("opentelemetry.sdk.trace")  # what is said is what the SDK says

NO_STATUS: Final = Status(StatusCode.UNSET)
_PLAIN: Final = frozenset((str, int, float, bool, bytes, type(None)))
_TEXT: Final = frozenset((str,))

EventRecord = tuple[str, int, dict[str, Any], int]
"""Name, nanoseconds since 1970, attributes, how many of these were dropped."""
LinkRecord = tuple[SpanContext, dict[str, Any], int]


class Recorder(NamedTuple):
    """What the spans of one tracer share."""

    limits: SpanLimits
    processor: SpanProcessor
    scope: InstrumentationScope
    info: InstrumentationInfo
    most: int | None
    """Attributes of a span."""
    takes_any_length: bool
    """Whether these are as long as they like, as they are by default."""
    on_ending: Callable[[sdk.Span], None]
    """What the SDK tells its processors before `on_end`; some pass it on."""


class LightSpan(sdk.Span):
    """
    A span of our own provider. Thread-safe.

    *record_exception* and *set_status_on_exception* are for its use in a `with`. The tracer gives
    it to the processors when it starts; `end` does when it ends: the same object, which then no
    longer changes.
    """

    # These stand in place of the SDK's properties: read without a call, and set only here.
    __slots__ = (
        "_lock",
        "_on_exception",
        "_recorder",
        "context",
        "dropped_attributes",
        "dropped_events",
        "dropped_links",
        "end_time",
        "event_records",
        "instrumentation_scope",
        "kind",
        "link_records",
        "name",
        "parent",
        "resource",
        "start_time",
        "status",
        "values",
    )

    name: str
    context: SpanContext
    parent: SpanContext | None
    kind: SpanKind
    resource: Resource
    instrumentation_scope: InstrumentationScope
    start_time: int
    end_time: int | None
    status: Status
    dropped_attributes: int
    dropped_events: int
    dropped_links: int
    values: dict[str, Any]
    event_records: list[EventRecord]
    link_records: list[LinkRecord]

    def __init__(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        kind: SpanKind,
        recorder: Recorder,
        resource: Resource,
        attributes: types.Attributes,
        links: Sequence[Link] | None,
        start_time: int | None,
        on_exception: tuple[bool, bool],
    ) -> None:
        self.name = name
        self.context = context
        self.parent = parent
        self.kind = kind
        self.resource = resource
        self.instrumentation_scope = recorder.scope
        self.status = NO_STATUS
        self.end_time = None
        self.event_records = []
        self.link_records = []
        self._recorder = recorder
        self._on_exception = on_exception
        self._lock = threading.Lock()
        self.dropped_events = self.dropped_links = 0
        limits = recorder.limits
        self.values, self.dropped_attributes = _kept(
            attributes, limits.max_span_attributes, limits.max_span_attribute_length
        )
        for link in links or ():
            if link and _is_valid_link(link.context, link.attributes):
                self._link(self._link_record(link.context, link.attributes))
        self.start_time = time_ns() if start_time is None else start_time

    # ---- the API's

    def get_span_context(self) -> SpanContext:
        return self.context

    def is_recording(self) -> bool:
        return self.end_time is None

    def set_attribute(self, key: str, value: types.AnyValue) -> None:
        recorder = self._recorder
        if type(value) in _PLAIN and type(key) is str and key and recorder.takes_any_length:
            with self._lock:
                values = self.values
                if self.end_time is None and key not in values and len(values) != recorder.most:
                    values[key] = value
                    return
            self._put_all({key: value}, 0)
            return
        if self.end_time is not None:
            logger.warning("Setting attribute on ended span.")
            return
        limits = recorder.limits
        one = BoundedAttributes(
            1 if limits.max_span_attributes != 0 else 0,
            immutable=False,
            max_value_len=limits.max_span_attribute_length,
        )
        one[key] = value
        self._put_all(dict(one), one.dropped)

    def set_attributes(self, attributes: Mapping[str, types.AnyValue]) -> None:
        if self.end_time is not None:
            logger.warning("Setting attribute on ended span.")
            return
        limits = self._recorder.limits
        if limits.max_span_attributes == 0:
            self._put_all({}, len(attributes))
            return
        self._put_all(*_kept(attributes, None, limits.max_span_attribute_length))

    def add_event(
        self, name: str, attributes: types.Attributes = None, timestamp: int | None = None
    ) -> None:
        limits = self._recorder.limits
        kept, dropped = _kept(attributes, limits.max_event_attributes, limits.max_attribute_length)
        record = name, time_ns() if timestamp is None else timestamp, kept, dropped
        with self._lock:
            if self.end_time is None:
                events = self.event_records
                events.append(record)
                if limits.max_events is not None and len(events) > limits.max_events:
                    del events[0]
                    self.dropped_events += 1
                return
        _say_ended("_add_event")

    def add_link(self, context: SpanContext, attributes: types.Attributes = None) -> None:
        if not _is_valid_link(context, attributes):
            return
        record = self._link_record(context, attributes)
        with self._lock:
            if self.end_time is None:
                self._link(record)
                return
        _say_ended("_add_link")

    def update_name(self, name: str) -> None:
        with self._lock:
            if self.end_time is None:
                self.name = name
                return
        _say_ended("update_name")

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        code = status.status_code if isinstance(status, Status) else status
        with self._lock:
            ended = self.end_time is not None
            is_final = code is StatusCode.UNSET or self.status.status_code is StatusCode.OK
            is_set = not ended and not is_final and isinstance(code, StatusCode)
            if is_set:
                self.status = status if isinstance(status, Status) else Status(status, description)
        if ended:
            _say_ended("set_status")
        elif is_set and description is not None and isinstance(status, Status):
            logger.warning(
                "Description %s ignored. Use either `Status` or `(StatusCode, Description)`",
                description,
            )

    def end(self, end_time: int | None = None) -> None:
        with self._lock:
            ended = self.end_time is not None
            if not ended:
                self.end_time = time_ns() if end_time is None else end_time
        if ended:
            logger.warning("Calling end() on an ended span.")
        else:
            recorder = self._recorder
            recorder.on_ending(self)
            recorder.processor.on_end(self)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        if exc_val is not None and self.is_recording():
            records, sets_status = self._on_exception
            if records:
                self.record_exception(exception=exc_val, escaped=True)
            if sets_status:
                text = f"{type(exc_val).__name__}: {exc_val}"
                self.set_status(Status(StatusCode.ERROR, text))
        self.end()

    def start(self, start_time: int | None = None, parent_context: Any = None) -> None:
        """A span is started when it is made."""
        logger.warning("Calling start() on a started span.")

    # ---- to be read

    @property
    def attributes(self) -> Mapping[str, Any]:
        """As they are now: those of an open span do not change under whoever reads them."""
        if self.end_time is None:
            return MappingProxyType((self.values or {}).copy())
        return MappingProxyType(self.values or {})  # None where somebody has taken them away

    @property
    def events(self) -> tuple[Event, ...]:
        return tuple(
            Event(name, _bounded(attributes, dropped), timestamp)
            for name, timestamp, attributes, dropped in self.event_records.copy()
        )

    @property
    def links(self) -> tuple[Link, ...]:
        return tuple(
            Link(context, _bounded(attributes, dropped))
            for context, attributes, dropped in self.link_records.copy()
        )

    @property
    def instrumentation_info(self) -> InstrumentationInfo | None:
        return self._readable_span().instrumentation_info  # which says that it is deprecated

    def to_json(self, indent: int | None = 4) -> str:
        text: str = self._readable_span().to_json(indent)
        return text

    def __deepcopy__(self, memo: dict[int, Any]) -> ReadableSpan:
        """Of one that has ended, as of the SDK's."""
        if self.end_time is None:
            raise TypeError("an open span cannot be copied")
        copied: ReadableSpan = deepcopy(self._readable_span(), memo)
        return copied

    def __repr__(self) -> str:
        return f'{type(self).__name__}(name="{self.name}", context={self.context})'

    def _readable_span(self) -> ReadableSpan:
        """As the SDK's span is now; so it is called there, and some processors ask for it."""
        return ReadableSpan(
            name=self.name,
            context=self.context,
            parent=self.parent,
            resource=self.resource,
            attributes=_bounded(dict(self.attributes), self.dropped_attributes),
            events=self.events,
            links=self.links,
            kind=self.kind,
            instrumentation_info=self._recorder.info,
            status=self.status,
            start_time=self.start_time,
            end_time=self.end_time,
            instrumentation_scope=self.instrumentation_scope,
        )

    # ---- under the lock

    def _put(self, key: str, value: Any) -> bool:
        """The last that is set stands last; True if the oldest had to go for it."""
        attributes = self.values
        if key in attributes:
            del attributes[key]
        elif len(attributes) == self._recorder.most:
            self.dropped_attributes += 1
            if not attributes:
                return False  # none is kept
            del attributes[next(iter(attributes))]
            attributes[key] = value
            return True
        attributes[key] = value
        return False

    def _put_all(self, attributes: dict[str, Any], dropped: int) -> None:
        """Takes the lock itself. What was *dropped* before counts as well."""
        full = 0
        with self._lock:
            ended = self.end_time is not None
            if not ended:
                self.dropped_attributes += dropped
                for key, value in attributes.items():
                    full += self._put(key, value)
        if ended:
            logger.warning("Setting attribute on ended span.")
        for _ in range(full):
            _say_full()

    def _link_record(self, context: SpanContext, attributes: types.Attributes) -> LinkRecord:
        limits = self._recorder.limits
        return context, *_kept(attributes, limits.max_link_attributes, limits.max_attribute_length)

    def _link(self, record: LinkRecord) -> None:
        links = self.link_records
        links.append(record)
        most = self._recorder.limits.max_links
        if most is not None and len(links) > most:
            del links[0]
            self.dropped_links += 1


# What is private there, under the names that processors and instrumentations of others read, and
# write where it cannot be done otherwise: a name that is put right, an attribute that is masked.
for _public, _private in {
    "context": "_context",
    "end_time": "_end_time",
    "instrumentation_scope": "_instrumentation_scope",
    "kind": "_kind",
    "name": "_name",
    "parent": "_parent",
    "resource": "_resource",
    "start_time": "_start_time",
    "status": "_status",
    "values": "_attributes",
    "events": "_events",
    "links": "_links",
}.items():
    setattr(LightSpan, _private, vars(LightSpan)[_public])


def _kept(
    given: types.Attributes, most: int | None, length: int | None
) -> tuple[dict[str, Any], int]:
    """A copy of *given* as the SDK keeps it, *most* of them, and how many it drops."""
    if not given:
        return {}, 0
    kind = type(given)
    if length is None and (kind is dict or kind is MappingProxyType):
        try:
            kept = given.copy()  # type: ignore[attr-defined]
        except AttributeError:  # a proxy of something else
            kept = None
        if (
            type(kept) is dict
            and _PLAIN.issuperset(map(type, kept.values()))
            and _TEXT.issuperset(map(type, kept))
            and "" not in kept
            and (most is None or len(kept) <= most)
        ):
            return kept, 0
    bounded = BoundedAttributes(most, given, max_value_len=length)
    return dict(bounded), bounded.dropped


def _bounded(attributes: dict[str, Any], dropped: int) -> BoundedAttributes:
    """What was kept, in the SDK's type, which tells how many it dropped."""
    bounded = BoundedAttributes(None, attributes)
    bounded.dropped = dropped
    return bounded


def _is_valid_link(context: SpanContext | None, attributes: types.Attributes) -> bool:
    return bool(context and (context.is_valid or attributes or context.trace_state))


def _say_ended(method: str) -> None:
    logger.warning("Tried calling %s on an ended span.", method)


def _say_full() -> None:
    logging.getLogger("opentelemetry.attributes").warning(
        "Attributes dict is full. Dropping the oldest key-value pair from attributes to make space "
        "for the new key-value pair."
    )
