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
from flowspan.cli.view._graph import graphs
from flowspan.cli.view._model import Link, Span, Trace

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


class Names:
    """A table of texts that come often, in the order in which they came."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}

    def place(self, name: str) -> int:
        if len(name) > _MAX_NAME:
            name = name[: _MAX_NAME - 1] + "…"
        return self._places.setdefault(name, len(self._places))

    def all(self) -> list[str]:
        return list(self._places)


def kind_of(span: Span) -> str:
    """Which of `KINDS` it is: its icon and its colour."""
    given = span.attributes
    if semconv.RUN_STATUS in given:
        return "run"
    kind = _OPERATIONS.get(str(given.get(semconv.GEN_AI_OPERATION_NAME)))
    kind = kind or _OPENINFERENCE.get(str(given.get(semconv.OPENINFERENCE_SPAN_KIND)))
    component = given.get(semconv.COMPONENT_TYPE)
    if kind is None and component is not None:
        kind = str(component) if component in _COMPONENTS else "component"
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
    names, start = Names(), trace.start
    root, found = trace.root, analyse(trace)
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
        "name": [names.place(span.name) for span in spans],
        "parent": [_parent(span, place, index) for index, span in enumerate(spans)],
        "begin": [span.start - start for span in spans],
        "length": [span.duration if span.end else -1 for span in spans],
        "self": [found.self_times[span.span_id] for span in spans],
        "tokens": {
            index: tokens for index, span in enumerate(spans) if any(tokens := tokens_of(span))
        },
        "critical": _critical(found, place, start),
        "outcome": [names.place(outcome_of(span)) for span in spans],
        "kind": [KINDS.index(kind_of(span)) for span in spans],
        "type": [
            names.place(_short(span.attributes.get(semconv.COMPONENT_TYPE))) for span in spans
        ],
        "service": [names.place(span.service) for span in spans],
        "model": {
            index: names.place(model) for index, span in enumerate(spans) if (model := _model(span))
        },
        "marks": {
            index: [event.time - start for event in span.events[:_MAX_MARKS]]
            for index, span in enumerate(spans)
            if span.events
        },
        "links": [
            [index, place[link.span_id], _link(link)]
            for index, span in enumerate(spans)
            for link in span.links
            if link.span_id in place
        ],
        "graphs": [
            {
                "name": graph.name[:_MAX_NAME],
                "left": graph.left_out,
                "nodes": [
                    [node.name[:_MAX_NAME], [place[span.span_id] for span in node.spans]]
                    for node in graph.nodes
                ],
                "edges": _edges(graph),
            }
            for graph in graphs(trace)
        ],
        "names": names.all(),
    }


def _critical(found: Analysis, place: Mapping[str, int], start: int) -> dict[int, list[list[int]]]:
    """The spans on the critical path, and when the trace waited for the span itself."""
    path: dict[int, list[list[int]]] = {place[span_id]: [] for span_id in found.critical}
    for section in found.path:
        path[place[section.span.span_id]].append([section.start - start, section.end - start])
    return path


def outcome_of(span: Span) -> str:
    """Its outcome; a span without an end is still running, or nobody knows."""
    return span.outcome if span.end else OPEN


def _edges(graph: Any) -> list[list[Any]]:
    number = {id(node): index for index, node in enumerate(graph.nodes)}
    return [
        [number[id(edge.source)], number[id(edge.target)], edge.kind, edge.labels]
        for edge in graph.edges
    ]


def _parent(span: Span, place: Mapping[str, int], index: int) -> int:
    """Its place, -1 for a root. The walk comes to parents first: a later one closes a cycle."""
    parent = place.get(span.parent_id, -1)
    return parent if parent < index else -1


def _link(link: Link) -> str:
    return _short(link.attributes.get(semconv.LINK_TYPE))


def _model(span: Span) -> str:
    given = span.attributes
    return _short(
        given.get(semconv.GEN_AI_RESPONSE_MODEL) or given.get(semconv.GEN_AI_REQUEST_MODEL)
    )


def _short(value: Any) -> str:
    return str(value)[:_MAX_NAME] if value is not None else ""
