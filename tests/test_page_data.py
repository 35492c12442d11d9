"""What the page of traces is made of: outline, graph, details; without a browser."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from pathlib import Path
from typing import Any

from flowspan import semconv
from flowspan.cli.view import _graph
from flowspan.cli.view._graph import CALL, FLOW, graphs, place_of
from flowspan.cli.view._model import Link, Trace
from flowspan.cli.view._page_data import kind_of, plain
from pages import Flow, many, research, save

HOSTILE = "</script><script>alert(1)</script><!-- \u2028 \ud800 {{script}} {{index}}"


def drawn(flow: Flow) -> list[tuple[str, list[tuple[str, int]], list[tuple[str, str, str]]]]:
    """Each graph as its name, nodes with the number of their spans, edges."""
    trace = flow.trace()
    found = graphs(trace, {span.span_id: place_of(span) for span in trace.spans})
    return [
        (
            graph.name,
            [(node.name, len(node.spans)) for node in graph.nodes],
            [(edge.source.name, edge.target.name, edge.kind) for edge in graph.edges],
        )
        for graph in found
    ]


# ---- the graph


def test_edges_are_the_links_between_components() -> None:
    """A loop is an edge back; a component inside another is called by it."""
    ((name, nodes, edges),) = drawn(research())

    assert name == "Research"
    assert nodes == [
        ("Chat Input", 1),
        ("Loop", 2),
        ("Web Search", 2),
        ("Cache", 2),
        ("Model", 2),
        ("Report", 1),
        ("get_rates", 1),
        ("Mail", 1),
    ]
    assert set(edges) == {
        ("Chat Input", "Loop", FLOW),
        ("Model", "Loop", FLOW),
        ("Loop", "Web Search", FLOW),
        ("Loop", "Cache", FLOW),
        ("Web Search", "Model", FLOW),
        ("Cache", "Model", FLOW),
        ("Model", "Report", FLOW),
        ("Chat Input", "Report", FLOW),
        ("Report", "get_rates", CALL),
        ("Report", "Mail", FLOW),
    }


def test_ids_may_have_dots_and_spans_may_be_missing() -> None:
    """Where the source's span was not kept, the edge's own words name it: the longest id."""
    flow = Flow("Flow")
    flow.component("Short", 0, 1, id="node")
    flow.component("Long", 1, 2, id="node.v2")
    last = flow.component("Last", 2, 3)
    last.links = [
        Link(
            trace_id=flow.trace_id,
            span_id="f" * 16,
            attributes={
                semconv.LINK_TYPE: "edge",
                semconv.EDGE_SOURCE: "node.v2.text",
                semconv.EDGE_TARGET: "Last.input",
            },
        )
    ]

    ((_, _, edges),) = drawn(flow)

    assert edges == [("Long", "Last", FLOW)]


def test_a_span_of_the_same_id_in_another_trace_is_not_linked() -> None:
    """Ids of spans are only unique within their trace."""
    flow = Flow("Flow")
    first = flow.component("First", 0, 1)
    last = flow.component("Last", 1, 2, after=[first])
    last.links = [
        Link(
            trace_id="f" * 32,
            span_id=first.span_id,
            attributes={semconv.LINK_TYPE: semconv.LINK_EDGE},
        )
    ]

    ((_, _, edges),) = drawn(flow)

    assert edges == []


def test_a_sub_flow_is_a_graph_of_its_own() -> None:
    """Components of the same id in two runs are two."""
    flow = Flow("Outer")
    runner = flow.component("Run Flow", 0, 9)
    inner = flow.span(
        "Inner",
        1,
        8,
        {semconv.RUN_ID: "inner", semconv.RUN_STATUS: "ok"},
        parent=runner,
    )
    below = flow.component("Run Flow", 2, 3, parent=inner)
    below.attributes = {**below.attributes, semconv.RUN_ID: "inner"}

    assert drawn(flow) == [
        ("Outer", [("Run Flow", 1)], []),
        ("Inner", [("Run Flow", 1)], []),
    ]


def test_a_predecessor_that_is_the_parent_is_no_caller() -> None:
    """`FLOWSPAN_PARENTING=edge`: it has ended when its successor starts."""
    flow = Flow("Flow")
    first = flow.component("First", 0, 1)
    flow.component("Second", 1, 2, after=[first], parent=first)

    ((_, _, edges),) = drawn(flow)

    assert edges == [("First", "Second", FLOW)]


def test_too_many_nodes_are_left_out_and_counted() -> None:
    """A graph of thousands cannot be read."""
    flow = Flow("Flow")
    for at in range(_graph.MAX_NODES + 5):
        flow.component(f"Component {at}", at, at + 1)

    trace = flow.trace()
    (graph,) = graphs(trace, {span.span_id: place_of(span) for span in trace.spans})

    assert (len(graph.nodes), graph.left_out) == (_graph.MAX_NODES, 5)


# ---- values


def test_values_are_what_json_can_hold() -> None:
    """What a number of JavaScript cannot, keeps its text."""
    given = {"big": 2**63, "small": 7, "nan": float("nan"), "raw": b"\0", "list": (1, True, None)}

    assert plain(given) == {
        "big": {"\0": str(2**63)},
        "small": 7,
        "nan": {"\0": "nan"},
        "raw": {"\0": "base64 AA=="},
        "list": [1, True, None],
    }


def test_a_value_of_any_depth_ends() -> None:
    """Cut with a mark, before it is too deep for anyone."""
    deep: Any = []
    for _ in range(5_000):
        deep = [deep]

    assert '"…"' in json.dumps(plain(deep), ensure_ascii=False)


def test_kinds_are_told_by_any_convention() -> None:
    """Ours, OpenTelemetry's, OpenInference's."""
    flow = Flow("Flow")
    for expected, attributes in (
        ("llm", {"gen_ai.operation.name": "chat"}),
        ("tool", {"openinference.span.kind": "TOOL"}),
        ("llm", {"flowspan.component.type": "llm", "openinference.span.kind": "CHAIN"}),
        ("component", {"flowspan.component.type": "prompt"}),
        ("http", {"http.request.method": "GET"}),
        ("db", {"db.system": "postgresql"}),
        ("queue", {"messaging.system": "kafka"}),
        ("span", {}),
    ):
        assert kind_of(flow.span("x", 0, 1, attributes)) == expected
    assert kind_of(flow.root) == "run"


# ---- the file


def test_what_is_in_the_file_is_what_was_in_the_traces(tmp_path: Path) -> None:
    """Outline and details, however they are packed."""
    flow = many(2_000)
    html = save(tmp_path / "page.html", flow, research()).read_text()

    index = json.loads(re.search(r'id="index">(.*?)</script>', html, re.DOTALL)[1])
    details = []
    for count, packed in re.findall(r'class="chunk">(\d+):(.*?)</script>', html):
        spans = json.loads(zlib.decompress(base64.b64decode(packed)))
        assert len(spans) == int(count)
        details += spans
    first = index["traces"][0]
    assert [first["names"][at] for at in first["name"]] == [
        span.name for span, _ in flow.trace().walk()
    ]
    assert [each["name"] for each in details[: len(flow.spans)]] == [
        span.name for span, _ in flow.trace().walk()
    ]
    assert len(details) == len(flow.spans) + len(research().spans)
    assert details[5]["attributes"] == dict(flow.spans[5].attributes)


def test_no_content_is_markup(tmp_path: Path) -> None:
    """The file has the same tags whatever is in the traces."""

    def tags(text: str) -> list[str]:
        html = save(tmp_path / "page.html", Flow(text, **{text: text})).read_text()
        return re.findall(r"<[a-z!/][^>]*>", html)

    assert tags(HOSTILE) == tags("harmless")


def test_only_what_the_policy_names_may_run(tmp_path: Path) -> None:
    """One style, one script, by their hashes."""
    html = save(tmp_path / "page.html", research()).read_text()

    (policy,) = re.findall(r'Content-Security-Policy" content="(.*?)"', html)
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    (style,) = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    for name, source in (("script-src", script), ("style-src", style)):
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert f"{name} 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert not re.findall(r'(?:src|href)="(?!#)', html)


def test_a_trace_without_spans_of_ours_is_a_page_too(tmp_path: Path) -> None:
    """Nothing of flowspan's attributes is needed."""
    flow = Flow("x")
    flow.root.attributes = {}

    assert save(tmp_path / "page.html", Trace(flow.trace_id, flow.spans)).stat().st_size > 10_000
