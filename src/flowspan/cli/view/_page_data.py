"""
Traces -> what the page holds of them: an outline of every span at once, the rest when looked at.

Plain values for JSON only. Columns instead of objects, times in nanoseconds since the trace's
start: what a browser needs of 10,000 spans to show them is half a megabyte, whatever they carry.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from flowspan import semconv
from flowspan.cli.view._analysis import OPEN, Analysis, analyse, tokens_of
from flowspan.cli.view._graph import Graph, graphs, place_of
from flowspan.cli.view._model import Span, Trace

_MAX_NAME: Final = 200
_MAX_MARKS: Final = 40  # of one span
_MAX_DEPTH: Final = 60  # of one value
_MAX_SAFE: Final = 2**53 - 1

KINDS: Final = (
    "run", "agent", "llm", "tool", "retriever", "embedding", "component", "http", "db", "queue",
    "span",
)  # fmt: skip
_OPERATIONS: Final = {
    "invoke_workflow": "run",
    "invoke_agent": "agent",
    "create_agent": "agent",
    "chat": "llm",
    "text_completion": "llm",
    "generate_content": "llm",
    "execute_tool": "tool",
    "retrieval": "retriever",
    "embeddings": "embedding",
}
_OPENINFERENCE: Final = {
    "AGENT": "agent",
    "LLM": "llm",
    "TOOL": "tool",
    "RETRIEVER": "retriever",
    "RERANKER": "retriever",
    "EMBEDDING": "embedding",
}
_COMPONENTS: Final = frozenset(("agent", "llm", "tool", "retriever", "embedding"))
_BY_ATTRIBUTE: Final = (
    ("db", ("db.system.name", "db.system")),
    ("queue", ("messaging.system",)),
    ("http", ("http.request.method", "http.method", "rpc.system", "url.full")),
)


def kind_of(span: Span) -> str:
    """Which of `KINDS` it is: its icon and its colour."""
    given = span.attributes
    if semconv.RUN_STATUS in given:
        return "run"
    kind = _OPERATIONS.get(str(given.get(semconv.GEN_AI_OPERATION_NAME)))
    kind = kind or _OPENINFERENCE.get(str(given.get(semconv.OPENINFERENCE_SPAN_KIND)))
    component = given.get(semconv.COMPONENT_TYPE)
    if kind is None and component is not None:
        kind = str(component) if str(component) in _COMPONENTS else "component"
    if kind is None:
        kind = next((k for k, names in _BY_ATTRIBUTE if any(n in given for n in names)), "span")
    return kind


def plain(value: Any, depth: int = 0) -> Any:
    """As JSON has it. What JavaScript's numbers cannot hold is `{"\\0": its text}`."""
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, int):
        return value if -_MAX_SAFE <= value <= _MAX_SAFE else {"\0": str(value)}
    if isinstance(value, float):
        return value if math.isfinite(value) else {"\0": str(value)}
    if isinstance(value, (bytes, bytearray)):
        return {"\0": f"base64 {base64.b64encode(value).decode()}"}
    if depth >= _MAX_DEPTH:
        return {"\0": "…"}
    if isinstance(value, Mapping):
        return {str(key): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, depth + 1) for item in value]
    return {"\0": str(value)}


def detail(span: Span, trace: Trace, resource: int) -> dict[str, Any]:
    """All that is seen of *span* once it is opened, or searched."""
    return {
        "name": span.name,
        "kind": span.kind,
        "message": span.status_message,
        "attributes": plain(span.attributes),
        "events": [
            [event.name, event.time - trace.start, plain(event.attributes)] for event in span.events
        ],
        "links": [[link.trace_id, link.span_id, plain(link.attributes)] for link in span.links],
        "scope": span.scope,
        "resource": resource,
    }


def outline(trace: Trace, spans: Sequence[Span]) -> dict[str, Any]:
    """What is seen of the trace at once. *spans* are its spans as `Trace.walk` orders them."""
    place = {span.span_id: index for index, span in enumerate(spans)}
    start, root, found = trace.start, trace.root, analyse(trace)
    columns = _Columns(place, start)
    places = {}
    for index, span in enumerate(spans):  # a span's attributes may be on disk: all of one at a time
        columns.add(index, span)
        places[span.span_id] = place_of(span)
    return {
        "id": trace.trace_id,
        "start": str(start),
        "duration": found.duration,
        "extent": trace.end - start,
        "usage": found.tokens,
        "errors": sorted(place[span.span_id] for span in found.errors),
        "root": place[root.span_id],
        "session": _short(root.attributes.get(semconv.SESSION_ID)),
        "user": _short(root.attributes.get(semconv.USER_ID)),
        "ids": [span.span_id for span in spans],
        "parent": [_parent(trace, span, place) for span in spans],
        "begin": [span.start - start for span in spans],
        "length": [span.duration if span.end else -1 for span in spans],
        "self": [found.self_times[span.span_id] for span in spans],
        "critical": _critical(found, place, start),
        "graphs": [_drawn(graph, place) for graph in graphs(trace, places)],
        **columns.all(),
    }


class _Columns:
    """What the attributes, events and links of spans add to the outline, span by span."""

    def __init__(self, place: Mapping[str, int], start: int) -> None:
        self._place, self._start = place, start
        self._names = _Names()
        self._dense: dict[str, list[int]] = {
            name: [] for name in ("name", "outcome", "kind", "type", "service")
        }
        self._sparse: dict[str, dict[int, Any]] = {"model": {}, "marks": {}, "tokens": {}}
        self._links: list[tuple[int, int, str]] = []

    def add(self, index: int, span: Span) -> None:
        given, name = span.attributes, self._names.place
        row = {
            "name": name(span.name),
            "outcome": name(span.outcome if span.end else OPEN),
            "kind": KINDS.index(kind_of(span)),
            "type": name(_short(given.get(semconv.COMPONENT_TYPE))),
            "service": name(span.service),
        }
        for column, value in row.items():
            self._dense[column].append(value)
        model = given.get(semconv.GEN_AI_RESPONSE_MODEL) or given.get(semconv.GEN_AI_REQUEST_MODEL)
        if model:
            self._sparse["model"][index] = name(_short(model))
        if any(tokens := tokens_of(span)):
            self._sparse["tokens"][index] = tokens
        if marks := [event.time - self._start for event in span.events[:_MAX_MARKS]]:
            self._sparse["marks"][index] = marks
        self._links += [
            (index, self._place[link.span_id], _short(link.attributes.get(semconv.LINK_TYPE)))
            for link in span.links
            if link.span_id in self._place and link.trace_id == span.trace_id
        ]

    def all(self) -> dict[str, Any]:
        return {**self._dense, **self._sparse, "links": self._links, "names": self._names.all()}


class _Names:
    """A table of texts that come often, in the order in which they came."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}

    def place(self, name: str) -> int:
        return self._places.setdefault(_short(name), len(self._places))

    def all(self) -> list[str]:
        return list(self._places)


def _critical(found: Analysis, place: Mapping[str, int], start: int) -> dict[int, list[list[int]]]:
    """The spans on the critical path, and when the trace waited for the span itself."""
    path: dict[int, list[list[int]]] = {place[span_id]: [] for span_id in found.critical}
    for section in found.path:
        path[place[section.span.span_id]].append([section.start - start, section.end - start])
    return path


def _drawn(graph: Graph, place: Mapping[str, int]) -> dict[str, Any]:
    number = {id(node): index for index, node in enumerate(graph.nodes)}
    return {
        "name": _short(graph.name),
        "left": graph.left_out,
        "nodes": [
            (_short(node.name), [place[span.span_id] for span in node.spans])
            for node in graph.nodes
        ],
        "edges": [
            (number[id(edge.source)], number[id(edge.target)], edge.kind, edge.labels)
            for edge in graph.edges
        ],
    }


def _parent(trace: Trace, span: Span, place: Mapping[str, int]) -> int:
    parent = trace.parent(span)
    return -1 if parent is None else place[parent.span_id]


def _short(value: Any) -> str:
    if value is None:
        return ""
    text = str(value)
    return text if len(text) <= _MAX_NAME else f"{text[: _MAX_NAME - 1]}…"
