"""
The graph of a trace's components: which ran, and along which edges.

One graph a run, as a sub-flow is a graph of its own. A component that ran several times, in a loop
or as several calls, is one node with several spans. A trace without components has the graph of
its calls. Leans on the model only; where the nodes stand is the page's affair.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from flowspan import semconv
from flowspan.cli.view._model import Span, Trace

MAX_NODES: Final = 400  # of one graph: more cannot be read
_MAX_LABELS: Final = 8  # of one edge

FLOW: Final = "flow"  # data went along it
CALL: Final = "call"  # the target ran inside the source


@dataclass(slots=True)
class Node:
    name: str
    spans: list[Span] = field(default_factory=list)


@dataclass(slots=True)
class Edge:
    source: Node
    target: Node
    kind: str = FLOW
    labels: list[str] = field(default_factory=list)  # `output → input`, as the flow names them


@dataclass(slots=True)
class Graph:
    """Nodes by the start of their first span."""

    name: str
    nodes: list[Node] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    left_out: int = 0


@dataclass(slots=True)
class Place:
    """What a span says of its place in a graph. Taken once: attributes may be on disk."""

    run: str = ""
    node: str = ""
    name: str = ""
    before: str = ""  # the first predecessor, where no link says it
    is_run: bool = False
    flow: str = ""
    edges: Sequence[tuple[str, str, str]] = ()  # span id of the source, both ends


def place_of(span: Span) -> Place:
    given = span.attributes
    run, is_run = _text(given, semconv.RUN_ID), semconv.RUN_STATUS in given
    node = _text(given, semconv.GRAPH_NODE_ID)
    if not node:
        return Place(run, is_run=is_run)
    return Place(
        run,
        node,
        _text(given, semconv.GRAPH_NODE_NAME) or span.name,
        _text(given, semconv.GRAPH_NODE_PARENT_ID),
        is_run,
        _text(given, semconv.FLOW_NAME),
        [
            (
                link.span_id if link.trace_id == span.trace_id else "",
                _text(link.attributes, semconv.EDGE_SOURCE),
                _text(link.attributes, semconv.EDGE_TARGET),
            )
            for link in span.links
            if link.attributes.get(semconv.LINK_TYPE) == semconv.LINK_EDGE
        ],
    )


Places = Mapping[str, Place]


def graphs(trace: Trace, places: Places) -> list[Graph]:
    """
    Of each run with components, by start; of the calls if there is none.

    *places*: `place_of` each span, by span id.
    """
    found = list(_of_components(trace, places))
    return found or [_of_calls(trace)]


class _Drawing:
    """A graph while it grows."""

    def __init__(self, name: str) -> None:
        self.graph = Graph(name)
        self.nodes: dict[Any, Node] = {}
        self._edges: dict[tuple[int, int, str], Edge] = {}

    def node(self, key: Any, name: str, span: Span) -> None:
        node = self.nodes.get(key)
        if node is None:
            if len(self.nodes) >= MAX_NODES:
                self.graph.left_out += 1
                return
            node = self.nodes[key] = Node(name)
            self.graph.nodes.append(node)
        node.spans.append(span)

    def edge(self, source: Any, target: Any, kind: str, label: str = "") -> None:
        begin, end = self.nodes.get(source), self.nodes.get(target)
        if begin is None or end is None:
            return
        edge = self._edges.get((id(begin), id(end), kind))
        if edge is None:
            edge = self._edges[id(begin), id(end), kind] = Edge(begin, end, kind)
            self.graph.edges.append(edge)
        if label and label not in edge.labels and len(edge.labels) < _MAX_LABELS:
            edge.labels.append(label)


def _of_components(trace: Trace, places: Places) -> Iterator[Graph]:
    by_run: dict[str, list[Span]] = {}
    names: dict[str, str] = {}
    for span in trace.spans:
        place = places[span.span_id]
        if place.node:
            by_run.setdefault(place.run, []).append(span)
        if place.is_run:
            names.setdefault(place.run, span.name)
    for run, spans in by_run.items():
        flow = places[spans[0].span_id].flow
        drawing = _Drawing(names.get(run) or flow or trace.root.name)
        for span in spans:
            place = places[span.span_id]
            drawing.node(place.node, place.name, span)
        for span in spans:
            _draw_edges(trace, places, drawing, span)
        yield drawing.graph


def _draw_edges(trace: Trace, places: Places, drawing: _Drawing, span: Span) -> None:
    place = places[span.span_id]
    linked = False
    for span_id, begin, end in place.edges:
        source = places[span_id].node if span_id in places else ""
        source = source or _owner(begin, drawing.nodes)
        if source:
            linked = True
            ports = filter(None, (_port(begin, source), _port(end, place.node)))
            drawing.edge(source, place.node, FLOW, " → ".join(ports))
    outer = _component_around(trace, places, span)
    if outer and outer != place.node:
        drawing.edge(outer, place.node, CALL)
    elif not linked and place.before:
        drawing.edge(place.before, place.node, FLOW)


def _component_around(trace: Trace, places: Places, span: Span) -> str:
    """The node of the nearest component of the same run that *span* ran inside."""
    above = trace.parent(span)
    while above is not None:
        place = places[above.span_id]
        if place.is_run:
            return ""
        if place.node and place.run == places[span.span_id].run:
            # under FLOWSPAN_PARENTING=edge a predecessor is the parent: it has ended by then
            return place.node if not above.end or above.end > span.start else ""
        above = trace.parent(above)
    return ""


def _of_calls(trace: Trace) -> Graph:
    drawing = _Drawing("Calls")
    for span in trace.spans:
        drawing.node((span.service, span.name), span.name, span)
    for span in trace.spans:
        parent = trace.parent(span)
        if parent is not None and (parent.service, parent.name) != (span.service, span.name):
            drawing.edge((parent.service, parent.name), (span.service, span.name), CALL)
    return drawing.graph


def _owner(end: str, nodes: Iterable[str]) -> str:
    """The node that *end* of an edge, `id` or `id.output`, belongs to; ids may have dots."""
    fitting = [node for node in nodes if end == node or end.startswith(f"{node}.")]
    return max(fitting, key=len, default="")


def _port(end: str, node: str) -> str:
    return end[len(node) + 1 :] if end.startswith(f"{node}.") else ""


def _text(attributes: Mapping[str, Any], name: str) -> str:
    value = attributes.get(name)
    return value if isinstance(value, str) else ""
