"""Where the caller's trace goes in, and where the component's goes out."""

from __future__ import annotations

import secrets

import pytest

from backends import Span
from flowspan import semconv

from ._door import Door
from ._server import Langflow

HELLO = {"Hello": {"Chat Input": {}, "Prompt Template": {}, "Chat Output": {}}}


@pytest.mark.parametrize("way", ["run", "run streaming", "v2 sync", "v2 stream"])
def test_the_run_is_in_the_trace_of_the_request(langflow: Langflow, way: str):
    """Below the spans of Langflow's own that lie between, where it exports them."""
    trace_id, parent = secrets.token_hex(16), secrets.token_hex(8)
    headers = {"traceparent": f"00-{trace_id}-{parent}-01"}
    session = langflow.run("hello", way, headers=headers)

    spans = langflow.expect(session, HELLO)

    assert {span["trace_id"] for span in spans.values()} == {trace_id}
    assert parent in line_of_parents(langflow, spans["Hello"], parent)


@pytest.mark.parametrize("way", ["run", "run streaming", "v2 sync", "v2 stream"])
def test_the_run_is_in_the_trace_of_the_request_where_langflow_exports_nothing(
    silent: Langflow, way: str
):
    """
    Directly below the caller; a request without a trace after it is a trace of its own.

    Several `tracestate` headers are one, in their order.
    """
    trace_id, parent = secrets.token_hex(16), secrets.token_hex(8)
    states = [("tracestate", "x=1"), ("tracestate", "y=2,z=3")]
    headers = [("traceparent", f"00-{trace_id}-{parent}-01"), *states]
    session = silent.run("hello", way, headers=headers)
    later = silent.run("hello", way)

    run = silent.expect(session, HELLO)["Hello"]
    root = silent.expect(later, HELLO)["Hello"]

    assert (run["trace_id"], run["parent_span_id"]) == (trace_id, parent)
    sent = [s for s in list(silent.sink.spans) if s.trace_id.hex() == trace_id]
    assert {span.trace_state for span in sent} == {"x=1,y=2,z=3"}
    assert root["trace_id"] != trace_id
    assert root["parent_span_id"] == ""


def test_a_job_is_not_in_the_trace_of_a_request_that_is_over(silent: Langflow):
    """The worker that serves it may have been started from that request, and has its context."""
    trace_id, parent = secrets.token_hex(16), secrets.token_hex(8)
    headers = {"traceparent": f"00-{trace_id}-{parent}-01"}
    silent.run("hello", "v2 background", headers=headers)
    session = silent.run("hello", "v2 background")

    assert silent.expect(session, HELLO)["Hello"]["trace_id"] != trace_id


@pytest.mark.parametrize("way", ["run", "playground polling", "v2 background"])
def test_a_call_carries_the_trace_of_its_component(langflow: Langflow, door: Door, way: str):
    """Injected by hand it names the component; an instrumented client's span is below it."""
    door.open()
    session = langflow.run("calls_out", way, door.url)
    langflow.until(session, lambda spans: len(spans) == 4)

    (component,) = [
        span
        for span in langflow.spans(session)
        if span["attributes"].get(semconv.COMPONENT_ID) == "CallsOut-1"
    ]

    _, trace_id, span_id, _ = door.knocked["injected"]["traceparent"].split("-")
    assert (trace_id, span_id) == (component["trace_id"], component["span_id"])
    _, trace_id, span_id, _ = door.knocked["instrumented"]["traceparent"].split("-")
    assert trace_id == component["trace_id"]
    client = door.knocked["told"]  # Langflow's provider drops that span
    assert (client["span"], client["parent"]) == (span_id, component["span_id"])


def line_of_parents(langflow: Langflow, span: Span, awaited: str) -> list[str]:
    """The ids above *span*, as far as they arrived."""
    above = [span["parent_span_id"]]

    def complete() -> bool:
        by_id = {one["span_id"]: one for one in list(langflow.sink.readable)}
        above[:] = [span["parent_span_id"]]
        while above[-1] in by_id:
            above.append(by_id[above[-1]]["parent_span_id"])
        return awaited in above

    with langflow.sink.arrived:
        langflow.sink.arrived.wait_for(complete, timeout=10)
    return above
