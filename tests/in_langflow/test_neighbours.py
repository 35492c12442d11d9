"""Langflow's own tracers beside us, and what happens to a flow when tracing goes wrong."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from processes import Sink

from ._server import WAYS, Langflow, new_session
from ._traces import ours

HELLO = {"Hello": {"Chat Input": {}, "Prompt Template": {}, "Chat Output": {}}}
WITHOUT_US = """\
[services]
tracing_service = "langflow.services.tracing.service:TracingService"
"""


@pytest.mark.parametrize("way", ["run", "playground polling", "v2 sync"])
def test_the_trace_view_of_the_user_interface_goes_on(langflow: Langflow, way: str):
    """Langflow's native tracer records the same components as our trace has."""
    session = langflow.run("hello", way)
    langflow.expect(session, HELLO)

    (listed,) = langflow.call("GET", f"/api/v1/monitor/traces?session_id={session}")["traces"]
    native = langflow.call("GET", f"/api/v1/monitor/traces/{listed['id']}")

    assert sorted(names(native["spans"])) == ["Chat Input", "Chat Output", "Prompt Template"]


def names(native: list[dict[str, Any]]) -> Iterator[str]:
    """Of the components: the native tracer puts them below a span for the flow."""
    for span in native:
        below = span.get("children") or []
        if not below:
            yield span["name"].split(" (")[0]
        yield from names(below)


def test_a_vendor_tracer_goes_on(
    another_langflow: Callable[..., Langflow], langflow_sink: Sink, sink: Sink
):
    """Phoenix's spans arrive where they are sent, ours where ours are sent."""
    vendor = Sink()
    with closing(vendor):
        langflow = another_langflow(PHOENIX_COLLECTOR_ENDPOINT=vendor.url)
        langflow.expect(langflow.run("hello"), HELLO)
        with vendor.arrived:
            assert vendor.arrived.wait_for(lambda: len(vendor.readable) >= 4, timeout=15)

        assert ours(vendor.readable) == []
        there = {span["name"].split(" (")[0].split(" - ")[0] for span in vendor.readable}
        assert there >= {"Chat Input", "Prompt Template", "Chat Output"}


def test_deactivated_is_deactivated(another_langflow: Callable[..., Langflow], sink: Sink):
    """`LANGFLOW_DEACTIVATE_TRACING` holds for us as well."""
    langflow = another_langflow(LANGFLOW_DEACTIVATE_TRACING="true")
    for way in ("run", "playground polling", "v2 sync"):
        langflow.run("hello", way)

    assert ours(sink.readable) == []


def test_a_collector_that_hangs_changes_no_answer(
    another_langflow: Callable[..., Langflow], sink: Sink
):
    """The client gets the same bytes as from a Langflow without us."""
    session = new_session()
    ways = ("run", "playground polling", "v2 sync", "v2 background")
    without = another_langflow(WITHOUT_US, PYTHONHASHSEED="0")
    expected = {way: answer(without, way, session) for way in ways}
    assert ours(sink.readable) == []
    with socket.create_server(("127.0.0.1", 0)) as hangs:  # takes connections, never answers
        hanging = another_langflow(
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{hangs.getsockname()[1]}",
            OTEL_EXPORTER_OTLP_TIMEOUT="1",
            PYTHONHASHSEED="0",  # Langflow sends the order of a set
        )
        assert {way: answer(hanging, way, session) for way in ways} == expected


def answer(langflow: Langflow, way: str, session: str) -> str:
    """What the client gets, without what differs from run to run: ids, moments, durations."""
    flow = langflow.flow("hello")
    given = WAYS[way](langflow, flow, session, "hi")
    text = given if isinstance(given, str) else json.dumps(given)
    text = text.replace("\n", "")  # polls differ in how many events they find, a line each
    text = text.replace(flow, "FLOW").replace(session, "SESSION")
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", text)
    text = re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( UTC|Z|[+-]\d\d:?\d\d)?", "NOW", text)
    return re.sub(r"\b\d+(\.\d+)?( ?m?s| seconds)?\b", "0", text)
