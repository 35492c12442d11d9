"""What a sink or a Jaeger holds -> trees of names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from backends import Span
from flowspan import semconv


def ours(spans: Iterable[Span]) -> list[Span]:
    return [span for span in spans if span["scope"]["name"] == semconv.SCOPE_NAME]


def of_session(spans: Iterable[Span], session: str) -> list[Span]:
    """
    Our spans of every trace that has one of that session, in the order of their start.

    A span of Langflow's own between two of ours (`flow.execute`) is left out.
    """
    everything = list(spans)
    found = ours(everything)
    traces = {s["trace_id"] for s in found if s["attributes"].get(semconv.SESSION_ID) == session}
    known = {span["span_id"] for span in found}
    parents = {s["span_id"]: s["parent_span_id"] for s in everything if s["trace_id"] in traces}

    def parent(span: Span) -> str:
        above = span["parent_span_id"]
        while above in parents and above not in known:
            above = parents[above]
        return above

    listed = [Span(**{**s, "parent_span_id": parent(s)}) for s in found if s["trace_id"] in traces]
    return sorted(listed, key=lambda span: span["start_nanos"])


def trees(spans: Iterable[Span]) -> list[Any]:
    """One tree a root, children by start; a second child of a name reads `name#2`."""
    listed = list(spans)
    known = {span["span_id"] for span in listed}
    children: dict[str, list[Span]] = {}
    for span in listed:
        parent = span["parent_span_id"] if span["parent_span_id"] in known else ""
        children.setdefault(parent, []).append(span)

    def below(parent: str) -> dict[str, Any]:
        tree: dict[str, Any] = {}
        for span in children.get(parent, []):
            name, number = span["name"], 1
            while name in tree:
                number += 1
                name = f"{span['name']}#{number}"
            tree[name] = below(span["span_id"])
        return tree

    return [{root["name"]: below(root["span_id"])} for root in children.get("", [])]


def status(span: Span) -> str:
    """`ok`, `error`, `cancelled`, …; `unset` for a component that says nothing."""
    said = span["attributes"]
    given = said.get(semconv.RUN_STATUS) or said.get(semconv.COMPONENT_STATUS)
    if given is None:
        given = "error" if span["status"]["code"] == "ERROR" else "unset"
    return str(given)


def edges(spans: Iterable[Span]) -> set[tuple[str, str]]:
    """(predecessor, successor) for each link of an edge; both ends must be in the trace."""
    listed = list(spans)
    names = {span["span_id"]: span["name"] for span in listed}
    return {
        (names[link["span_id"]], span["name"])
        for span in listed
        for link in span["links"]
        if link["attributes"][semconv.LINK_TYPE] == semconv.LINK_EDGE
    }
