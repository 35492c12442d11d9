"""
The graph of a trace's components: which ran, and along which edges.

One graph a run, as a sub-flow is a graph of its own. A component that ran several times, in a loop
or as several calls, is one node with several spans. A trace without components has the graph of
its calls. Leans on the model only; where the nodes stand is the page's affair.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from flowspan import semconv
from flowspan.cli.view._model import Span, Trace

MAX_NODES: Final = 400  # of one graph: more cannot be read

FLOW: Final = "flow"  # data went along it
CALL: Final = "call"  # the target ran inside the source


@dataclass(slots=True)
class Node:
    id: str
    name: str
    spans: list[Span] = field(default_factory=list)


@dataclass(slots=True)
class Edge:
    source: Node
    target: Node
    kind: str = FLOW
    labels: list[str] = field(default_factory=list)  # `output → input`, as the flow names them
    count: int = 0


@dataclass(slots=True)
class Graph:
    """Nodes by the start of their first span."""

    name: str
    nodes: list[Node] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    left_out: int = 0


def graphs(trace: Trace) -> list[Graph]:
    """Of each run with components, by start; of the calls if there is none."""
    found = list(_of_components(trace))
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
            node = self.nodes[key] = Node(str(key), name)
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
        edge.count += 1
        if label and label not in edge.labels and len(edge.labels) < 8:
            edge.labels.append(label)


def _of_components(trace: Trace) -> Iterator[Graph]:
    by_run: dict[str, list[Span]] = {}
    for span in trace.spans:
        if _node_id(span):
            by_run.setdefault(_text(span.attributes, semconv.RUN_ID), []).append(span)
    for run_id, spans in by_run.items():
        drawing = _Drawing(_name_of_run(trace, run_id, spans))
        for span in spans:
            name = _text(span.attributes, semconv.GRAPH_NODE_NAME) or span.name
            drawing.node(_node_id(span), name, span)
        for span in spans:
            _edges_of(trace, drawing, span)
        yield drawing.graph


def _edges_of(trace: Trace, drawing: _Drawing, span: Span) -> None:
    target = _node_id(span)
    linked = False
    for link in span.links:
        if link.attributes.get(semconv.LINK_TYPE) != semconv.LINK_EDGE:
            continue
        begin = _text(link.attributes, semconv.EDGE_SOURCE)
        end = _text(link.attributes, semconv.EDGE_TARGET)
        linked_span = trace.by_id.get(link.span_id)
        source = _node_id(linked_span) if linked_span is not None else ""
        source = source or _owner(begin, drawing.nodes)
        if source:
            linked = True
            output, given = _port(begin, source), _port(end, target)
            drawing.edge(source, target, FLOW, " → ".join(filter(None, (output, given))))
    outer = _component_around(trace, span)
    if outer and outer != target:
        drawing.edge(outer, target, CALL)
    elif not linked and (parent := _text(span.attributes, semconv.GRAPH_NODE_PARENT_ID)):
        drawing.edge(parent, target, FLOW)


def _component_around(trace: Trace, span: Span) -> str:
    """The node of the nearest component of the same run that *span* ran inside."""
    run = span.attributes.get(semconv.RUN_ID)
    for above in _ancestors(trace, span):
        if semconv.RUN_STATUS in above.attributes:
            return ""
        if _node_id(above) and above.attributes.get(semconv.RUN_ID) == run:
            # under FLOWSPAN_PARENTING=edge a predecessor is the parent: it has ended by then
            return _node_id(above) if not above.end or above.end > span.start else ""
    return ""


def _ancestors(trace: Trace, span: Span) -> Iterator[Span]:
    seen = {span.span_id}
    above = trace.by_id.get(span.parent_id)
    while above is not None and above.span_id not in seen:
        seen.add(above.span_id)
        yield above
        above = trace.by_id.get(above.parent_id)


def _of_calls(trace: Trace) -> Graph:
    drawing = _Drawing("Calls")
    for span in trace.spans:
        drawing.node((span.service, span.name), span.name, span)
    for span in trace.spans:
        parent = trace.by_id.get(span.parent_id)
        if parent is not None and (parent.service, parent.name) != (span.service, span.name):
            drawing.edge((parent.service, parent.name), (span.service, span.name), CALL)
    return drawing.graph


def _name_of_run(trace: Trace, run_id: str, spans: list[Span]) -> str:
    for span in trace.spans:
        if run_id and semconv.RUN_STATUS in span.attributes:
            if span.attributes.get(semconv.RUN_ID) == run_id:
                return span.name
    return _text(spans[0].attributes, semconv.FLOW_NAME) or trace.root.name


def _node_id(span: Span) -> str:
    return _text(span.attributes, semconv.GRAPH_NODE_ID)


def _owner(end: str, nodes: Iterable[str]) -> str:
    """The node that *end* of an edge, `id` or `id.output`, belongs to; ids may have dots."""
    fitting = [node for node in nodes if end == node or end.startswith(f"{node}.")]
    return max(fitting, key=len, default="")


def _port(end: str, node: str) -> str:
    return end[len(node) + 1 :] if end.startswith(f"{node}.") else ""


def _text(attributes: Mapping[str, Any], name: str) -> str:
    value = attributes.get(name)
    return value if isinstance(value, str) else ""
