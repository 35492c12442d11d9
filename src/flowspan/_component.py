"""
What flowspan reads off a component: id, name, type, class and incoming edges, once, at its start.

A component is anything: ours, Langflow's, a string, None. Leans on `_payload` for clean text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from flowspan._payload import NAME_BOUND, label


@dataclass(frozen=True, slots=True)
class Edge:
    """
    An edge of the graph that arrives at a component, from the component whose id is *source*.

    It becomes a link from the component's span to the latest span of *source* in the same run.
    """

    source: str
    source_output: str | None = None
    target_input: str | None = None


@dataclass(frozen=True, slots=True)
class Component:
    """
    A component of a flow: *id* is unique in the graph, *name* is what people read.

    *type*: `agent`, `tool`, `retriever`, `embedding` and `llm` have a meaning of their own in
    tracing tools; any other word is kept as it is.
    """

    id: str
    name: str = ""
    type: str = "chain"
    edges: Sequence[Edge] = ()
    class_name: str | None = None


class TracedComponent(Protocol):
    """
    What is read from a component object, each optional; Langflow's components have them.

    `_vertex.id` or `_id` or `id`; `display_name` or `name`; `trace_type` or `type`;
    `_vertex.incoming_edges`, each with `source_id`, `source_handle.name` and `target_param`.
    """

    display_name: str
    trace_type: str


def describe(component: object, trace_name: object) -> Component:
    """
    *component* with clean, bounded, never empty texts. Attributes that raise are passed over.

    They may hold secrets still: `Payloads.short` takes those out and cuts the text.
    """
    kind = type(component)
    given_name = label(trace_name, NAME_BOUND)
    if kind is Component:
        found: Any = component
        name = label(found.name, NAME_BOUND) or given_name
        component_id = label(found.id) or name or "component"
        name = component_name(name or component_id, component_id)
        type_ = label(found.type, NAME_BOUND) or "chain"
        class_name = label(found.class_name, NAME_BOUND)
        edges = _given_edges(found.edges)
        clean = component_id is found.id and name is found.name and type_ is found.type
        if clean and edges is found.edges and class_name is found.class_name:
            return component  # type: ignore[return-value]
        return Component(component_id, name, type_, edges, class_name)
    if component is None or kind is str:
        component_id = label(component) or given_name or "component"
        return Component(component_id, component_name(given_name or component_id, component_id))
    vertex = read(component, "_vertex")
    component_id = (
        label(read(vertex, "id"))
        or label(read(component, "_id"))
        or label(read(component, "id"))
        or given_name
        or _class_name(kind)
        or "component"
    )
    name = given_name or _text(component, "display_name", "name") or component_id
    return Component(
        component_id,
        component_name(name, component_id),
        _text(component, "trace_type", "type") or "chain",
        _edges(vertex),
        _class_name(kind),
    )


def component_name(name: str, component_id: str) -> str:
    """The display name: *name* without Langflow's ` (id)`."""
    suffix = f" ({component_id})"
    return name[: -len(suffix)] if name.endswith(suffix) and name != suffix else name


def _class_name(kind: type) -> str | None:
    try:
        return label(kind.__name__, NAME_BOUND)
    except Exception:  # noqa: BLE001 - a metaclass may do anything
        return None


def read(owner: object, name: str) -> Any:
    """An attribute of somebody else's object; None if it has none, or raises."""
    try:
        return getattr(owner, name, None)
    except Exception:  # noqa: BLE001 - a property of somebody else's
        return None


def _text(owner: object, *names: str) -> str | None:
    for name in names:
        value = read(owner, name)
        if type(value) is str and value:
            return label(value, NAME_BOUND)
    return None


def _given_edges(edges: Any) -> tuple[Edge, ...]:
    """What is an edge with a source in *edges*, a list or tuple."""
    if type(edges) not in (list, tuple) or not edges:
        return ()
    return tuple(
        Edge(source, label(edge.source_output), label(edge.target_input))
        for edge in edges
        if type(edge) is Edge and (source := label(edge.source))
    )


def _edges(vertex: object) -> tuple[Edge, ...]:
    edges = read(vertex, "incoming_edges")
    if type(edges) not in (list, tuple) or not edges:
        return ()
    return tuple(
        Edge(
            source,
            label(read(read(edge, "source_handle"), "name")),
            label(read(edge, "target_param")),
        )
        for edge in edges
        if (source := label(read(edge, "source_id")))
    )
