"""`flowspan view` and real programs: what a Collector writes, what Jaeger answers and takes."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Link, SpanKind, StatusCode

from backends import Jaeger, binary
from backends._process import Server, free_addresses, get, wait_for
from view_traces import view

pytestmark = pytest.mark.backends


def send(endpoint: str) -> str:
    """A trace of two spans with all that a span can have; its id."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{endpoint}/v1/traces")))
    tracer = provider.get_tracer("tests")
    with tracer.start_as_current_span("Prüfung", kind=SpanKind.SERVER) as run:
        attributes: dict[str, Any] = {"whole": 2**60, "half": 0.5, "yes": True, "list": ["a", "b"]}
        link = Link(run.get_span_context(), {"why": "edge"})
        with tracer.start_as_current_span("call", attributes=attributes, links=[link]) as call:
            call.add_event("said", {"message": 'a "quoted" word'})
            call.set_status(StatusCode.ERROR, "refused")
    provider.shutdown()
    return f"{run.get_span_context().trace_id:032x}"


def seen(path: str, trace_id: str) -> tuple[list[str], dict[str, Any]]:
    """The names of the tree, and all of the span `call`."""
    (trace,) = json.loads(view(path, "--trace", trace_id, "--json").stdout)["traces"]
    (call,) = [each for each in trace["tree"] if each["name"] == "call"]
    shown = view(path, "--trace", trace_id, "--span", call["span_id"], "--json")
    return [each["name"] for each in trace["tree"]], json.loads(shown.stdout)


COLLECTOR = """
receivers: {{otlp: {{protocols: {{http: {{endpoint: "{http}"}}}}}}}}
exporters: {{file: {{path: "{path}", flush_interval: 50ms{more}}}}}
extensions: {{health_check: {{endpoint: "{health}"}}}}
service:
  extensions: [health_check]
  pipelines: {{traces: {{receivers: [otlp], exporters: [file]}}}}
  telemetry: {{metrics: {{level: none}}}}
"""


def test_what_the_collectors_file_exporter_writes(tmp_path: Path):
    """A request a line, while the Collector still has the file open."""
    http, health = free_addresses(2)
    path = tmp_path / "traces.json"
    config = tmp_path / "config.yaml"
    config.write_text(COLLECTOR.format(http=http, health=health, path=path, more=""))
    server = Server(
        [str(binary("collector")), "--config", f"file:{config}"],
        env={},
        health=f"http://{health}",
        log=tmp_path / "collector.log",
    )
    server.start()
    try:
        trace_id = send(f"http://{http}")
        wait_for(lambda: path.read_bytes().count(b"\n") == 2, timeout=20)
    finally:
        server.stop()

    names, call = seen(str(path), trace_id)

    assert names == ["Prüfung", "call"]
    assert call["attributes"] == {"whole": 2**60, "half": 0.5, "yes": True, "list": ["a", "b"]}
    assert call["events"][0]["attributes"] == {"message": 'a "quoted" word'}
    assert call["links"][0]["attributes"] == {"why": "edge"}
    assert call["error"] == "refused"


def test_what_jaeger_answers(jaeger: Jaeger, tmp_path: Path):
    """The answer of /api/v3, as its pages download it."""
    trace_id = send(jaeger.otlp_http)
    jaeger.trace(trace_id, until=lambda spans: len(spans) == 2)
    path = tmp_path / "answer.json"
    path.write_bytes(get(f"{jaeger.query}/api/v3/traces/{trace_id}") or b"")

    names, call = seen(str(path), trace_id)

    assert names == ["Prüfung", "call"]
    assert call["attributes"]["whole"] == 2**60
    assert call["events"][0]["attributes"] == {"message": 'a "quoted" word'}
    assert (call["otel_status"], call["error"]) == ("error", "refused")


def test_what_jaegers_pages_took_before(jaeger: Jaeger, tmp_path: Path):
    """The answer of /api/traces, in Jaeger's own JSON."""
    trace_id = send(jaeger.otlp_http)
    jaeger.trace(trace_id, until=lambda spans: len(spans) == 2)
    path = tmp_path / "answer.json"
    path.write_bytes(get(f"{jaeger.query}/api/traces/{trace_id}") or b"")

    names, call = seen(str(path), trace_id)

    assert names == ["Prüfung", "call"]
    assert call["attributes"]["half"] == 0.5
    assert call["parent_id"] is not None
    assert (call["otel_status"], call["error"]) == ("error", "refused")


def test_jaegers_upload_takes_what_is_written(jaeger: Jaeger, tmp_path: Path):
    """By the code of its upload page: every span, with its attributes, parent and status."""
    trace_id = send(jaeger.otlp_http)
    jaeger.trace(trace_id, until=lambda spans: len(spans) == 2)
    answer, copy = tmp_path / "answer.json", tmp_path / "copy.json"
    answer.write_bytes(get(f"{jaeger.query}/api/v3/traces/{trace_id}") or b"")
    assert view(str(answer), "--otlp-json", str(copy)).exit_code == 0

    upload = urllib.request.Request(
        f"{jaeger.query}/api/transform", copy.read_bytes(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(upload, timeout=20) as response:
        (trace,) = json.load(response)["data"]

    spans = {each["operationName"]: each for each in trace["spans"]}
    tags = {tag["key"]: tag["value"] for tag in spans["call"]["tags"]}
    assert set(spans) == {"Prüfung", "call"}
    assert int(tags["whole"]) == 2**60
    assert tags["otel.status_description"] == "refused"
    assert spans["call"]["references"][0]["spanID"] == spans["Prüfung"]["spanID"]
