"""Langflow's own tracers beside us, and what happens to a flow when tracing goes wrong."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from processes import Sink

from ._server import WAYS, Langflow, new_session
from ._traces import ours

HELLO = {"Hello": {"Chat Input": {}, "Prompt Template": {}, "Chat Output": {}}}
SERVICE = """\
[services]
tracing_service = "odd:{}"
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


def test_whatever_goes_wrong_the_answers_are_the_same(langflows: Callable[..., Any]):
    """
    Byte for byte those of a Langflow without us.

    Although the collector takes connections and never answers, two vendor tracers raise wherever
    they can, a component's attributes raise, and what it gives to be traced cannot be serialised.
    """
    session = new_session()
    ways = ("run", "playground streaming", "v2 sync", "v2 background")
    cases = [(file, way) for file in ("hello", "broken", "failing") for way in ways]
    with socket.create_server(("127.0.0.1", 0)) as hangs:
        broken = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{hangs.getsockname()[1]}",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
        }
        order = {"PYTHONHASHSEED": "0"}  # Langflow sends the order of a set
        with_us, without = langflows(
            {"toml": SERVICE.format("Ours"), **order, **broken},
            {"toml": SERVICE.format("Theirs"), **order},
        )
        answers = {case: answer(without, *case, session) for case in cases}
        assert {case: answer(with_us, *case, session) for case in cases} == answers


def test_deactivated_is_deactivated(langflows: Callable[..., Any], sink: Sink):
    """`LANGFLOW_DEACTIVATE_TRACING` holds for us as well."""
    (langflow,) = langflows({"LANGFLOW_DEACTIVATE_TRACING": "true"})
    for way in ("run", "playground polling", "v2 sync"):
        langflow.run("hello", way)

    assert ours(sink.readable) == []


def answer(langflow: Langflow, file: str, way: str, session: str) -> str:
    """What the client gets, without what differs from run to run: ids, moments, durations."""
    flow = langflow.flow(file)
    given = WAYS[way](langflow, flow, session, "hi")
    text = given if isinstance(given, str) else json.dumps(given)
    text = text.replace(flow, "FLOW").replace(session, "SESSION")
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", text)
    text = re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( UTC|Z|[+-]\d\d:?\d\d)?", "NOW", text)
    return re.sub(r"\b\d+(\.\d+)?( ?m?s| seconds)?\b", "0", text)
