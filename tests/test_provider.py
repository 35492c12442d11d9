"""One provider rule: theirs is used as it is, ours is built only when an exporter is configured."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import requests

import flowspan
from processes import THEIRS, Sink, in_process


def test_with_nothing_configured_nothing_starts():
    """No SDK, no thread, no global; contexts propagate all the same."""
    code = """
    trace_id = flow()
    result = [trace_id, "opentelemetry.sdk.trace" in sys.modules, threading.active_count()]
    """
    assert in_process(code) == ["0" * 32, False, 1]


@pytest.mark.parametrize(
    "off",
    [
        {"OTEL_SDK_DISABLED": "true"},
        {"LANGFLOW_DEACTIVATE_TRACING": "true"},
        {"FLOWSPAN_EXPORT": "never"},
    ],
)
def test_off_is_off(sink: Sink, off: dict[str, str]):
    """Though an endpoint is set."""
    code = "flow(); result = threading.active_count()"

    assert in_process(code, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url, **off) == 1
    assert sink.spans == []


def test_an_endpoint_is_enough(sink: Sink):
    """Ours is built, exports at exit, and is nobody else's business."""
    code = "result = [flow(), type(trace.get_tracer_provider()).__name__]"

    trace_id, provider = in_process(code, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url)

    spans = sink.wait_for(2)
    assert {span.trace_id.hex() for span in spans.values()} == {trace_id}
    assert trace_id == f"{flowspan.propagation.trace_id('r-1'):032x}"
    assert provider == "ProxyTracerProvider"


def test_global_only_if_asked(sink: Sink):
    """`FLOWSPAN_SET_GLOBAL=true`."""
    code = "flow(); result = type(trace.get_tracer_provider()).__name__"
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": sink.url, "FLOWSPAN_SET_GLOBAL": "true"}

    assert in_process(code, **env) == "LightTracerProvider"


def test_their_provider_is_used_and_left_as_it_is(sink: Sink):
    """Set before the first run: its processors, sampler and resource are the same ones after."""
    code = (
        THEIRS
        + """
trace.set_tracer_provider(theirs)
before = [theirs.sampler, theirs.resource, theirs._active_span_processor._span_processors]
flow()
after = [theirs.sampler, theirs.resource, theirs._active_span_processor._span_processors]
result = [names(), all(a is b for a, b in zip(before, after))]
"""
    )
    assert in_process(code, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url) == [["A", "flow"], True]
    assert sink.spans == []


def test_their_provider_set_later_is_used_from_then_on():
    """The rule is asked at each run."""
    code = THEIRS + "flow(); trace.set_tracer_provider(theirs); flow(); result = names()"

    assert in_process(code) == ["A", "flow"]


def test_a_provider_given_to_configure():
    """It is used, whatever is set globally."""
    code = THEIRS + "flowspan.configure(tracer_provider=theirs); flow(); result = names()"

    assert in_process(code) == ["A", "flow"]


def test_a_noop_provider_is_a_provider(sink: Sink):
    """Who sets one wants nothing recorded."""
    code = "trace.set_tracer_provider(trace.NoOpTracerProvider()); result = flow()"

    assert in_process(code, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url) == "0" * 32
    assert sink.spans == []


def test_a_sampled_out_parent_is_respected():
    """Nothing is recorded below it, and its trace id goes on."""
    code = (
        THEIRS
        + """
from opentelemetry.trace import NonRecordingSpan, SpanContext, use_span
trace.set_tracer_provider(theirs)
with use_span(NonRecordingSpan(SpanContext(5, 6, True))):
    headers = {}
    with flowspan.run("flow"), flowspan.component("A"):
        flowspan.propagation.inject(headers)
result = [names(), headers["traceparent"][:36], headers["traceparent"][-2:]]
"""
    )
    assert in_process(code) == [[], f"00-{5:032x}-", "00"]


def test_always_is_ours_beside_theirs(sink: Sink):
    """`FLOWSPAN_EXPORT=always`: our spans take our way, their parents stay parents."""
    code = (
        THEIRS
        + """
trace.set_tracer_provider(theirs)
with theirs.get_tracer("app").start_as_current_span("request") as request:
    trace_id = flow()
result = [names(), trace_id == format(request.get_span_context().trace_id, "032x")]
"""
    )
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": sink.url, "FLOWSPAN_EXPORT": "always"}

    assert in_process(code, **env) == [["request"], True]
    assert set(sink.wait_for(2)) == {"flow", "A"}


@pytest.mark.parametrize("env", [{}, {"FLOWSPAN_EXPORT": "never"}])
def test_in_a_process_of_langflow_ours_stands_beside_theirs(sink: Sink, env: dict[str, str]):
    """From the moment on that it is one; unless nothing of ours is wanted."""
    code = (
        THEIRS
        + """
trace.set_tracer_provider(theirs)
flow()
sys.modules["lfx.observability"] = json
flow()
result = names()
"""
    )
    seen = in_process(code, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url, **env)

    assert seen == (["A", "A", "flow", "flow"] if env else ["A", "flow"])
    assert len(sink.spans) == (0 if env else 2)


def test_a_shutdown_in_the_middle_of_a_first_run_stays_one(sink: Sink):
    """Nothing is built behind it, which nobody would close."""
    code = """
    from flowspan import pipeline
    opened = pipeline.current_pipeline()
    opened.shutdown()
    opened._closed = False
    wanted = opened._wanted

    def shut_down_meanwhile():
        opened._closed = True  # another thread's shutdown, between our look and the lock
        return wanted()

    opened._wanted = shut_down_meanwhile
    result = [type(opened.tracer()).__name__, opened._own is None]
    """

    assert in_process(code, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url) == ["NoOpTracer", True]


@pytest.mark.parametrize(
    "wrong",
    [
        {"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "soon"},
        {"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": ""},
        {"OTEL_EXPORTER_OTLP_COMPRESSION": "squeeze"},
        {"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "x"},
        {"OTEL_BSP_MAX_QUEUE_SIZE": "-5"},
        {"OTEL_TRACES_SAMPLER": "sometimes"},
        {"OTEL_EXPORTER_OTLP_HEADERS": "broken"},
    ],
)
def test_a_wrong_variable_costs_no_span(sink: Sink, wrong: dict[str, str]):
    """A warning and the default; the application runs and its traces arrive."""
    in_process("result = flow()", OTEL_EXPORTER_OTLP_ENDPOINT=sink.url, **wrong)

    assert set(sink.wait_for(2)) == {"flow", "A"}


def test_an_endpoint_that_cannot_be_understood_is_said_to_send_nothing():
    """The default is not used: nobody asked for that. What was logged does not say otherwise."""
    code = """
import logging
lines = []
handler = logging.Handler()
handler.emit = lambda record: lines.append(record.getMessage())
logging.getLogger("flowspan").addHandler(handler)
result = [flow(), lines[-1]]
"""
    trace_id, line = in_process(code, OTEL_EXPORTER_OTLP_ENDPOINT="localhost:4318")

    assert trace_id == "0" * 32
    assert line == (
        "OTEL_EXPORTER_OTLP_ENDPOINT: not understood, so nothing says where spans go: "
        "flowspan exports none"
    )


def test_configure_twice_is_once_and_after_shutdown_anew():
    """The same arguments give the same pipeline, other ones an error that says what to do."""
    config = flowspan.Config(exporters=())
    first = flowspan.configure(config)
    try:
        assert flowspan.configure() is first
        assert flowspan.configure(config) is first
        with pytest.raises(flowspan.ConfigError, match=r"shutdown\(\) of that pipeline first"):
            flowspan.configure(flowspan.Config(exporters=(), project_name="other"))
    finally:
        assert first.shutdown()
    second = flowspan.configure(flowspan.Config(exporters=(), project_name="other"))
    assert second is not first
    assert second.shutdown()


@pytest.mark.parametrize("wrong", [{"config": 5}, {"tracer_provider": "mine"}])
def test_a_wrong_argument_is_named(wrong: dict[str, Any]):
    """Thing, value and what is accepted."""
    (name,) = wrong
    with pytest.raises(flowspan.ConfigError, match=f"{name}={wrong[name]!r}: expected"):
        flowspan.configure(**wrong)


def test_below_opentelemetry_instrument(sink: Sink):
    """Request, run, component, HTTP client: one trace, and `traceparent` is the client's span."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    instrument = Path(sys.executable).with_name("opentelemetry-instrument")
    env = os.environ | {
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    command = [instrument, sys.executable, str(Path(__file__).parent / "app"), str(port), sink.url]
    app = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                answer = requests.get(f"http://127.0.0.1:{port}/flow", timeout=30)
                break
            except requests.ConnectionError:
                assert app.poll() is None
                assert time.monotonic() < deadline
                threading.Event().wait(0.05)
        assert answer.json() == {"status": "200"}
        with sink.arrived:
            assert sink.arrived.wait_for(lambda: "GET /flow" in {s.name for s in sink.spans}, 30)
            spans = {span.name: span for span in sink.spans if "http " not in span.name}
    finally:
        app.send_signal(signal.SIGTERM)
        app.wait(30)

    request, run, component = spans["GET /flow"], spans["Support bot"], spans["A"]
    client = spans["GET"]
    assert run.parent_span_id == request.span_id
    assert component.parent_span_id == run.span_id
    assert client.parent_span_id == component.span_id
    assert len({span.trace_id for span in spans.values()}) == 1
    (headers,) = sink.headers
    assert headers["traceparent"].split("-")[1:3] == [client.trace_id.hex(), client.span_id.hex()]
    assert len(sink.spans) == len({span.span_id for span in sink.spans})
