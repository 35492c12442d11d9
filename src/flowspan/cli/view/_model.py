"""
Traces as they are looked at: what every reader makes and every view shows.

Leans on nothing of OpenTelemetry's, so that spans of any origin fit: OTLP in JSON or protobuf, the
SDK's finished spans. Times are nanoseconds since 1970, ids lower-case hex as people see them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from flowspan import semconv

UNSET: Final = 0
OK: Final = 1
ERROR: Final = 2

NO_ATTRIBUTES: Final[Mapping[str, Any]] = {}


def _none() -> Mapping[str, Any]:
    return NO_ATTRIBUTES


@dataclass(slots=True, kw_only=True)
class Event:
    """Something that happened at one time within a span."""

    name: str
    time: int
    attributes: Mapping[str, Any] = field(default_factory=_none)
    more: Mapping[str, Any] = field(default_factory=_none)  # as `Details.more`


@dataclass(slots=True, kw_only=True)
class Link:
    """A reference to another span, of this trace or another."""

    trace_id: str
    span_id: str
    attributes: Mapping[str, Any] = field(default_factory=_none)
    more: Mapping[str, Any] = field(default_factory=_none)  # as `Details.more`


@dataclass(slots=True, kw_only=True, eq=False)
class Span:
    """
    One span. Attribute values: str, bool, int, float, bytes, None, lists and dicts of them.

    Of a large input *attributes*, *events* and *links* are read when they are asked for
    (`_stored`): ask once and keep what you got while you work on the span.
    """

    trace_id: str  # 32 hex digits
    span_id: str  # 16 hex digits
    parent_id: str = ""  # "" for a root
    name: str
    kind: int = 1  # OTLP's numbers: 1 internal, 2 server, 3 client, 4 producer, 5 consumer
    start: int
    end: int  # 0: not ended yet
    status: int = UNSET
    status_message: str = ""
    attributes: Mapping[str, Any] = field(default_factory=_none)
    events: Sequence[Event] = ()
    links: Sequence[Link] = ()
    service: str = ""  # `service.name` of the resource
    scope: str = ""  # name of the instrumentation scope
    scope_more: Mapping[str, Any] = field(
        default_factory=_none
    )  # its version and attributes; shared by the spans of one scope
    resource: Mapping[str, Any] = field(
        default_factory=_none
    )  # shared by the spans of one resource

    @property
    def duration(self) -> int:
        """Nanoseconds; never negative, 0 while it is open."""
        return max(0, self.end - self.start) if self.end else 0

    @property
    def is_error(self) -> bool:
        return self.status == ERROR or self.outcome == semconv.STATUS_ERROR

    @property
    def outcome(self) -> str:
        """What flowspan says of it (`ok`, `cancelled`, `abandoned`, …), else its status."""
        for name in (
            semconv.SPAN_STATUS,
            semconv.RUN_STATUS,
            semconv.COMPONENT_STATUS,
            semconv.CALL_STATUS,
        ):
            said = self.attributes.get(name)
            if isinstance(said, str) and said:
                return said
        return semconv.STATUS_ERROR if self.status == ERROR else semconv.STATUS_OK


class Trace:
    """
    The spans of one trace, as a tree whatever they say of their parents.

    A span whose parent is not there is a root. Of a cycle of parents the earliest span becomes a
    root. Roots and children are in the order of their starts. A span id that comes twice is kept
    once: the one that has ended, else the later one.
    """

    __slots__ = ("_children", "_root_ids", "by_id", "roots", "spans", "trace_id")

    def __init__(self, trace_id: str, spans: Sequence[Span]) -> None:
        self.trace_id = trace_id
        by_id: dict[str, Span] = {}
        for span in spans:
            known = by_id.get(span.span_id)
            if known is None or span.end or not known.end:
                by_id[span.span_id] = span
        self.by_id = by_id
        self.spans = sorted(by_id.values(), key=_start)
        self.roots: list[Span] = []
        self._children: dict[str, list[Span]] = {}
        for span in self.spans:
            if span.parent_id in by_id and span.parent_id != span.span_id:
                self._children.setdefault(span.parent_id, []).append(span)
            else:
                self.roots.append(span)
        self._open_cycles()
        self._root_ids = {span.span_id for span in self.roots}

    def parent(self, span: Span) -> Span | None:
        """The span above it in the tree; None for a root."""
        return None if span.span_id in self._root_ids else self.by_id.get(span.parent_id)

    def children(self, span: Span) -> Sequence[Span]:
        """By start."""
        return self._children.get(span.span_id, ())

    @property
    def root(self) -> Span:
        """The one the trace is named after: the first root that is a run, else the first root."""
        for span in self.roots:
            if semconv.RUN_ID in span.attributes:
                return span
        return self.roots[0]

    @property
    def start(self) -> int:
        return self.spans[0].start

    @property
    def end(self) -> int:
        """The latest end; never before the start."""
        return max(self.start, max(span.end for span in self.spans))

    def walk(self) -> Iterator[tuple[Span, int]]:
        """Every span with its depth, parents before their children, however deep the tree is."""
        todo = [(span, 0) for span in reversed(self.roots)]
        while todo:
            span, depth = todo.pop()
            yield span, depth
            todo.extend((child, depth + 1) for child in reversed(self.children(span)))

    def _open_cycles(self) -> None:
        reached = {span.span_id for span, _ in self.walk()}
        for span in self.spans:
            if span.span_id not in reached:
                first = min(self._cycle_above(span), key=_start)
                self._children[first.parent_id].remove(first)
                self.roots.append(first)
                reached.update(below.span_id for below in self._below(first))
        self.roots.sort(key=_start)

    def _cycle_above(self, span: Span) -> list[Span]:
        """The cycle in which the parents of *span* end."""
        above: dict[str, Span] = {}
        while span.span_id not in above:
            above[span.span_id] = span
            span = self.by_id[span.parent_id]
        path = list(above.values())
        return path[path.index(span) :]

    def _below(self, span: Span) -> Iterator[Span]:
        todo = [span]
        while todo:
            span = todo.pop()
            yield span
            todo.extend(self.children(span))


def _start(span: Span) -> int:
    return span.start
